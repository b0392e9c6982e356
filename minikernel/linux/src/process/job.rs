//! What a parent can learn of its child's stops: `WUNTRACED` and `WCONTINUED` of waitpid(2).

use isopod_hal::sync::SpinLock;

use super::Change;

/// What has happened last, until the parent has asked for it.
#[derive(Debug, Default)]
pub struct JobReport {
    last: SpinLock<Option<Change>>,
}

impl JobReport {
    /// The process was stopped, or continued.
    pub(super) fn set(&self, change: Change) {
        *self.last.lock() = Some(change);
    }

    /// What has happened, if it was not told before and is `wanted`. It is not told again unless it is kept.
    pub(super) fn take(&self, wanted: impl FnOnce(Change) -> bool, keep: bool) -> Option<Change> {
        let mut last = self.last.lock();
        let change = (*last).filter(|change| wanted(*change))?;
        if !keep {
            *last = None;
        }
        Some(change)
    }
}
