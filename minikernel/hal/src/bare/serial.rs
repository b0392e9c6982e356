//! The first serial port, for reports and for text before there is a console: a 16550, if one answers.

use core::{
    hint,
    sync::atomic::{AtomicU8, Ordering},
};

use crate::port::Port;

const DATA: Port<u8> = Port::new(0x3f8);
const FIFO_CONTROL: Port<u8> = Port::new(0x3fa);
const LINE_STATUS: Port<u8> = Port::new(0x3fd);
const SCRATCH: Port<u8> = Port::new(0x3ff);

/// Bit of the line status: the transmitter takes more.
const EMPTY: u8 = 0x20;
/// Bytes that fit once it does.
const FIFO: usize = 16;
/// So often the status is read before the port is given up: a host that takes nothing must not stop the kernel.
const PATIENCE: usize = 100_000;

/// What is known of the port.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

/// Writes bytes, a carriage return before each line feed. Without a port, or once it takes no more, they are lost.
pub(crate) fn write(bytes: &[u8]) {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        probe();
    }
    if STATE.load(Ordering::Relaxed) == ABSENT {
        return;
    }
    let mut room = 0;
    for &byte in bytes {
        let pair = [b'\r', byte];
        for &byte in if byte == b'\n' { &pair[..] } else { &pair[1..] } {
            if room == 0 {
                if !wait() {
                    STATE.store(ABSENT, Ordering::Relaxed);
                    return;
                }
                room = FIFO;
            }
            DATA.write(byte);
            room -= 1;
        }
    }
}

/// Looks whether a port keeps what is written to its scratch register.
fn probe() {
    SCRATCH.write(0x5a);
    let present = SCRATCH.read() == 0x5a;
    if present {
        // FIFOs on and empty. Speed and format stay as firmware left them; to a virtual port they mean nothing.
        FIFO_CONTROL.write(0x07);
    }
    STATE.store(if present { PRESENT } else { ABSENT }, Ordering::Relaxed);
}

fn wait() -> bool {
    (0..PATIENCE).any(|_| {
        hint::spin_loop();
        LINE_STATUS.read() & EMPTY != 0
    })
}
