//! Switching the machine off.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::{machine, mmio::Mmio, port::Port, sync::Once};

/// Port of the `PM1a` control register and sleep type of S5, packed; 0 = unknown.
static ACPI_S5: AtomicU32 = AtomicU32::new(0);
/// Sleep control register and sleep type of S5, where ACPI has no fixed hardware.
static SLEEP_CONTROL: Once<(Mmio, u8)> = Once::new();
/// Port of QEMU's `isa-debug-exit`; 0 = none.
static EXIT_PORT: AtomicU32 = AtomicU32::new(0);

/// Tells how ACPI switches off: the port of the `PM1a` control register and the value to write, `SLP_TYPa << 10 | SLP_EN`
/// (ACPI 6.5, section 4.8.3.2.1).
pub fn set_acpi_s5(pm1a_port: u16, value: u16) {
    ACPI_S5.store(u32::from(pm1a_port) << 16 | u32::from(value), Ordering::Relaxed);
}

/// Tells the port of an `isa-debug-exit` device, which ends QEMU with status `value << 1 | 1`.
pub fn set_exit_port(port: u16) {
    EXIT_PORT.store(u32::from(port), Ordering::Relaxed);
}

/// Tells how ACPI without fixed hardware switches off: the sleep control register, alone in a window of its own, and
/// the value to write, `SLP_TYP << 2 | SLP_EN` (ACPI 6.5, section 4.8.3.7). The first caller wins.
pub fn set_acpi_sleep_control(register: Mmio, value: u8) {
    let _ = SLEEP_CONTROL.set((register, value));
}

/// Switches the machine off. `status` reaches the host through the exit port, if there is one; then ACPI, the
/// keyboard controller's reset line, and a triple fault follow, each where the one before had no effect.
pub fn off(status: u8) -> ! {
    let s5 = ACPI_S5.load(Ordering::Relaxed);
    let exit = EXIT_PORT.load(Ordering::Relaxed) as u16;
    machine::power_off(status, (exit != 0).then_some(exit), || {
        if s5 != 0 {
            Port::<u16>::new((s5 >> 16) as u16).write(s5 as u16);
        }
        if let Some((register, value)) = SLEEP_CONTROL.get() {
            register.write8(0, *value);
        }
    })
}
