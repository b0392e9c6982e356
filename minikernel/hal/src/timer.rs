//! The one-shot timer of this CPU.

use crate::{irq, machine, sync::Once};

static HANDLER: Once<fn()> = Once::new();

/// Lets the timer interrupt once `deadline_ns` of [`crate::clock::monotonic_ns`] has come, at once if it has passed.
/// A new deadline replaces the one before.
pub fn arm(deadline_ns: u64) {
    machine::arm_timer(deadline_ns);
}

/// Forgets the deadline. An interrupt already on its way may still come.
pub fn disarm() {
    machine::disarm_timer();
}

/// Names what runs, by way of [`irq::dispatch`], when the timer interrupts. It may be early: the handler looks at the
/// clock, and arms anew for what is still to come. The first caller wins.
pub fn set_handler(handler: fn()) {
    let _ = HANDLER.set(handler);
}

/// The vector of the timer.
pub const VECTOR: u8 = irq::TIMER_VECTOR;

/// Runs the handler.
pub(crate) fn fired() {
    machine::timer_fired();
    if let Some(handler) = HANDLER.get() {
        handler();
    }
}
