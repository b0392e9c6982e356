use std::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;

/// Sizes of all kinds, most of them of more than a page's small blocks, and alignments.
fn layouts() -> impl Strategy<Value = Layout> {
    let size = prop_oneof![1usize..=1024, 1024usize..=5000, 4096usize..=20_000];
    let align = prop_oneof![4 => 0u32..=4, 2 => 5u32..=6, 1 => 7u32..=14];
    (size, align).prop_map(|(size, align)| Layout::from_size_align(size, 1 << align).unwrap())
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(Layout),
    Resize(prop::sample::Index, usize),
    Free(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => layouts().prop_map(Step::Allocate),
        1 => (any::<prop::sample::Index>(), 1usize..=20_000).prop_map(|(which, size)| Step::Resize(which, size)),
        3 => any::<prop::sample::Index>().prop_map(Step::Free),
    ];
    prop::collection::vec(step, 1..300)
}

/// The model: what is out, by address, each filled with a byte of its own.
#[derive(Default)]
struct Out(BTreeMap<usize, (*mut u8, Layout, u8)>);

impl Out {
    fn pick(&mut self, which: prop::sample::Index) -> Option<(*mut u8, Layout, u8)> {
        if self.0.is_empty() {
            return None;
        }
        let key = *self.0.keys().nth(which.index(self.0.len())).unwrap();
        self.0.remove(&key)
    }

    /// Notes a new object, unless it overlaps others or lies wrongly, and fills it.
    fn put(&mut self, block: *mut u8, layout: Layout, mark: u8) {
        assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
        let before = self.0.range(..block.addr() + layout.size()).next_back();
        assert!(before.is_none_or(|(&at, (_, other, _))| at + other.size() <= block.addr()));
        // SAFETY: the block is that long.
        unsafe { block.write_bytes(mark, layout.size()) };
        self.0.insert(block.addr(), (block, layout, mark));
    }
}

/// # Safety
/// The block is at least `len` long.
unsafe fn holds(block: *mut u8, len: usize, mark: u8) -> bool {
    // SAFETY: the caller's promise; all of it has been filled.
    let bytes = unsafe { core::slice::from_raw_parts(block, len) };
    bytes == std::vec![mark; len]
}

proptest! {
    #[test]
    fn objects_keep_what_they_hold_and_all_frames_come_back(steps in steps()) {
        let allocator = Allocator::new();
        let mut out = Out::default();
        for (number, step) in steps.into_iter().enumerate() {
            let fresh = number as u8;
            match step {
                // SAFETY: the layout is not empty.
                Step::Allocate(layout) => out.put(unsafe { allocator.alloc(layout) }, layout, fresh),
                Step::Resize(which, size) => {
                    let Some((block, layout, mark)) = out.pick(which) else { continue };
                    // SAFETY: allocated with this layout, and used no more at the old place.
                    let moved = unsafe { allocator.realloc(block, layout, size) };
                    // SAFETY: what both have in common has been kept.
                    let kept = unsafe { holds(moved, size.min(layout.size()), mark) };
                    prop_assert!(kept);
                    out.put(moved, Layout::from_size_align(size, layout.align()).unwrap(), fresh);
                }
                Step::Free(which) => {
                    let Some((block, layout, mark)) = out.pick(which) else { continue };
                    // SAFETY: allocated with this layout, filled, and used no more after it.
                    unsafe {
                        prop_assert!(holds(block, layout.size(), mark));
                        allocator.dealloc(block, layout);
                    }
                }
            }
            let bytes: usize = out.0.values().map(|(_, layout, _)| layout.size()).sum();
            prop_assert_eq!(allocator.0.lock().used, bytes);
        }
        // Of each size the slabs keep a page; there is nothing else that could keep any.
        for (block, layout, _) in out.0.into_values() {
            // SAFETY: allocated with this layout.
            unsafe { allocator.dealloc(block, layout) };
        }
        prop_assert!(allocator.0.lock().slabs.are_empty());
    }
}

/// Frames that are out of the machine's, which other tests of this process use too.
fn frames_in_use() -> usize {
    let buddy = memory().buddy.lock();
    buddy.total() - buddy.free_frames()
}

#[test]
fn objects_of_pages_return_as_frames() {
    /// More than all other tests use at the same time.
    const MANY: usize = 5000;
    let allocator = Allocator::new();
    for size in [1100, 1984, 1985, 3000, 4096, 6000, 16 << 10] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let before = frames_in_use();
        // SAFETY: the layout is not empty.
        let mut blocks: Vec<_> = (0..MANY).map(|_| unsafe { allocator.alloc(layout) }).collect();
        assert!(blocks.iter().all(|block| !block.is_null()));
        let out = frames_in_use() - before;
        // In an order that empties no page before the end.
        blocks.sort_by_key(|block| block.addr() / 16 % 4093);
        for block in blocks {
            // SAFETY: allocated above.
            unsafe { allocator.dealloc(block, layout) };
        }
        let left = frames_in_use().saturating_sub(before);
        assert!(out >= MANY / 3 && left < out / 2, "{size}: {left} of {out}");
    }
}

#[test]
fn alignment_of_a_cache_line_costs_no_page() {
    for (size, align, block) in [(640, 64, 768), (896, 64, 960), (100, 32, 128), (65, 64, 128), (1, 64, 64)] {
        let layout = Layout::from_size_align(size, align).unwrap();
        assert!(small(layout).is_some_and(|size| slab::same_block(size, block)), "{size}");
    }
    assert_eq!(small(Layout::from_size_align(100, 128).unwrap()), None);
}
