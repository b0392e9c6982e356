//! Taking signals that wait.

use super::{SigInfo, SigSet, Signal};
use crate::process::Thread;

/// Takes the next signal of `wanted` that `thread` may have: its own first. A timer that sent it goes on.
pub fn take(thread: &Thread, wanted: SigSet) -> Option<(Signal, SigInfo)> {
    let process = thread.process();
    let own = thread.signals.lock().pending.take(wanted);
    let (signal, mut info) = own.or_else(|| process.pending.lock().take(wanted))?;
    process.timers.taken(signal, &mut info);
    Some((signal, info))
}
