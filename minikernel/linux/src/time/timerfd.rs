//! Timers as files: `timerfd_create(2)`.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::task::Waker;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking};
use isopod_fs::{Errno, Result, Sink};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use super::alarm::{Alarm, Schedule};
use super::clock::{Clock, steps};
use crate::ipc::anonymous_file;

/// The timer behind a file.
#[derive(Debug)]
pub struct TimerFile {
    state: SpinLock<State>,
    expired: Arc<WaitQueue>,
    itself: Weak<Self>,
}

#[derive(Debug)]
struct State {
    /// The clock it was made with; a schedule may go by another.
    clock: Clock,
    schedule: Schedule,
    alarm: Alarm,
    /// Something to read: it has expired since the last read.
    rang: bool,
    /// For a timer that a step of the wall clock cancels: how many steps there had been when it was set.
    watched: Option<u64>,
}

impl State {
    /// True when the wall clock was set since.
    fn is_cancelled(&self) -> bool {
        self.watched.is_some_and(|seen| seen != steps())
    }

    fn left(&self) -> (u64, u64) {
        let mut schedule = self.schedule.clone();
        schedule.advance(schedule.clock.now());
        (schedule.remaining(), schedule.interval)
    }
}

/// A new timer on `clock`. `flags` can be `O_NONBLOCK`.
pub fn new_timerfd(clock: Clock, flags: OpenFlags) -> core::result::Result<Arc<OpenFile>, Errno> {
    let timer = Arc::new_cyclic(|itself| TimerFile {
        state: SpinLock::new(State {
            schedule: Schedule::disarmed(clock.clone()),
            clock,
            alarm: Alarm::default(),
            rang: false,
            watched: None,
        }),
        expired: Arc::default(),
        itself: Weak::clone(itself),
    });
    anonymous_file("[timerfd]", OpenFlags::RDWR | flags, Box::new(Ops(timer)))
}

impl TimerFile {
    /// The timer behind `file`, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Self> {
        file.ops()?.downcast_ref::<Ops>().map(|ops| &*ops.0)
    }

    /// `timerfd_settime(2)`: first at or after `value` nanoseconds, 0 for never, then each `interval`. `cancel` ends it with `ECANCELED` when the
    /// wall clock is set. Returns what was left, and the interval before.
    pub fn set(&self, value: u64, interval: u64, absolute: bool, cancel: bool) -> (u64, u64) {
        let mut state = self.state.lock();
        let before = state.left();
        state.schedule = Schedule::new(state.clock.clone(), value, interval, absolute);
        state.rang = false;
        state.watched = (cancel && absolute && state.clock.is_wall()).then(steps);
        state.alarm.clear();
        drop(state);
        self.run();
        before
    }

    /// `timerfd_gettime(2)`: nanoseconds left, and the interval.
    pub fn left(&self) -> (u64, u64) {
        self.state.lock().left()
    }

    /// Takes note of an expiry; else sets the alarm for it. A timer that has rung stays silent until it is read.
    fn run(&self) {
        let Some(waker) = self.itself.upgrade().map(Waker::from) else { return };
        let mut state = self.state.lock();
        if !state.rang {
            let State { schedule, alarm, .. } = &mut *state;
            let due = schedule
                .next
                .is_some_and(|next| schedule.clock.now() >= next || alarm.set(&schedule.clock, next, &waker));
            state.rang = due;
        }
        let tell = state.rang || state.is_cancelled();
        drop(state);
        if tell {
            self.expired.wake_all();
        }
    }
}

impl Wake for TimerFile {
    fn wake(self: Arc<Self>) {
        self.run();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.run();
    }
}

/// The open file. The alarm holds the timer itself, and is cleared when the file is closed.
#[derive(Debug)]
struct Ops(Arc<TimerFile>);

impl Drop for Ops {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.schedule.next = None;
        state.alarm.clear();
    }
}

impl FileOps for Ops {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if sink.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL.into());
        }
        let mut state = self.0.state.lock();
        if state.is_cancelled() {
            state.watched = Some(steps());
            state.rang = false;
            drop(state);
            self.0.run();
            return Err(Errno::ECANCELED.into());
        }
        if !state.rang {
            return Err(Errno::EAGAIN.into());
        }
        let mut schedule = state.schedule.clone();
        let count = schedule.advance(schedule.clock.now());
        if sink.put(&count.to_le_bytes()) < size_of::<u64>() {
            // The copy was cut: nothing is taken.
            return Ok(0);
        }
        state.schedule = schedule;
        state.rang = false;
        drop(state);
        self.0.run();
        Ok(size_of::<u64>())
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        let state = self.0.state.lock();
        if state.rang || state.is_cancelled() { Ready::READ } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.0.expired))
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sched, testing};
    use isopod_fs::{Buffer, Error};
    use isopod_hal::clock;

    fn read(file: &OpenFile) -> core::result::Result<u64, Errno> {
        let mut bytes = [0; 8];
        match file.read(&mut Buffer::new(&mut bytes)) {
            Ok(_) => Ok(u64::from_le_bytes(bytes)),
            Err(Error::Errno(errno)) => Err(errno),
            Err(Error::Wait(_)) => panic!("a timer waits for no disk"),
        }
    }

    fn pass(ns: u64) {
        let end = clock::monotonic_ns() + ns;
        while clock::monotonic_ns() < end {
            sched::expire();
        }
    }

    #[test]
    fn expiries_are_counted_and_read_once() {
        testing::install_kernel();
        let file = new_timerfd(Clock::Monotonic, OpenFlags::NONBLOCK).unwrap();
        let timer = TimerFile::of(&file).unwrap();
        assert_eq!(read(&file), Err(Errno::EAGAIN));
        timer.set(200_000, 0, false, false);
        assert_eq!((read(&file), file.ready()), (Err(Errno::EAGAIN), Ready::empty()));
        pass(400_000);
        assert_eq!((file.ready(), read(&file), read(&file)), (Ready::READ, Ok(1), Err(Errno::EAGAIN)));
        assert_eq!(timer.left(), (0, 0));
        timer.set(100_000, 100_000, false, false);
        pass(1_000_000);
        assert!(read(&file).unwrap() >= 5);
        assert_eq!(timer.left().1, 100_000);
        timer.set(1, 0, true, false);
        assert_eq!(read(&file), Ok(1));
    }

    #[test]
    fn setting_the_wall_clock_cancels_who_asked_for_it() {
        testing::install_kernel();
        let file = new_timerfd(Clock::Realtime, OpenFlags::NONBLOCK).unwrap();
        let timer = TimerFile::of(&file).unwrap();
        let late = clock::realtime_ns() + 3_600_000_000_000;
        timer.set(late, 0, true, true);
        super::super::set_wall_clock(clock::realtime_ns() + 1_000_000_000).unwrap();
        assert_eq!((file.ready(), read(&file)), (Ready::READ, Err(Errno::ECANCELED)));
        assert_eq!(read(&file), Err(Errno::EAGAIN));
        super::super::set_wall_clock(late + 1).unwrap();
        assert_eq!(read(&file), Err(Errno::ECANCELED));
        // What was cancelled still expires.
        assert_eq!(read(&file), Ok(1));
    }

    #[test]
    fn a_closed_timer_leaves_nothing_behind() {
        testing::install_kernel();
        let file = new_timerfd(Clock::Monotonic, OpenFlags::NONBLOCK).unwrap();
        let timer = TimerFile::of(&file).unwrap();
        timer.set(u64::MAX / 2, 0, false, false);
        let weak = Weak::clone(&timer.itself);
        drop(file);
        assert_eq!(weak.strong_count(), 0);
    }
}
