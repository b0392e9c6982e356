//! Timers that send signals: setitimer(2) and `timer_create(2)`.
//!
//! A timer whose signal has not been taken yet sends no other. What it missed meanwhile is its overrun, counted when the signal is taken;
//! until then it looks again at every tick at most, so that no interval, however short, keeps the machine busy.

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::task::Waker;

use isopod_hal::sync::SpinLock;

use super::alarm::{Alarm, Schedule};
use super::clock::Clock;
use crate::process::{Process, Thread};
use crate::signal::{self, SI_TIMER, SigInfo, Signal};

/// How soon a timer looks again whose signal has not been taken, or was ignored: a tick of Linux.
const PATIENCE_NS: u64 = 4_000_000;

/// Whom a timer tells.
#[derive(Debug, Clone)]
pub enum Target {
    /// The process.
    Process(Weak<Process>),
    /// One of its threads (`SIGEV_THREAD_ID`).
    Thread(Weak<Thread>),
    /// Nobody (`SIGEV_NONE`).
    Nobody,
}

impl Target {
    /// Sends the signal; true if it waits now to be taken.
    fn send(&self, signal: Signal, info: SigInfo) -> bool {
        // A queue that is full loses it, as on Linux; the next expiry tries again.
        match self {
            Self::Process(process) => process.upgrade().is_some_and(|process| {
                signal::send_to_process(&process, signal, info).is_ok() && Self::waits(&process, None, signal)
            }),
            Self::Thread(thread) => thread.upgrade().is_some_and(|thread| {
                signal::send_to_thread(&thread, signal, info).is_ok()
                    && Self::waits(thread.process(), Some(&thread), signal)
            }),
            Self::Nobody => false,
        }
    }

    fn waits(process: &Process, thread: Option<&Thread>, signal: Signal) -> bool {
        let pending = match thread {
            Some(thread) => thread.signals.lock().pending.set(),
            None => process.pending.lock().set(),
        };
        pending.contains(signal)
    }

    /// True while a signal sent to this target has not been taken.
    fn has_pending(&self, signal: Signal) -> bool {
        match self {
            Self::Process(process) => {
                process.upgrade().is_some_and(|process| Self::waits(&process, None, signal))
            }
            Self::Thread(thread) => {
                thread.upgrade().is_some_and(|thread| Self::waits(thread.process(), Some(&thread), signal))
            }
            Self::Nobody => false,
        }
    }
}

/// What a timer sends.
#[derive(Debug, Clone)]
pub struct Notice {
    /// To whom.
    pub target: Target,
    /// Which signal.
    pub signal: Signal,
    /// For a POSIX timer, its id and the program's value.
    pub posix: Option<(i32, u64)>,
}

/// A timer that sends a signal.
#[derive(Debug)]
pub struct SignalTimer {
    notice: Notice,
    state: SpinLock<State>,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    alarm: Alarm,
    /// The expiry that the signal which waits stands for, on the schedule's clock.
    sent: Option<u64>,
    /// Expiries that the signal taken last stood for besides its own.
    overrun: u64,
}

impl SignalTimer {
    /// A timer that is not armed.
    pub fn new(clock: Clock, notice: Notice) -> Arc<Self> {
        let schedule = Schedule::disarmed(clock);
        let state = State { schedule, alarm: Alarm::default(), sent: None, overrun: 0 };
        Arc::new(Self { notice, state: SpinLock::new(state) })
    }

    /// Arms it, or disarms it. Returns what was left, and the interval before.
    pub fn set(self: &Arc<Self>, schedule: Schedule) -> (u64, u64) {
        let mut state = self.state.lock();
        let before = state.left();
        state.schedule = schedule;
        state.sent = None;
        state.overrun = 0;
        state.alarm.clear();
        drop(state);
        self.run();
        before
    }

    /// Nanoseconds left, and the interval.
    pub fn left(&self) -> (u64, u64) {
        self.state.lock().left()
    }

    /// `timer_getoverrun(2)`
    pub fn overrun(&self) -> i32 {
        i32::try_from(self.state.lock().overrun).unwrap_or(i32::MAX)
    }

    /// Its signal has been taken: `info` gets the overrun if it is its own.
    pub fn taken(self: &Arc<Self>, signal: Signal, info: &mut SigInfo) {
        if signal != self.notice.signal {
            return;
        }
        let mut state = self.state.lock();
        let Some(sent) = state.sent.take() else { return };
        let now = state.schedule.clock.now();
        state.overrun = now.saturating_sub(sent).checked_div(state.schedule.interval).unwrap_or(0);
        // What has passed until now is told by this signal.
        state.schedule.advance(now);
        let overrun = state.overrun;
        drop(state);
        if let Some((id, value)) = self.notice.posix
            && info.code == SI_TIMER
            && info.fields[0] as u32 == id as u32
        {
            let overrun = i32::try_from(overrun).unwrap_or(i32::MAX);
            *info = SigInfo::timer(signal, id, overrun, value);
        }
        // Its beat may have been slowed down meanwhile.
        self.run();
    }

