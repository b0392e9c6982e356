use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::hosted::test_range;

/// An allocator over 64 MiB of its own, filled with rubbish: no record may be believed before it was written.
fn buddy(slot: u64, len: u64) -> Buddy {
    let range = test_range(slot, len);
    // SAFETY: the slot is this test's alone.
    unsafe { machine::direct(range.start).write_bytes(0x80, len as usize) };
    let mut spans = Spans::new();
    spans.add(range);
    Buddy::new(&spans)
}

/// Frames of all lists, by walking them.
fn listed(buddy: &mut Buddy) -> usize {
    let mut sum = 0;
    for order in 0..=MAX_ORDER {
        let mut frame = buddy.free[order];
        while frame != NONE {
            assert_eq!(buddy.record(frame).state, FREE | order as u32);
            assert!(frame.is_multiple_of(1 << order));
            sum += 1 << order;
            frame = buddy.record(frame).next;
        }
    }
    sum
}

fn check(buddy: &mut Buddy) {
    let unclaimed: usize =
        buddy.spans.iter().zip(buddy.frontier).map(|(span, frontier)| (span.end - frontier) as usize).sum();
    let spare = buddy.spare.iter().filter(|&&frame| frame != NONE).count();
    assert_eq!(listed(buddy) + unclaimed + spare + buddy.cached, buddy.free_frames());
}

#[test]
fn the_frontier_moves_as_needed() {
    let mut buddy = buddy(0, 64 << 20);
    let first = buddy.spans.get(0).unwrap().first;
    assert_eq!(buddy.frontier[0], first);
    buddy.allocate(1, Purpose::Ordinary).unwrap();
    assert!(buddy.frontier[0] <= first + (1 << CLAIM_ORDER));
    check(&mut buddy);
}

#[test]
fn everything_comes_back_together() {
    let mut buddy = buddy(1, 64 << 20);
    let mut taken = Vec::new();
    while let Some(frame) = buddy.allocate(1, Purpose::Kernel) {
        taken.push(frame);
    }
    // All but the frames for tables that nobody needed.
    assert_eq!(taken.len(), buddy.total() - SPARE_TABLES);
    for &frame in taken.iter().step_by(2).chain(taken.iter().skip(1).step_by(2)) {
        // SAFETY: taken above, and used by nobody.
        unsafe { buddy.free(frame, 1) };
    }
    buddy.drain_cache(0);
    check(&mut buddy);
    assert_eq!(buddy.free_frames(), buddy.total());
    // The blocks have merged: 32 MiB in one piece are there again.
    assert!(buddy.allocate(8192, Purpose::Kernel).is_some());
}

#[test]
fn the_reserve_is_for_the_kernel() {
    let mut buddy = buddy(2, 16 << 20);
    while buddy.allocate(1, Purpose::Ordinary).is_some() {}
    assert_eq!(buddy.free_frames(), buddy.reserve());
    assert!(buddy.reserve() >= 100);
    assert!(buddy.allocate(1, Purpose::Kernel).is_some());
    assert!(buddy.allocate(0, Purpose::Kernel).is_none());
    assert!(buddy.allocate(usize::MAX, Purpose::Kernel).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_frame_is_given_twice(steps in prop::collection::vec((any::<bool>(), 1usize..700, any::<usize>()), 1..200)) {
        let mut buddy = buddy(3, 16 << 20);
        let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
        for (give, count, pick) in steps {
            // Small sizes more often.
            let count = if pick.is_multiple_of(3) { count } else { count % 9 + 1 };
            if give && !taken.is_empty() {
                let (&first, &count) = taken.iter().nth(pick % taken.len()).unwrap();
                taken.remove(&first);
                // SAFETY: taken below, and used by nobody.
                unsafe { buddy.free(first, count) };
            } else if let Some(first) = buddy.allocate(count, Purpose::Ordinary) {
                let end = first + count as u32;
                let span = buddy.spans.get(0).unwrap();
                prop_assert!(span.first <= first && end <= span.end);
                let before = taken.range(..end).next_back();
                prop_assert!(before.is_none_or(|(&other, &count)| other + count as u32 <= first));
                taken.insert(first, count);
            }
        }
        check(&mut buddy);
        prop_assert_eq!(buddy.free_frames(), buddy.total() - taken.values().sum::<usize>());
    }
}
