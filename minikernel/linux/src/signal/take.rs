//! Taking signals that wait.

use super::{SigInfo, SigSet, Signal};
use crate::process::Thread;

/// Takes the next signal of `wanted` that `thread` may have: its own first. A timer that sent it goes on.
pub fn take(thread: &Thread, wanted: SigSet) -> Option<(Signal, SigInfo)> {
    let process = thread.process();
    let mut taken = thread.signals.lock().pending.take(wanted);
    if taken.is_none() {
        taken = process.pending.lock().take(wanted);
    }
    if let Some((signal, info)) = &mut taken {
        process.timers.taken(*signal, info);
    }
    taken
}
