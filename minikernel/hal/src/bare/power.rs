//! The end of the machine.

use core::{arch::asm, hint};

use crate::port::Port;

/// The keyboard controller's command and status port. Absent, it reads as all ones.
const KEYBOARD: Port<u8> = Port::new(0x64);
/// Command: pulse the processor's reset line.
const RESET: u8 = 0xfe;
/// Reads of the port while the machine may still go off; on a virtual machine the write already does it.
const PATIENCE: usize = 1000;

/// Tries each way in turn.
pub(crate) fn off(status: u8, exit_port: Option<u16>, acpi: impl FnOnce()) -> ! {
    // First, since it alone tells the host the status, and since somebody asked for it.
    if let Some(port) = exit_port {
        Port::<u32>::new(port).write(u32::from(status));
    }
    acpi();
    wait();
    if KEYBOARD.read() != 0xff {
        KEYBOARD.write(RESET);
        wait();
    }
    triple_fault()
}

fn wait() {
    for _ in 0..PATIENCE {
        hint::spin_loop();
    }
}

/// Ends in the processor's own reset: an exception without a table to handle it, which a virtual machine's owner takes
/// for the end, and a real one for a restart.
pub(super) fn triple_fault() -> ! {
    let nothing = [0u8; 10];
    // SAFETY: nothing follows.
    unsafe { asm!("lidt [{}]", "int3", "2: hlt", "jmp 2b", in(reg) &raw const nothing, options(noreturn)) }
}
