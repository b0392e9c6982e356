//! What a parent can learn of its child's stops: `WUNTRACED` and `WCONTINUED` of waitpid(2).

use isopod_hal::sync::SpinLock;

use crate::signal::Signal;

/// What has happened last, until the parent has asked for it.
#[derive(Debug, Default)]
pub struct JobReport {
    event: SpinLock<Option<Event>>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Stopped(Signal),
    Continued,
}

impl JobReport {
    /// The process was stopped by `signal`.
    pub fn set_stopped(&self, signal: Signal) {
        *self.event.lock() = Some(Event::Stopped(signal));
    }

    /// It was continued.
    pub fn set_continued(&self) {
        *self.event.lock() = Some(Event::Continued);
    }

    /// The signal that stopped it, unless it was told before or the process has gone on. It is not told again unless it is kept.
    pub fn stop(&self, keep: bool) -> Option<Signal> {
        let mut event = self.event.lock();
        let Some(Event::Stopped(signal)) = *event else { return None };
        if !keep {
            *event = None;
        }
        Some(signal)
    }

    /// Whether it has gone on, as [`JobReport::stop`].
    pub fn continuation(&self, keep: bool) -> bool {
        let mut event = self.event.lock();
        let continued = matches!(*event, Some(Event::Continued));
        if continued && !keep {
            *event = None;
        }
        continued
    }
}