    /// Sends what is due, and sets the alarm for what comes next.
    fn run(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        loop {
            let mut state = self.state.lock();
            let now = state.schedule.clock.now();
            let passed = state.schedule.advance(now);
            let mut patient = state.sent.is_some();
            if passed > 0 && !(patient && self.notice.target.has_pending(self.notice.signal)) {
                // The last expiry that has passed; those before it could not be told.
                let last = match state.schedule.next {
                    Some(next) => next - state.schedule.interval,
                    None => now,
                };
                drop(state);
                let sent = self.notice.target.send(self.notice.signal, self.info());
                state = self.state.lock();
                state.sent = sent.then_some(last);
                patient = !sent;
            }
            let Some(next) = state.schedule.next else { return };
            if matches!(self.notice.target, Target::Nobody) {
                // Nobody needs to know when; who asks computes it.
                return;
            }
            let at = if patient { next.max(now.saturating_add(PATIENCE_NS)) } else { next };
            let State { schedule, alarm, .. } = &mut *state;
            if !alarm.set(&schedule.clock, at, &waker) {
                return;
            }
        }
    }

    fn info(&self) -> SigInfo {
        match self.notice.posix {
            Some((id, value)) => SigInfo::timer(self.notice.signal, id, 0, value),
            None => SigInfo::kernel(self.notice.signal),
        }
    }

    /// Stops it for good.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.schedule.next = None;
        state.sent = None;
        state.alarm.clear();
    }
}

impl State {
    fn left(&self) -> (u64, u64) {
        let mut schedule = self.schedule.clone();
        schedule.advance(schedule.clock.now());
        (schedule.remaining(), schedule.interval)
    }
}

impl Wake for SignalTimer {
    fn wake(self: Arc<Self>) {
        self.run();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.run();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched;
    use crate::testing;
    use isopod_hal::clock::monotonic_ns;

    fn timer(thread: &Arc<Thread>, posix: Option<(i32, u64)>) -> Arc<SignalTimer> {
        let target = Target::Process(Arc::downgrade(thread.process()));
        SignalTimer::new(Clock::Monotonic, Notice { target, signal: Signal::USR1, posix })
    }

    fn blocked() -> Arc<Thread> {
        let thread = testing::thread();
        thread.signals.lock().mask = crate::signal::SigSet::only(Signal::USR1);
        thread
    }

    fn take(thread: &Thread) -> Option<SigInfo> {
        let wanted = crate::signal::SigSet::only(Signal::USR1);
        thread.process().pending.lock().take(wanted).map(|(_, info)| info)
    }

    fn pass(ns: u64) {
        let end = monotonic_ns() + ns;
        while monotonic_ns() < end {
            sched::expire();
        }
    }

    #[test]
    fn a_single_expiry_sends_one_signal() {
        let thread = blocked();
        let timer = timer(&thread, None);
        timer.set(Schedule::new(Clock::Monotonic, 100_000, 0, false));
        assert!(take(&thread).is_none());
        pass(300_000);
        assert!(take(&thread).is_some());
        pass(300_000);
        assert!(take(&thread).is_none());
        assert_eq!(timer.left(), (0, 0));
    }

    #[test]
    fn what_is_missed_is_the_overrun_and_no_signal_of_its_own() {
        let thread = blocked();
        let timer = timer(&thread, Some((7, 42)));
        timer.set(Schedule::new(Clock::Monotonic, 10_000_000, 10_000_000, false));
        pass(21_000_000);
        let mut info = take(&thread).unwrap();
        timer.taken(Signal::USR1, &mut info);
        assert!(timer.overrun() >= 1);
        assert!(take(&thread).is_none());
        timer.set(Schedule::new(Clock::Monotonic, 100_000, 100_000, false));
        pass(1_000_000);
        let mut info = take(&thread).unwrap();
        assert_eq!(info.fields[1], 42);
        timer.taken(Signal::USR1, &mut info);
        assert!((5..100_000).contains(&timer.overrun()));
        assert_eq!((info.fields[0] as u32, (info.fields[0] >> 32) as i32), (7, timer.overrun()));
        // The beat goes on.
        pass(300_000);
        assert!(take(&thread).is_some());
        timer.stop();
        pass(300_000);
        assert!(take(&thread).is_none());
    }

    #[test]
    fn setting_tells_what_was_left() {
        let thread = blocked();
        let timer = timer(&thread, None);
        assert_eq!(timer.set(Schedule::new(Clock::Monotonic, 5_000_000_000, 3, false)), (0, 0));
        let (left, interval) = timer.set(Schedule::disarmed(Clock::Monotonic));
        assert!((4_000_000_000..=5_000_000_000).contains(&left));
        assert_eq!((interval, timer.left()), (3, (0, 0)));
    }

    #[test]
    fn a_timer_leaves_nothing_behind() {
        let thread = blocked();
        let timer = timer(&thread, None);
        timer.set(Schedule::new(Clock::Realtime, u64::MAX / 2, 0, true));
        let weak = Arc::downgrade(&timer);
        timer.stop();
        drop(timer);
        assert_eq!(weak.strong_count(), 0);
    }
}
