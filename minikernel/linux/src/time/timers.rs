//! The timers of a process.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use isopod_hal::number_map::NumberMap;

use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;

use super::alarm::Schedule;
use super::clock::{Clock, CpuKind};
use super::signalling::{Notice, SignalTimer, Target};
use crate::process::{Charge, Limit, Process};
use crate::signal::{SigInfo, Signal};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Which of its interval timers, or of those that keep it within its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// `ITIMER_REAL`
    Real,
    /// `ITIMER_VIRTUAL`: user time.
    Virtual,
    /// `ITIMER_PROF`: CPU time.
    Profiling,
    /// `RLIMIT_CPU`, the soft limit: CPU time.
    SoftLimit,
    /// `RLIMIT_CPU`, the hard limit.
    HardLimit,
}

impl Interval {
    /// The timer with the ABI's number.
    pub fn from_raw(raw: i32) -> Option<Self> {
        // Those of the limits have none.
        [Self::Real, Self::Virtual, Self::Profiling].get(usize::try_from(raw).ok()?).copied()
    }

    /// The clock it goes by, and the signal it sends.
    fn parts(self, process: &Arc<Process>) -> (Clock, Signal) {
        match self {
            Self::Real => (Clock::Monotonic, Signal::ALRM),
            Self::Virtual => (Clock::Process(Arc::clone(process), CpuKind::User), Signal::VTALRM),
            Self::Profiling => (Clock::Process(Arc::clone(process), CpuKind::Total), Signal::PROF),
            Self::SoftLimit => (Clock::Process(Arc::clone(process), CpuKind::Total), Signal::XCPU),
            Self::HardLimit => (Clock::Process(Arc::clone(process), CpuKind::Total), Signal::KILL),
        }
    }
}

/// The interval timers and the POSIX timers of a process.
#[derive(Debug, Default)]
pub struct ProcessTimers {
    inner: SpinLock<Inner>,
    /// How many there are, to be looked at with each signal.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    intervals: [Option<Arc<SignalTimer>>; 5],
    posix: NumberMap<Box<PosixTimer>>,
    /// Id of the next POSIX timer; ids are not used again soon.
    next_id: i32,
}

#[derive(Debug)]
struct PosixTimer {
    clock: Clock,
    timer: Arc<SignalTimer>,
    /// The place of its signal in the queue.
    _charge: Charge,
}

/// The key of the POSIX timer `id`; no timer has that of a negative one.
fn key(id: i32) -> u64 {
    i64::from(id).cast_unsigned()
}

impl ProcessTimers {
    /// The interval timer `which` of `process`, which these are the timers of, and the clock it goes by.
    pub fn interval(&self, process: &Arc<Process>, which: Interval) -> (Clock, Arc<SignalTimer>) {
        let (clock, signal) = which.parts(process);
        let mut inner = self.inner.lock();
        let slot = &mut inner.intervals[which as usize];
        let timer = slot.get_or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            let target = Target::Process(Arc::downgrade(process));
            SignalTimer::new(clock.clone(), Notice { target, signal, posix: None })
        });
        (clock, Arc::clone(timer))
    }

    /// Obeys `RLIMIT_CPU` of `process`: SIGXCPU from the soft limit on and every second after that, SIGKILL at the hard one (setrlimit(2)).
    pub fn limit(&self, process: &Arc<Process>, Limit { soft, hard }: Limit) {
        let soft = if soft < hard { soft } else { u64::MAX };
        for (which, seconds, interval) in
            [(Interval::HardLimit, hard, 0), (Interval::SoftLimit, soft, NS_PER_SECOND)]
        {
            let is_armed = self.inner.lock().intervals[which as usize].is_some();
            if seconds == u64::MAX && !is_armed {
                continue;
            }
            let (clock, timer) = self.interval(process, which);
            // A limit of nothing is reached at once; a timer that is set to nothing is off.
            let end = if seconds == u64::MAX { 0 } else { seconds.saturating_mul(NS_PER_SECOND).max(1) };
            timer.set(Schedule::new(clock, end, interval, true));
        }
    }

    /// Makes a POSIX timer, which counts as a signal that waits; `notice` says what it sends, given its id. `EAGAIN` when there are too many.
    pub fn create(
        &self,
        clock: Clock,
        charge: Charge,
        notice: impl FnOnce(i32) -> Notice,
    ) -> Result<i32, Errno> {
        let mut inner = self.inner.lock();
        let id = inner.next_id;
        if inner.posix.contains_key(&key(id)) {
            return Err(Errno::EAGAIN);
        }
        inner.next_id = id.checked_add(1).unwrap_or(0);
        let timer = SignalTimer::new(clock.clone(), notice(id));
        inner.posix.insert(key(id), Box::new(PosixTimer { clock, timer, _charge: charge }));
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// The POSIX timer `id` and its clock, or `EINVAL`.
    pub fn posix(&self, id: i32) -> Result<(Clock, Arc<SignalTimer>), Errno> {
        let inner = self.inner.lock();
        let found = inner.posix.get(&key(id)).ok_or(Errno::EINVAL)?;
        Ok((found.clock.clone(), Arc::clone(&found.timer)))
    }

    /// Deletes the POSIX timer `id`, or `EINVAL`.
    pub fn delete(&self, id: i32) -> Result<(), Errno> {
        let removed = self.inner.lock().posix.remove(&key(id)).ok_or(Errno::EINVAL)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        removed.timer.stop();
        Ok(())
    }

    /// A signal has been taken by the process or one of its threads: timers that sent it go on, and `info` gets its overrun.
    pub fn taken(&self, signal: Signal, info: &mut SigInfo) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let intervals = self.inner.lock().intervals.clone();
        for timer in intervals.into_iter().flatten() {
            timer.taken(signal, info);
        }
        let mut from = 0;
        while let Some((key, timer)) = self.posix_from(from) {
            timer.taken(signal, info);
            from = key + 1;
        }
    }

    fn posix_from(&self, key: u64) -> Option<(u64, Arc<SignalTimer>)> {
        let inner = self.inner.lock();
        let (key, posix) = inner.posix.range(key..).next()?;
        Some((*key, Arc::clone(&posix.timer)))
    }

    /// Stops all: the process ends.
    pub fn clear(&self) {
        self.forget_posix();
        let intervals = core::mem::take(&mut self.inner.lock().intervals);
        for timer in intervals.into_iter().flatten() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            timer.stop();
        }
    }

    /// Deletes the POSIX timers; interval timers survive an execve (execve(2)).
    pub fn forget_posix(&self) {
        let posix = core::mem::take(&mut self.inner.lock().posix);
        for posix in posix.into_values() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            posix.timer.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn timers_go_with_their_process() {
        let thread = testing::thread();
        let process = thread.process();
        let (clock, _) = process.timers.interval(process, Interval::Profiling);
        let notice = |_| Notice { target: Target::Nobody, signal: Signal::ALRM, posix: None };
        let charge = || crate::signal::QUEUED.charge(0, 1, u64::MAX).unwrap();
        let id = process.timers.create(clock, charge(), notice).unwrap();
        assert_eq!(process.timers.create(Clock::Monotonic, charge(), notice).unwrap(), id + 1);
        process.timers.delete(id).unwrap();
        assert_eq!(process.timers.delete(id), Err(Errno::EINVAL));
        process.timers.clear();
        assert!(process.timers.posix(id + 1).is_err());
        assert_eq!(process.timers.count.load(Ordering::Relaxed), 0);
        // No clock of a timer keeps the process.
        assert_eq!(Arc::strong_count(process), 1 + process.thread_count() - 1);
    }
}
