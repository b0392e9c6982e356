//! Standard input on its way to the program.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use isopod_fs::{Errno, Result, Sink, drain};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

/// Bytes that have arrived and have not been read.
pub(super) struct Input {
    state: SpinLock<State>,
    arrived: Arc<WaitQueue>,
}

struct State {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Input {
    /// No input yet; with `open` false, and never any.
    pub(super) fn new(open: bool) -> Self {
        Self {
            state: SpinLock::new(State { bytes: VecDeque::new(), ended: !open }),
            arrived: Arc::new(WaitQueue::new()),
        }
    }

    /// Makes room for `bytes` bytes in all; false without memory.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let more = bytes.saturating_sub(state.bytes.len());
        state.bytes.try_reserve(more).is_ok()
    }

    /// Adds bytes. Without memory they are lost; what may be under way is bounded by those who call this.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.bytes.try_reserve(bytes.len()).is_ok() {
            state.bytes.extend(bytes);
        }
        drop(state);
        self.arrived.wake_all();
    }

    /// No more will come.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.arrived.wake_all();
    }

    /// Moves bytes to `sink`: 0 at the end of the input, or when the sink takes none; `EAGAIN` while there are none.
    pub(super) fn read(&self, sink: &mut dyn Sink) -> Result<usize> {
        let mut state = self.state.lock();
        if state.bytes.is_empty() {
            return if state.ended { Ok(0) } else { Err(Errno::EAGAIN.into()) };
        }
        Ok(drain(&mut state.bytes, sink))
    }

    /// How many bytes there are; `None` at the end.
    pub(super) fn available(&self) -> Option<usize> {
        let state = self.state.lock();
        if state.bytes.is_empty() && state.ended { None } else { Some(state.bytes.len()) }
    }

    /// True once no more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Woken when bytes or the end arrive.
    pub(super) fn arrived(&self) -> &Arc<WaitQueue> {
        &self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopod_fs::{Buffer, Error};

    #[test]
    fn bytes_a_sink_did_not_take_stay() {
        let input = Input::new(true);
        assert!(matches!(input.read(&mut Buffer::new(&mut [0; 4])), Err(Error::Errno(Errno::EAGAIN))));
        input.push(b"abcdef");
        let mut bytes = [0; 4];
        assert_eq!(input.read(&mut Buffer::new(&mut bytes)).unwrap(), 4);
        assert_eq!((&bytes, input.available()), (b"abcd", Some(2)));
        input.end();
        assert_eq!(input.read(&mut Buffer::new(&mut bytes)).unwrap(), 2);
        assert_eq!(input.read(&mut Buffer::new(&mut bytes)).unwrap(), 0);
        assert_eq!(input.available(), None);
    }
}
