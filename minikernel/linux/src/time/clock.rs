//! Clocks: `clock_getres(2)`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use isopod_fs::Errno;
use isopod_hal::clock;
use isopod_hal::sync::wait::WaitQueue;

use super::CpuTime;
use crate::process::{self, Process, Thread};

/// Resolution of the clocks that count ticks, in nanoseconds (`CONFIG_HZ` of 250).
const TICK_NS: u64 = 4_000_000;

/// How often, at most, a clock of CPU time is looked at: Linux does it at each tick.
const CPU_PAUSE_NS: u64 = 1_000_000;

/// Woken when the wall clock is set.
static STEPPED: WaitQueue = WaitQueue::new();
/// How often the wall clock has been set.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Which part of CPU time a clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuKind {
    /// In user code and in the kernel.
    Total,
    /// In user code.
    User,
}

/// A clock.
#[derive(Debug, Clone)]
pub enum Clock {
    /// `CLOCK_REALTIME`; `CLOCK_TAI`, whose distance nobody has set.
    Realtime,
    /// `CLOCK_MONOTONIC`; `CLOCK_BOOTTIME`, as the machine never sleeps.
    Monotonic,
    /// `CLOCK_MONOTONIC_RAW`: the same here, but nobody can sleep on it.
    Raw,
    /// `CLOCK_REALTIME_COARSE`
    RealtimeCoarse,
    /// `CLOCK_MONOTONIC_COARSE`
    MonotonicCoarse,
    /// CPU time of a process.
    Process(Arc<Process>, CpuKind),
    /// CPU time of a thread.
    Thread(Arc<Thread>, CpuKind),
}

impl Clock {
    /// The clock with this number, as `caller` sees it. `EINVAL` when there is none; so also for the alarm clocks, without a real-time clock
    /// that could wake the machine.
    pub fn from_id(id: i32, caller: &Arc<Thread>) -> Result<Self, Errno> {
        Ok(match id {
            0 | 11 => Self::Realtime,
            1 | 7 => Self::Monotonic,
            2 => Self::Process(Arc::clone(caller.process()), CpuKind::Total),
            3 => Self::Thread(Arc::clone(caller), CpuKind::Total),
            4 => Self::Raw,
            5 => Self::RealtimeCoarse,
            6 => Self::MonotonicCoarse,
            ..0 => return Self::of_cpu(id, caller),
            _ => return Err(Errno::EINVAL),
        })
    }

    /// A clock with a negative number: the complement of a process's or thread's id, then three bits, of which the third says that it is a
    /// thread's (`include/linux/posix-timers.h`).
    fn of_cpu(id: i32, caller: &Arc<Thread>) -> Result<Self, Errno> {
        let kind = match id & 3 {
            // What has been charged by ticks, and what by the scheduler, is one and the same here.
            0 | 2 => CpuKind::Total,
            1 => CpuKind::User,
            _ => return Err(Errno::EINVAL),
        };
        let target = !(id >> 3) as u32;
        if id & 4 != 0 {
            let thread = if target == 0 { Some(Arc::clone(caller)) } else { process::find_thread(target) };
            let own = thread.filter(|thread| Arc::ptr_eq(thread.process(), caller.process()));
            return Ok(Self::Thread(own.ok_or(Errno::EINVAL)?, kind));
        }
        let process =
            if target == 0 { Some(Arc::clone(caller.process())) } else { process::find_process(target) };
        Ok(Self::Process(process.ok_or(Errno::EINVAL)?, kind))
    }

    /// Its time in nanoseconds.
    pub fn now(&self) -> u64 {
        let part = |time: CpuTime, kind| if kind == CpuKind::User { time.user } else { time.total() };
        match self {
            Self::Realtime | Self::RealtimeCoarse => clock::realtime_ns(),
            Self::Monotonic | Self::Raw | Self::MonotonicCoarse => clock::monotonic_ns(),
            Self::Process(process, kind) => part(CpuTime::of_process(process), *kind),
            Self::Thread(thread, kind) => part(CpuTime::of_thread(thread), *kind),
        }
    }

    /// Its resolution in nanoseconds.
    pub fn resolution(&self) -> u64 {
        match self {
            Self::RealtimeCoarse | Self::MonotonicCoarse => TICK_NS,
            _ => 1,
        }
    }

    /// True when it follows changes of the wall clock.
    pub fn is_wall(&self) -> bool {
        matches!(self, Self::Realtime)
    }

    /// True when one can sleep on it and have timers run by it.
    pub fn has_timers(&self) -> bool {
        matches!(self, Self::Realtime | Self::Monotonic | Self::Process(..) | Self::Thread(..))
    }

    /// True when it stands still while others have the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Process(..) | Self::Thread(..))
    }

    /// The earliest moment, in nanoseconds since boot, at which it can show `time`. The clocks of CPU time may show it later; no clock
    /// runs faster than all CPUs together.
    pub fn earliest(&self, time: u64) -> u64 {
        let left = time.saturating_sub(self.now());
        // A clock of CPU time may stand still when it is looked at: without a pause, looking again would never end.
        let cpus = isopod_hal::cpu::count() as u64;
        let left = if self.is_cpu() { left.div_ceil(cpus).max(CPU_PAUSE_NS) } else { left };
        clock::monotonic_ns().saturating_add(left)
    }
}

/// Sets the wall clock. `EINVAL` for a time before the machine's start, as on Linux.
pub fn set_wall_clock(ns: u64) -> Result<(), Errno> {
    if ns < clock::monotonic_ns() {
        return Err(Errno::EINVAL);
    }
    clock::set_realtime_ns(ns);
    STEPS.fetch_add(1, Ordering::Release);
    STEPPED.wake_all();
    Ok(())
}

/// What is woken when the wall clock is set.
pub fn stepped() -> &'static WaitQueue {
    &STEPPED
}

/// How often the wall clock has been set.
pub fn steps() -> u64 {
    STEPS.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn numbers_mean_what_they_mean_on_linux() {
        let thread = testing::thread();
        let clock = |id| Clock::from_id(id, &thread);
        for id in [8, 9, 10, 12, 16, 99, !0 << 3 | 3] {
            assert!(matches!(clock(id), Err(Errno::EINVAL)), "{id}");
        }
        assert!(matches!(clock(0), Ok(Clock::Realtime)));
        assert!(matches!(clock(7), Ok(Clock::Monotonic)));
        // What pthread_getcpuclockid(3) and clock_getcpuclockid(3) make for the caller itself.
        assert!(matches!(clock(!0 << 3 | 6), Ok(Clock::Thread(_, CpuKind::Total))));
        assert!(matches!(clock(!0 << 3 | 2), Ok(Clock::Process(_, CpuKind::Total))));
        assert!(matches!(clock(!0 << 3 | 1), Ok(Clock::Process(_, CpuKind::User))));
        // A process that does not exist.
        assert!(matches!(clock(!0x00ff_fff0 << 3 | 2), Err(Errno::EINVAL)));
    }

    #[test]
    fn a_moment_is_never_later_than_it_can_be() {
        let now = Clock::Monotonic.now();
        assert_eq!(Clock::Monotonic.earliest(now + 5_000_000_000).saturating_sub(now) / 1_000_000_000, 5);
        let cpu = Clock::Process(Arc::clone(testing::thread().process()), CpuKind::User);
        assert!(cpu.earliest(cpu.now() + 1) >= now + CPU_PAUSE_NS);
        let earliest = Clock::Realtime.earliest(0);
        assert!(earliest <= Clock::Monotonic.now());
    }
}
