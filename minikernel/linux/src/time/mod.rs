//! Time: the ABI's structures, clocks, timers.

mod alarm;
mod clock;
mod cpu;
mod signalling;
mod structures;
mod timerfd;
mod timers;

pub use alarm::Schedule;
pub use clock::{Clock, CpuKind, set_wall_clock, stepped, steps};
pub use cpu::{CpuTime, Used};
pub use signalling::{Notice, SignalTimer, Target};
pub use structures::{TICKS_PER_SECOND, Timespec, Timeval};
pub use timerfd::{TimerFile, new_timerfd};
pub use timers::{Interval, ProcessTimers};
