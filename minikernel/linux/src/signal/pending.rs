//! Signals that wait to be dealt with, and the rest of a thread's signal state.

use alloc::collections::VecDeque;

use super::{SI_USER, SigInfo, SigSet, Signal};
use crate::process::Charge;

/// The signals that have been sent and not yet dealt with.
#[derive(Debug, Default)]
pub struct PendingSignals {
    set: SigSet,
    queue: VecDeque<Queued>,
}

#[derive(Debug)]
struct Queued {
    info: SigInfo,
    /// Counted as long as it waits; `None` for a POSIX timer's, which counts as long as the timer.
    _charge: Option<Charge>,
}

impl PendingSignals {
    /// Which signals wait.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Adds a signal behind its like. False when there is no memory.
    #[must_use]
    pub fn push(&mut self, signal: Signal, info: SigInfo, charge: Option<Charge>) -> bool {
        if self.queue.try_reserve(1).is_err() {
            return false;
        }
        self.set.insert(signal);
        self.queue.push_back(Queued { info, _charge: charge });
        true
    }

    /// Adds a signal of which nothing more is known.
    pub fn mark(&mut self, signal: Signal) {
        self.set.insert(signal);
    }

    /// True while what a POSIX timer sent waits.
    pub fn has_timer(&self, id: i32) -> bool {
        self.queue.iter().any(|queued| queued.info.timer_id() == Some(id))
    }

    /// Throws away what a POSIX timer sent.
    pub fn discard_timer(&mut self, signal: Signal, id: i32) {
        self.queue.retain(|queued| queued.info.timer_id() != Some(id));
        if !self.queue.iter().any(|queued| queued.info.signal == i32::from(signal.number())) {
            self.set.remove(signal);
        }
    }

    /// Takes the first signal that is in `wanted`: synchronous faults first, then by number (`signal(7)`, "Real-time signals").
    #[inline]
    pub fn take(&mut self, wanted: SigSet) -> Option<(Signal, SigInfo)> {
        // Mostly there is none.
        let ready = self.set.intersection(wanted);
        if ready.is_empty() { None } else { self.take_first(ready) }
    }

    fn take_first(&mut self, ready: SigSet) -> Option<(Signal, SigInfo)> {
        let signal = ready.intersection(SigSet::SYNCHRONOUS).first().or_else(|| ready.first())?;
        let number = i32::from(signal.number());
        let position = self.queue.iter().position(|queued| queued.info.signal == number);
        let queued = match position {
            Some(0) => self.queue.pop_front(),
            Some(position) => self.queue.remove(position),
            None => None,
        };
        if !self.queue.iter().any(|queued| queued.info.signal == number) {
            self.set.remove(signal);
        }
        // `collect_signal` knows no better either.
        let info = queued.map_or_else(|| SigInfo::user(signal, SI_USER, 0, 0), |queued| queued.info);
        Some((signal, info))
    }

    /// What is known of the signal that came as the `index`th of those that wait.
    pub fn nth(&self, index: usize) -> Option<SigInfo> {
        self.queue.get(index).map(|queued| queued.info)
    }

    /// Drops every waiting `signal`.
    pub fn discard(&mut self, signal: Signal) {
        if self.set.contains(signal) {
            self.set.remove(signal);
            self.queue.retain(|queued| queued.info.signal != i32::from(signal.number()));
        }
    }
}

/// `sigaltstack(2)`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: usize,
    /// Bytes; 0 when there is none.
    pub size: usize,
    /// `SS_AUTODISARM`: taken away while a handler runs on it.
    pub auto_disarm: bool,
}

impl AlternateStack {
    /// True when the stack pointer lies on it.
    pub fn contains(&self, stack_pointer: u64) -> bool {
        self.size != 0 && !self.auto_disarm && {
            let offset = (stack_pointer as usize).wrapping_sub(self.base);
            offset != 0 && offset <= self.size
        }
    }
}

/// What signals mean to one thread.
#[derive(Debug, Default)]
pub struct ThreadSignals {
    /// Sent to this very thread.
    pub pending: PendingSignals,
    /// Blocked.
    pub mask: SigSet,
    /// Blocked, but waited for by `sigtimedwait(2)`.
    pub awaited: SigSet,
    /// The mask to return to after a call that replaced it while it waited (`sigsuspend`, `ppoll`).
    pub saved_mask: Option<SigSet>,
    /// Where handlers with `SA_ONSTACK` run.
    pub stack: AlternateStack,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(pending: &mut PendingSignals, number: u32, value: u64) {
        let signal = Signal::new(number).unwrap();
        let mut info = SigInfo::kernel(signal);
        info.fields[1] = value;
        assert!(pending.push(signal, info, None));
    }

    fn take(pending: &mut PendingSignals) -> Option<(u8, u64)> {
        pending.take(SigSet::from_bits(!0)).map(|(signal, info)| (signal.number(), info.fields[1]))
    }

    #[test]
    fn signals_come_by_number_and_then_by_age() {
        let mut pending = PendingSignals::default();
        push(&mut pending, 40, 1);
        push(&mut pending, 10, 2);
        push(&mut pending, 40, 3);
        push(&mut pending, 35, 5);
        let order: alloc::vec::Vec<_> = core::iter::from_fn(|| take(&mut pending)).collect();
        assert_eq!(order, [(10, 2), (35, 5), (40, 1), (40, 3)]);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn a_signal_without_its_information_is_taken_once() {
        let mut pending = PendingSignals::default();
        pending.mark(Signal::TERM);
        assert_eq!((take(&mut pending), take(&mut pending)), (Some((15, 0)), None));
    }

    #[test]
    fn faults_come_first() {
        let mut pending = PendingSignals::default();
        push(&mut pending, 1, 0);
        push(&mut pending, 11, 0);
        assert_eq!(take(&mut pending), Some((11, 0)));
    }
}
