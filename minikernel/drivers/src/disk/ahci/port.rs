//! A port (AHCI 3.3) and the disk behind it.

use alloc::sync::Arc;
use alloc::vec;

use isopod_hal::PhysAddr;
use isopod_hal::dma::{Dma, fence};
use isopod_hal::mmio::Mmio;

use crate::block::BlockError;
use crate::disk::ata::{self, About, Registers, status};
use crate::disk::{Command, Hardware, Kind, Outcome, Reach, Refusal, wait};
use crate::pci::Function;
use crate::segment::Segment;

/// Nanoseconds for the port itself (10.1.2), and for a device.
const SHORT: u64 = 500_000_000;
const PATIENCE: u64 = 5_000_000_000;

/// Registers from the port's first on.
mod register {
    pub const LIST: usize = 0x00;
    pub const RECEIVED: usize = 0x08;
    pub const INTERRUPTS: usize = 0x10;
    pub const INTERRUPT_ENABLE: usize = 0x14;
    pub const COMMAND: usize = 0x18;
    pub const STATUS: usize = 0x20;
    pub const SIGNATURE: usize = 0x24;
    pub const LINK: usize = 0x28;
    pub const ERRORS: usize = 0x30;
    pub const ISSUE: usize = 0x38;
}

/// Bits of [`register::COMMAND`].
mod command {
    pub const START: u32 = 1;
    pub const SPIN_UP_AND_POWER_ON: u32 = 0b110;
    pub const RECEIVE: u32 = 1 << 4;
    pub const RECEIVING: u32 = 1 << 14;
    pub const RUNNING: u32 = 1 << 15;
}

/// Interrupts: a task file with an error, and what the bus or the interface does not survive.
const FATAL: u32 = 0b1111 << 27;
/// Those, and what devices say at the end of a command.
const WANTED: u32 = FATAL | 0b11;

/// Where things lie in the port's page: the list of commands, of which there is one; what the device says; the command, and its segments; what
/// the first command tells.
const RECEIVED_AT: usize = 0x400;
const TABLE_AT: usize = 0x500;
const SEGMENTS_AT: usize = TABLE_AT + 0x80;
const ANSWER_AT: usize = 0x800;

/// A port with a disk.
pub(super) struct Port {
    function: Function,
    registers: Arc<Mmio>,
    number: u32,
    memory: Dma,
    about: About,
    busy: bool,
    /// Interrupts since the command was given.
    seen: u32,
}

