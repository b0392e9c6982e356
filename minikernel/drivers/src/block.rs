//! Block devices, as file systems see them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::Waker;

use isopod_hal::frame::Frame;
use isopod_hal::sync::SpinLock;

use crate::place::Place;

/// Bytes of a sector, the unit of all block addresses, whatever the device's own block size.
pub const SECTOR_SIZE: u64 = 512;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The device could not do it (`EIO`), or it broke its rules and was given up.
    Io,
    /// The device does not know this kind of request.
    Unsupported,
    /// A write to a read-only device.
    ReadOnly,
    /// The first sector lies beyond the end of the device.
    OutOfRange,
    /// No memory for the request.
    OutOfMemory,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "input/output error",
            Self::Unsupported => "not supported by the device",
            Self::ReadOnly => "the device is read-only",
            Self::OutOfRange => "beyond the end of the device",
            Self::OutOfMemory => "out of memory",
        })
    }
}

/// What tells a disk from others of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The kind of controller that it is behind.
    pub controller: &'static str,
    /// Where that is.
    pub place: Place,
    /// Its number there.
    pub number: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} disk {}", self.controller, self.place, self.number)
    }
}

/// A disk.
///
/// Requests return at once and complete by interrupt, in any order. A flush covers the writes that had completed
/// when it was made.
pub trait Block: Send + Sync {
    /// Its name.
    fn name(&self) -> Name;

    /// Size in bytes, a multiple of [`SECTOR_SIZE`].
    fn size(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Reads whole pages from `sector` on. Where the device ends within them, the rest is filled with zeros.
    fn read(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError>;

    /// Writes whole pages from `sector` on. What would lie beyond the end of the device is left out.
    fn write(&self, sector: u64, pages: &[Frame]) -> Result<Arc<BlockRequest>, BlockError>;

    /// Makes completed writes durable.
    fn flush(&self) -> Result<Arc<BlockRequest>, BlockError>;

    /// Looks for completed requests without an interrupt, for callers that cannot wait for one.
    fn poll(&self);

    /// Is called every few seconds by who wants to get an error from a device that does not answer, and not to wait for it for good.
    fn expire(&self);
}

/// A request on its way. It keeps its pages alive until the device is done with them, even when nobody waits for it
/// any more.
#[derive(Debug)]
pub struct BlockRequest {
    pages: Vec<Frame>,
    state: SpinLock<State>,
}

#[derive(Debug)]
struct State {
    /// Parts that the device has not finished.
    outstanding: usize,
    /// The first error of a part.
    result: Result<(), BlockError>,
    wakers: Vec<Waker>,
}

impl BlockRequest {
    /// A request over `pages` that is complete when `parts` parts are.
    pub(crate) fn new(pages: &[Frame], parts: usize) -> Result<Arc<Self>, BlockError> {
        let mut kept = Vec::new();
        kept.try_reserve_exact(pages.len()).map_err(|_| BlockError::OutOfMemory)?;
        kept.extend_from_slice(pages);
        let state = State { outstanding: parts, result: Ok(()), wakers: Vec::new() };
        Ok(Arc::new(Self { pages: kept, state: SpinLock::new(state) }))
    }

    /// The pages, in order.
    pub fn pages(&self) -> &[Frame] {
        &self.pages
    }

    /// How it went; `None` while it is on its way.
    pub fn result(&self) -> Option<Result<(), BlockError>> {
        let state = self.state.lock();
        (state.outstanding == 0).then_some(state.result)
    }

    /// Wakes `waker` when the request completes, at once if it has.
    pub fn register(&self, waker: &Waker) {
        let mut state = self.state.lock();
        if state.outstanding == 0 {
            drop(state);
            waker.wake_by_ref();
        } else if !state.wakers.iter().any(|other| other.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
    }

    /// One part is done.
    pub(crate) fn complete_part(&self, result: Result<(), BlockError>) {
        let mut state = self.state.lock();
        state.outstanding = state.outstanding.saturating_sub(1);
        state.result = state.result.and(result);
        if state.outstanding == 0 {
            let wakers = core::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}
