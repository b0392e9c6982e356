//! Calls that ended with `ENOSYS`: which and how often, for whoever wants to know what an application lacks.

use alloc::string::String;

use isopod_hal::sync::SpinLock;

use super::{put, table};

/// A program can make up numbers; only so many different ones are kept.
const KEPT: usize = 64;

/// Numbers and how often each was called, and how many there are of them.
static COUNTS: SpinLock<([(u64, u64); KEPT], usize)> = SpinLock::new(([(0, 0); KEPT], 0));

pub(super) fn count(number: u64) {
    let mut counts = COUNTS.lock();
    let (all, used) = &mut *counts;
    let place = all[..*used].iter().position(|known| known.0 == number).unwrap_or(*used);
    if let Some(entry) = all.get_mut(place) {
        *entry = (number, entry.1 + 1);
        *used = (*used).max(place + 1);
    }
}

/// What has been counted since boot, a line for each call; what `--trace` ends with.
pub fn unknown_calls() -> String {
    let counts = *COUNTS.lock();
    let mut text = String::new();
    for (number, times) in &counts.0[..counts.1] {
        match table::find(*number) {
            Some(call) => put!(&mut text, "isopod: {} is not supported as it was asked for", call.name()),
            None => put!(&mut text, "isopod: system call {number} is not supported"),
        }
        put!(&mut text, " (tried {times}×)\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_number_and_only_so_many() {
        for number in 0..100 {
            count(1000 + number);
            count(1000 + number);
        }
        let text = unknown_calls();
        assert!(text.starts_with("isopod: system call 1000 is not supported (tried 2×)\n"));
        assert_eq!(text.lines().count(), KEPT);
    }
}
