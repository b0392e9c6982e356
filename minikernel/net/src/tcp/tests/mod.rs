//! Scenarios, each a rule of an RFC or of Linux, over a simulated network.

mod close;
mod forgery;
mod handshake;
mod loss;
mod memory;
mod network;
mod receiving;
mod scale;
mod script;
mod sending;
mod transfer;
mod urgent;

std::thread_local! {
    static STEPS: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

pub(super) fn step() {
    STEPS.set(STEPS.get() + 1);
}

/// How many steps in tables something takes.
fn steps(action: impl FnOnce()) -> u32 {
    STEPS.set(0);
    action();
    STEPS.get()
}
