//! A channel of an IDE controller.

use alloc::vec::Vec;

use isopod_hal::dma::{Dma, fence};
use isopod_hal::port::Port;

use crate::block::BlockError;
use crate::disk::ata::{self, About, MOST_PAGES, Registers, status};
use crate::disk::{Command, Hardware, Kind, Outcome, Reach, Refusal, wait};

/// Nanoseconds for a disk.
const PATIENCE: u64 = 2_000_000_000;

/// Registers, from the channel's first port on.
mod register {
    pub const DATA: u16 = 0;
    pub const COUNT: u16 = 2;
    pub const BLOCK: [u16; 3] = [3, 4, 5];
    pub const DEVICE: u16 = 6;
    /// Read, the state; the interrupt is taken back.
    pub const COMMAND: u16 = 7;
}

/// Registers of the bus master.
mod master {
    pub const COMMAND: u16 = 0;
    pub const STATUS: u16 = 2;
    pub const TABLE: u16 = 4;

    pub const START: u8 = 1;
    /// To memory.
    pub const READ: u8 = 1 << 3;

    pub const ACTIVE: u8 = 1;
    pub const ERROR: u8 = 1 << 1;
    pub const INTERRUPT: u8 = 1 << 2;
}

/// A channel, with the table of a command's pages.
pub(super) struct Channel {
    base: u16,
    control: Port<u8>,
    master: u16,
    table: Dma,
    /// Whether the disks know long commands.
    long: [bool; 2],
    /// What the channel does.
    doing: Option<Kind>,
}

impl Channel {
    /// The channel at these ports, with its disks.
    pub fn new(base: u16, control: u16, master: u16) -> Result<Self, Refusal> {
        let (control, table) = (Port::new(control), Reach::LOW.memory(1)?);
        Ok(Self { base, control, master, table, long: [false; 2], doing: None })
    }

    /// Asks both disks what they are, without interrupts.
    pub fn disks(&mut self) -> [Option<About>; 2] {
        const NO_INTERRUPTS: u8 = 1 << 1;
        self.control.write(NO_INTERRUPTS);
        self.master(master::COMMAND).write(0);
        let disks = [0, 1].map(|disk| self.identify(disk));
        self.long = disks.map(|disk| disk.is_some_and(|about| about.long));
        disks
    }

    /// Has them interrupt.
    pub fn listen(&self) {
        self.state();
        self.master(master::STATUS).write(master::ERROR | master::INTERRUPT);
        self.control.write(0);
    }

    /// Asks a disk what it is; `None` for none, and other devices.
    fn identify(&self, disk: u8) -> Option<About> {
        self.select(disk, 0);
        // Where nothing is, the bus says nothing, or what it is pulled to.
        let there = |state: u8| state != 0 && state != u8::MAX;
        if !there(self.control.read()) || !self.is_done() {
            return None;
        }
        self.give(&Registers::new(ata::IDENTIFY));
        if !self.is_done() {
            return None;
        }
        let state = self.state();
        // Devices of packets fail, and leave a sign here.
        let other = register::BLOCK[1..].iter().any(|register| self.port(*register).read() != 0);
        if !there(state) || other || state & (status::ERROR | status::DATA) != status::DATA {
            return None;
        }
        let data = Port::<u16>::new(self.base + register::DATA);
        let answer: Vec<u8> = (0..256).flat_map(|_| data.read().to_le_bytes()).collect();
        About::parse(&answer)
    }

    /// Waits until the disk is done with its command; whether it is.
    fn is_done(&self) -> bool {
        wait(PATIENCE, &mut || self.control.read() & status::BUSY == 0)
    }

    /// The state of the disk that is selected. It takes its interrupt back.
    fn state(&self) -> u8 {
        self.port(register::COMMAND).read()
    }

    /// Speaks to one of the disks.
    fn select(&self, disk: u8, bits: u8) {
        /// Bits that were always ones.
        const OLD: u8 = 0xa0;
        self.port(register::DEVICE).write(OLD | disk << 4 | bits);
        // It has 400 ns to answer, and no access takes less than 100.
        for _ in 0..4 {
            self.control.read();
        }
    }

    /// Gives the disk that is selected a command.
    fn give(&self, registers: &Registers) {
        let Registers { command, block, count, .. } = *registers;
        // A short command does not see the first of two bytes.
        for shift in [8, 0] {
            self.port(register::COUNT).write((count >> shift) as u8);
            for (register, byte) in (0..).zip(register::BLOCK) {
                self.port(byte).write((block >> (8 * register + 3 * shift)) as u8);
            }
        }
        self.port(register::COMMAND).write(command);
    }

    fn port(&self, register: u16) -> Port<u8> {
        Port::new(self.base.wrapping_add(register))
    }

    fn master(&self, register: u16) -> Port<u8> {
        Port::new(self.master.wrapping_add(register))
    }
}

impl Hardware for Channel {
    fn submit(&mut self, _: usize, command: &Command<'_>) -> bool {
        const END: u32 = 1 << 31;
        let disk = command.unit as u8 & 1;
        let registers = Registers::of(command, self.long[usize::from(disk)]);
        // By pages: none of them crosses 64 KiB.
        let pages = command.len.div_ceil(isopod_hal::PAGE_SIZE).min(MOST_PAGES);
        for (index, page) in command.pages().take(pages).enumerate() {
            let len = (command.len - index * isopod_hal::PAGE_SIZE).min(isopod_hal::PAGE_SIZE) as u32;
            let end = if index + 1 == pages { END } else { 0 };
            self.table.write_u32(8 * index, page.as_u64() as u32);
            self.table.write_u32(8 * index + 4, len | end);
        }
        fence();
        let direction = if command.kind == Kind::Write { 0 } else { master::READ };
        self.select(disk, registers.device);
        self.master(master::STATUS).write(master::ERROR | master::INTERRUPT);
        self.master(master::COMMAND).write(direction);
        Port::<u32>::new(self.master.wrapping_add(master::TABLE)).write(self.table.phys().as_u64() as u32);
        self.give(&registers);
        if pages > 0 {
            self.master(master::COMMAND).write(direction | master::START);
        }
        self.doing = Some(command.kind);
        true
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        let moved = self.master(master::STATUS).read();
        if self.doing.is_none() || moved & master::INTERRUPT == 0 {
            return Ok(None);
        }
        let state = self.state();
        self.master(master::STATUS).write(master::INTERRUPT);
        if state & status::BUSY != 0 {
            return Ok(None);
        }
        self.master(master::COMMAND).write(0);
        self.doing = None;
        fence();
        // What the disk did not transfer the bus master still waits for.
        let failed =
            state & (status::ERROR | status::FAULT) != 0 || moved & (master::ERROR | master::ACTIVE) != 0;
        Ok(Some((0, if failed { Outcome::Failed(BlockError::Io) } else { Outcome::Done })))
    }

    fn stop(&mut self) {
        self.master(master::COMMAND).write(0);
    }
}
