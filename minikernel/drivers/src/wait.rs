//! Waiting for a device that answers soon.

use isopod_hal::clock;

/// Waits until something is so, for so many nanoseconds at the most; whether it is. For what a device answers at once if it answers at all.
pub fn wait(limit: u64, is_so: &mut dyn FnMut() -> bool) -> bool {
    // The devices of tests answer at once: to a command, and to one that is given once more.
    let mut looks = if cfg!(test) { 10 } else { u64::MAX };
    let begin = clock::monotonic_ns();
    loop {
        if is_so() {
            return true;
        }
        looks -= 1;
        if looks == 0 || clock::monotonic_ns().saturating_sub(begin) > limit {
            return false;
        }
        core::hint::spin_loop();
    }
}
