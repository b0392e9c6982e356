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
use crate::signal::{self, SigInfo, Signal};

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

impl Notice {
    /// Sends the signal; true if it waits now to be taken.
    fn send(&self) -> bool {
        let (process, thread) = self.receiver();
        let Some(process) = process else { return false };
        match self.posix {
            Some((id, value)) => {
                let info = SigInfo::timer(self.signal, id, 0, value);
                signal::send_of_timer(&process, thread.as_deref(), self.signal, info);
            }
            // An interval timer's is a standard signal of the kernel's, which is never refused.
            None => drop(signal::send_to_process(&process, self.signal, SigInfo::kernel(self.signal))),
        }
        self.waits()
    }

    /// Takes back the signal of a POSIX timer that has been set anew or deleted (`posixtimer_deliver_signal`).
    fn take_back(&self) {
        let (Some(process), thread) = self.receiver() else { return };
        if let Some((id, _)) = self.posix {
            signal::with_pending(&process, thread.as_deref(), |pending| {
                pending.discard_timer(self.signal, id);
            });
        }
    }

    /// True while the signal that was sent has not been taken.
    fn waits(&self) -> bool {
        let (process, thread) = self.receiver();
        let Some(process) = process else { return false };
        signal::with_pending(&process, thread.as_deref(), |pending| match self.posix {
            Some((id, _)) => pending.has_timer(id),
            None => pending.set().contains(self.signal),
        })
    }

    /// The process, if somebody is told and is still there, and the thread, if it is one.
    fn receiver(&self) -> (Option<Arc<Process>>, Option<Arc<Thread>>) {
        match &self.target {
            Target::Process(process) => (process.upgrade(), None),
            Target::Thread(thread) => {
                let thread = thread.upgrade();
                (thread.as_ref().map(|thread| Arc::clone(thread.process())), thread)
            }
            Target::Nobody => (None, None),
        }
    }

    /// True when the signal that was taken is the one that this sends.
    fn is(&self, signal: Signal, info: &SigInfo) -> bool {
        signal == self.signal && self.posix.is_none_or(|(id, _)| info.timer_id() == Some(id))
    }
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
        let sent = state.sent.take();
        state.overrun = 0;
        state.alarm.clear();
        drop(state);
        if sent.is_some() {
            self.notice.take_back();
        }
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
        if !self.notice.is(signal, info) {
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
        if let Some((id, value)) = self.notice.posix {
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
            if passed > 0 && !(patient && self.notice.waits()) {
                // The first expiry that has passed: those after it are its overrun, however late the machine was.
                let first = match state.schedule.next {
                    Some(next) => next - state.schedule.interval * passed,
                    None => now,
                };
                drop(state);
                let sent = self.notice.send();
                state = self.state.lock();
                state.sent = sent.then_some(first);
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

    /// Stops it for good.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.schedule.next = None;
        state.alarm.clear();
        let sent = state.sent.take();
        drop(state);
        if sent.is_some() {
            self.notice.take_back();
        }
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
    use alloc::vec::Vec;

    use crate::sched;
    use crate::testing;
    use isopod_hal::clock::monotonic_ns;

    fn timer(thread: &Arc<Thread>, posix: Option<(i32, u64)>) -> Arc<SignalTimer> {
        let target = Target::Process(Arc::downgrade(thread.process()));
        SignalTimer::new(Clock::Monotonic, Notice { target, signal: Signal::USR1, posix })
    }

    fn blocked() -> Arc<Thread> {
        let thread = testing::thread();
        thread.set_mask(crate::signal::SigSet::only(Signal::USR1));
        thread
    }

    fn take(thread: &Thread) -> Option<SigInfo> {
        let wanted = crate::signal::SigSet::only(Signal::USR1);
        thread.process().pending.lock().take(wanted).map(|(_, info)| info)
    }

    fn pass(ns: u64) {
        let end = monotonic_ns() + ns;
        // However late the test is, it looks once more when the time is over.
        let mut over = false;
        while !core::mem::replace(&mut over, monotonic_ns() >= end) {
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
    fn two_timers_of_one_signal_are_told_apart() {
        let thread = blocked();
        let timers = [timer(&thread, Some((1, 10))), timer(&thread, Some((2, 20)))];
        for timer in &timers {
            timer.set(Schedule::new(Clock::Monotonic, 10_000, 10_000, false));
        }
        pass(1_000_000);
        let mut first = take(&thread).unwrap();
        // Only the one whose signal was taken sends another.
        for timer in &timers {
            timer.taken(Signal::USR1, &mut first);
        }
        pass(1_000_000);
        let mut values: Vec<_> = core::iter::from_fn(|| take(&thread)).map(|info| info.fields[1]).collect();
        values.sort_unstable();
        assert_eq!(values, [10, 20]);
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
