//! Waiting for memory that an operation has not found.

use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Waker};

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::sync::SpinLock;

use super::{Shortage, afford, reclaim};
use crate::{process, sched};

/// What an operation returns that finds no memory for what it must have: it is made again once there is some. `ENOMEM` for who is to end, who gets
/// none.
pub fn no_page() -> fs::Error {
    if has_no_hope() {
        Errno::ENOMEM.into()
    } else {
        fs::Error::Wait(fs::Wait::new(Arc::new(Relief::default()), None))
    }
}

/// Returns when something can be tried again that has found no memory: caches gave way, or the largest process ended. `ENOMEM` where it asks for
/// more than small pieces, as there is memory for these, or may not wait.
pub async fn relief() -> Result<(), Errno> {
    if reclaim() {
        return Ok(());
    }
    match no_page() {
        fs::Error::Wait(wait) if afford(SMALL).is_err() => wait.await,
        _ => return Err(Errno::ENOMEM),
    }
    Ok(())
}

/// What Linux tries to get until it can be had (2 to the `PAGE_ALLOC_COSTLY_ORDER` pages): larger pieces are refused.
const SMALL: usize = PAGE_SIZE << 3;

/// Whether who runs here is a thread that is to end, or the kernel itself.
fn has_no_hope() -> bool {
    process::current().is_none_or(|thread| thread.must_end())
}

/// The end of a shortage.
#[derive(Default)]
struct Relief(SpinLock<(Shortage, Option<sched::Sleep>)>);

impl fs::Pending for Relief {
    fn is_done(&self) -> bool {
        afford(SMALL).is_ok() || has_no_hope()
    }

    fn register(&self, waker: &Waker) {
        let mut state = self.0.lock();
        let (shortage, sleep) = &mut *state;
        shortage.choose();
        match shortage.pause() {
            None => waker.wake_by_ref(),
            Some(pause) => {
                let _ = Pin::new(sleep.insert(pause)).poll(&mut Context::from_waker(waker));
            }
        }
    }
}
