//! Time: the ABI's structures, clocks, interval timers.

mod structures;
mod timers;

pub use structures::{TICKS_PER_SECOND, Timespec, Timeval};
pub use timers::ProcessTimers;
