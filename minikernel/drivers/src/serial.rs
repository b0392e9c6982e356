//! The 16550 serial port of a PC (National Semiconductor PC16550D).
//!
//! Each access leaves the virtual machine, so the line status is read once for a FIFO's worth of output, and the
//! interrupt identification, which says nothing that the status does not, is never read. Speed and framing stay as they are: a
//! virtual line has none.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use isopod_hal::port::Port;
use isopod_hal::sync::{SpinLock, wait::WaitQueue};

use crate::acpi::Line;
use crate::console::CharDevice;
use crate::interrupt;

/// First I/O port of the first serial port.
pub const COM1: u16 = 0x3f8;
/// ISA interrupt of the first serial port.
pub const COM1_IRQ: u8 = 4;

/// Bytes that the transmitter takes once it is empty.
const FIFO: usize = 16;
/// Most bytes of output kept until the line takes them, and most bytes of input kept until somebody reads them.
const BUFFER: usize = 4096;

mod interrupt_enable {
    pub const RECEIVED: u8 = 1 << 0;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 1;
}

mod line_status {
    pub const DATA_READY: u8 = 1 << 0;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 5;
}

/// A serial port.
#[derive(Debug)]
pub struct Serial {
    state: SpinLock<State>,
    readable: WaitQueue,
    writable: WaitQueue,
}

#[derive(Debug)]
struct State {
    registers: Box<dyn Registers>,
    /// What the interrupt enable register holds.
    enabled: u8,
    input: VecDeque<u8>,
    output: VecDeque<u8>,
}

/// The eight registers.
pub trait Registers: Send + core::fmt::Debug {
    /// Reads register `index`, below 8.
    fn read(&self, index: u16) -> u8;
    /// Writes register `index`, below 8.
    fn write(&self, index: u16, value: u8);
}

mod register {
    pub const DATA: u16 = 0;
    pub const INTERRUPT_ENABLE: u16 = 1;
    pub const FIFO_CONTROL: u16 = 2;
    pub const LINE_CONTROL: u16 = 3;
    pub const MODEM_CONTROL: u16 = 4;
    pub const LINE_STATUS: u16 = 5;
    pub const SCRATCH: u16 = 7;
}

#[derive(Debug)]
struct Ports([Port<u8>; 8]);

impl Registers for Ports {
    fn read(&self, index: u16) -> u8 {
        self.0[usize::from(index)].read()
    }

    fn write(&self, index: u16, value: u8) {
        self.0[usize::from(index)].write(value);
    }
}

impl Serial {
    /// The port at I/O port `base`, if one answers there, with its interrupt on `line`.
    pub fn open(base: u16, line: Line) -> Option<Arc<Self>> {
        let ports = core::array::from_fn(|index| Port::new(base + index as u16));
        let serial = Self::start(Box::new(Ports(ports)))?;
        let target = Arc::clone(&serial);
        interrupt::connect(line, Box::new(move || target.on_interrupt()))?;
        Some(serial)
    }

    fn start(registers: Box<dyn Registers>) -> Option<Arc<Self>> {
        const EIGHT_BITS: u8 = 0b11;
        const ENABLE_AND_CLEAR: u8 = 0b111;
        const DTR_RTS_OUT2: u8 = 0b1011;
        // A register without a function tells a port from a hole in the address space.
        registers.write(register::SCRATCH, 0x5a);
        if registers.read(register::SCRATCH) != 0x5a {
            return None;
        }
        registers.write(register::LINE_CONTROL, EIGHT_BITS);
        registers.write(register::FIFO_CONTROL, ENABLE_AND_CLEAR);
        registers.write(register::MODEM_CONTROL, DTR_RTS_OUT2);
        let mut state = State { registers, enabled: 0, input: VecDeque::new(), output: VecDeque::new() };
        state.enable(interrupt_enable::RECEIVED, true);
        Some(Arc::new(Self {
            state: SpinLock::new(state),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        }))
    }

    fn on_interrupt(&self) {
        let mut state = self.state.lock();
        let had_input = state.input.len();
        let had_output = state.output.len();
        state.receive();
        state.transmit();
        let (input, output) = (state.input.len() > had_input, state.output.len() < had_output);
        drop(state);
        if input {
            self.readable.wake_all();
        }
        if output {
            self.writable.wake_all();
        }
    }
}

impl State {
    /// Switches one of the interrupts on or off, if it is not so already.
    fn enable(&mut self, interrupt: u8, on: bool) {
        let wanted = if on { self.enabled | interrupt } else { self.enabled & !interrupt };
        if wanted != self.enabled {
            self.enabled = wanted;
            self.registers.write(register::INTERRUPT_ENABLE, wanted);
        }
    }

    fn status(&self, flag: u8) -> bool {
        self.registers.read(register::LINE_STATUS) & flag != 0
    }

    /// Takes what has arrived, as far as there is room. What does not fit waits in the device, whose interrupt is off
    /// until somebody has read.
    fn receive(&mut self) {
        while self.input.len() < BUFFER && self.status(line_status::DATA_READY) {
            self.input.push_back(self.registers.read(register::DATA));
        }
        self.enable(interrupt_enable::RECEIVED, self.input.len() < BUFFER);
    }

    /// Sends what the transmitter takes. What it does not take waits for its interrupt.
    fn transmit(&mut self) {
        while !self.output.is_empty() && self.status(line_status::TRANSMITTER_EMPTY) {
            for byte in self.output.drain(..FIFO.min(self.output.len())) {
                self.registers.write(register::DATA, byte);
            }
        }
        self.enable(interrupt_enable::TRANSMITTER_EMPTY, !self.output.is_empty());
    }
}

impl CharDevice for Serial {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.lock();
        let mut written = 0;
        while written < bytes.len() {
            let room = BUFFER - state.output.len();
            let taken = room.min(bytes.len() - written);
            if taken == 0 || state.output.try_reserve(taken).is_err() {
                break;
            }
            state.output.extend(&bytes[written..written + taken]);
            written += taken;
            state.transmit();
        }
        written
    }

    fn read(&self, into: &mut [u8]) -> usize {
        let state = &mut *self.state.lock();
        let len = into.len().min(state.input.len());
        for (slot, byte) in into.iter_mut().zip(state.input.drain(..len)) {
            *slot = byte;
        }
        state.enable(interrupt_enable::RECEIVED, state.input.len() < BUFFER);
        len
    }

    fn can_write(&self) -> bool {
        self.state.lock().output.len() < BUFFER
    }

    fn is_drained(&self) -> bool {
        self.state.lock().output.is_empty()
    }

    fn can_read(&self) -> bool {
        !self.state.lock().input.is_empty()
    }

    fn hung_up(&self) -> bool {
        false
    }

    fn writable(&self) -> &WaitQueue {
        &self.writable
    }

    fn readable(&self) -> &WaitQueue {
        &self.readable
    }

    fn write_polled(&self, bytes: &[u8]) {
        /// Looks at the status before the line is taken for stuck.
        const PATIENCE: usize = 10_000_000;
        let Some(mut state) = self.state.try_lock() else { return };
        let mut looks = 0;
        let pending = core::mem::take(&mut state.output);
        for byte in pending.iter().chain(bytes) {
            while !state.status(line_status::TRANSMITTER_EMPTY) {
                looks += 1;
                if looks == PATIENCE {
                    return;
                }
            }
            state.registers.write(register::DATA, *byte);
        }
    }
}

#[cfg(test)]
mod tests;