impl Port {
    /// Takes a port over. `None` if there is no disk; the inner error is why a disk is left out, the outer one that the port still accesses memory.
    pub fn open(
        function: &Function,
        registers: &Arc<Mmio>,
        number: u32,
        reach: Reach,
    ) -> Result<Result<Option<Self>, Refusal>, Refusal> {
        const CONNECTED: u32 = 3;
        let (function, registers) = (function.clone(), Arc::clone(registers));
        let geometry = crate::disk::Geometry { sectors: 0, block: 1, read_only: false, can_flush: false };
        let about = About { geometry, long: false };
        let mut port =
            Self { function, registers, number, memory: reach.memory(1)?, about, busy: false, seen: 0 };
        if !port.halt() {
            return Err(Refusal("a port does not stop"));
        }
        port.write(register::COMMAND, port.read(register::COMMAND) | command::SPIN_UP_AND_POWER_ON);
        let link = || port.read(register::LINK) & 0xf;
        // Something is there, and it may still be finding out about the speed of its link.
        if link() == 0 || !wait(SHORT, &mut || link() == CONNECTED) {
            return Ok(Ok(None));
        }
        let about = port.identify();
        match about {
            Ok(Some(about)) => {
                port.about = about;
                Ok(Ok(Some(port)))
            }
            _ if !port.halt() => Err(Refusal("a port does not stop")),
            Ok(None) => Ok(Ok(None)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Which of the controller's it is.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What the disk says of itself.
    pub fn about(&self) -> About {
        self.about
    }

    /// Has it interrupt.
    pub fn listen(&self) {
        self.write(register::INTERRUPTS, u32::MAX);
        self.write(register::INTERRUPT_ENABLE, WANTED);
    }

    /// Starts the port, and asks the device what it is; `None` for other devices than disks.
    fn identify(&mut self) -> Result<Option<About>, Refusal> {
        const DISK: u32 = 0x0000_0101;
        let at = self.memory.phys().as_u64();
        for (register, at) in [(register::LIST, at), (register::RECEIVED, at + RECEIVED_AT as u64)] {
            self.write(register, at as u32);
            self.write(register + 4, (at >> 32) as u32);
        }
        self.write(register::ERRORS, u32::MAX);
        self.write(register::INTERRUPTS, u32::MAX);
        self.write(register::COMMAND, self.read(register::COMMAND) | command::RECEIVE);
        if !wait(PATIENCE, &mut || self.is_idle()) {
            return Err(Refusal("it is busy"));
        }
        if self.read(register::SIGNATURE) != DISK {
            return Ok(None);
        }
        self.write(register::COMMAND, self.read(register::COMMAND) | command::START);
        let address = PhysAddr::new(at + ANSWER_AT as u64);
        self.issue(&Registers::new(ata::IDENTIFY), false, &[Segment { address, len: 512 }]);
        let mut outcome = None;
        wait(PATIENCE, &mut || {
            outcome = self.outcome();
            outcome.is_some()
        });
        match outcome {
            Some(Ok(Outcome::Done)) => {}
            Some(_) => return Err(Refusal("it refuses a command")),
            None => return Err(Refusal::SILENT),
        }
        let mut answer = vec![0; 512];
        self.memory.read(ANSWER_AT, &mut answer);
        About::parse(&answer).map(Some).ok_or(Refusal("it is of a kind that is not known"))
    }

    /// Whether the device waits for a command.
    fn is_idle(&self) -> bool {
        self.read(register::STATUS) as u8 & (status::BUSY | status::DATA) == 0
    }

    /// Gives the device a command.
    fn issue(&mut self, registers: &Registers, write: bool, data: &[Segment]) {
        /// From the host to a device, and its command register is new; words of that.
        const KIND: u32 = 0x8027;
        const WORDS: u32 = 5;
        let table = self.memory.phys().as_u64() + TABLE_AT as u64;
        let block = registers.block;
        let words = [
            (0, (data.len() as u32) << 16 | u32::from(write) << 6 | WORDS),
            (4, 0),
            (8, table as u32),
            (12, (table >> 32) as u32),
            (TABLE_AT, KIND | u32::from(registers.command) << 16),
            (TABLE_AT + 4, block as u32 & 0xff_ffff | u32::from(registers.device) << 24),
            (TABLE_AT + 8, (block >> 24) as u32),
            (TABLE_AT + 12, registers.count.into()),
            (TABLE_AT + 16, 0),
        ];
        for (at, word) in words {
            self.memory.write_u32(at, word);
        }
        for (segment, at) in data.iter().zip((SEGMENTS_AT..).step_by(16)) {
            self.memory.write_u64(at, segment.address.as_u64());
            self.memory.write_u32(at + 8, 0);
            self.memory.write_u32(at + 12, segment.len - 1);
        }
        self.busy = true;
        self.seen = 0;
        fence();
        self.write(register::ISSUE, 1);
    }

    /// How the command went that the device has; `None` as long as it has it, or if it has none. The error: it does not take any other.
    fn outcome(&mut self) -> Option<Result<Outcome, &'static str>> {
        // What comes after this interrupts again.
        let interrupts = self.read(register::INTERRUPTS);
        if interrupts != 0 {
            self.write(register::INTERRUPTS, interrupts);
            self.registers.write32(super::register::INTERRUPTS, 1 << self.number);
            self.seen |= interrupts;
        }
        if !self.busy || self.seen & FATAL == 0 && self.read(register::ISSUE) & 1 != 0 {
            return None;
        }
        self.busy = false;
        let failed = self.read(register::STATUS) as u8 & (status::ERROR | status::FAULT) != 0;
        if !failed && self.seen & FATAL == 0 {
            fence();
            return Some(Ok(Outcome::Done));
        }
        Some(self.recover().map(|()| Outcome::Failed(BlockError::Io)))
    }

    /// Makes the port take commands again (6.2.2.1).
    fn recover(&self) -> Result<(), &'static str> {
        if !self.clear(command::START, command::RUNNING) || !self.is_idle() {
            return Err("it does not recover from an error");
        }
        self.write(register::ERRORS, u32::MAX);
        self.write(register::INTERRUPTS, u32::MAX);
        self.write(register::COMMAND, self.read(register::COMMAND) | command::START);
        Ok(())
    }

    /// Has the port access no memory any more; whether it obeys (10.1.2).
    fn halt(&self) -> bool {
        self.write(register::INTERRUPT_ENABLE, 0);
        self.clear(command::START, command::RUNNING) && self.clear(command::RECEIVE, command::RECEIVING)
    }

    /// Takes a bit of the command register back, and waits until another says that it is so.
    fn clear(&self, bit: u32, echo: u32) -> bool {
        let value = self.read(register::COMMAND);
        if value & (bit | echo) != 0 {
            self.write(register::COMMAND, value & !bit);
        }
        wait(SHORT, &mut || self.read(register::COMMAND) & echo == 0)
    }

    fn read(&self, register: usize) -> u32 {
        self.registers.read32(self.at(register))
    }

    fn write(&self, register: usize, value: u32) {
        self.registers.write32(self.at(register), value);
    }

    fn at(&self, register: usize) -> usize {
        0x100 + 0x80 * self.number as usize + register
    }
}

impl Hardware for Port {
    fn submit(&mut self, _: usize, command: &Command<'_>) -> bool {
        let registers = Registers::of(command, self.about.long);
        self.issue(&registers, command.kind == Kind::Write, command.data);
        true
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        self.outcome().transpose().map(|outcome| outcome.map(|outcome| (0, outcome)))
    }

    fn stop(&mut self) {
        if !self.halt() {
            self.function.disable();
        }
    }
}
