//! Calls that ended with `ENOSYS`: which and how often, for whoever wants to know what an application lacks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

/// Numbers and how often each was called.
pub type UnknownCalls = Vec<(u64, u64)>;

/// A program can make up numbers; only so many different ones are kept.
const KEPT: usize = 64;

static COUNTS: SpinLock<BTreeMap<u64, u64>> = SpinLock::new(BTreeMap::new());

pub(super) fn count(number: u64) {
    let mut counts = COUNTS.lock();
    if counts.len() < KEPT || counts.contains_key(&number) {
        *counts.entry(number).or_default() += 1;
    }
}

/// What has been counted since boot.
pub fn unknown_calls() -> UnknownCalls {
    COUNTS.lock().iter().map(|(&number, &times)| (number, times)).collect()
}
