//! What happens when the kernel itself is wrong: a report, then the end.

use crate::sync::Once;

static HOOK: Once<fn(&[u8]) -> !> = Once::new();

/// Names who gets the report of a panic: message, place, registers and backtrace, as text in lines. It ends the
/// machine. Before it is named, the report goes to the serial port and the machine is switched off with status 125.
/// The first caller wins.
pub fn set_hook(hook: fn(&[u8]) -> !) {
    let _ = HOOK.set(hook);
}

/// Who gets the report.
#[cfg(isopod_bare)]
pub(crate) fn hook() -> Option<fn(&[u8]) -> !> {
    HOOK.get().copied()
}
