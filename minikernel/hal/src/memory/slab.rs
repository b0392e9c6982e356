//! Small objects: each page holds blocks of one size.
//!
//! A page begins with a header and gives out its blocks first in order, then those that came back. A page whose blocks
//! have all come back is given back too, so that memory which once held many small objects is there for others.

use core::ptr::{self, NonNull};

use super::{Purpose, buddy::block_range, memory};
use crate::{PAGE_SIZE, machine};

/// Sizes of blocks: at most a third of a block is left over, and little of a page. Of a larger object there would be
/// one in a page.
const SIZES: [u16; 20] =
    [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 576, 768, 960, 1344, 1984];
/// Largest object that has a block.
pub(crate) const LARGEST: usize = 1984;
/// Alignment of blocks.
pub(crate) const ALIGNMENT: usize = 16;
/// Blocks for objects whose size is a multiple of a power of two up to this are aligned to that power.
pub(crate) const LARGEST_ALIGNMENT: usize = 64;
/// Where the first block lies.
const FIRST: usize = 64;

/// The place in [`SIZES`] for each size in 16 bytes, rounded up.
const CLASSES: [u8; LARGEST / 16 + 1] = {
    let mut classes = [0; LARGEST / 16 + 1];
    let mut size = 0;
    let mut class = 0;
    while size < classes.len() {
        if size * 16 > SIZES[class] as usize {
            class += 1;
        }
        classes[size] = class as u8;
        size += 1;
    }
    classes
};

/// Start of a page of blocks.
struct Page {
    /// Other pages of the same size with free blocks.
    next: *mut Page,
    previous: *mut Page,
    /// Blocks that came back, each of which begins with the place of the next.
    returned: *mut Block,
    /// Offset of the first block that was never given out.
    fresh: u16,
    /// Blocks that are out.
    used: u16,
    class: u8,
}

const _: () = {
    let mut align = ALIGNMENT;
    while align <= LARGEST_ALIGNMENT {
        let mut size = align;
        while size <= LARGEST {
            assert!((SIZES[CLASSES[size / 16] as usize] as usize).is_multiple_of(align));
            size += align;
        }
        assert!(FIRST.is_multiple_of(align));
        align *= 2;
    }
};

struct Block {
    next: *mut Block,
}

const _: () = assert!(size_of::<Page>() <= FIRST);

/// The pages with free blocks, by size.
#[derive(Debug)]
pub(crate) struct Slabs {
    pages: [*mut Page; SIZES.len()],
}

// SAFETY: the pages belong to the slabs alone.
unsafe impl Send for Slabs {}

impl Slabs {
    pub(crate) const fn new() -> Self {
        Self { pages: [ptr::null_mut(); SIZES.len()] }
    }

    /// A block for `size` bytes, at most [`LARGEST`], aligned to [`ALIGNMENT`].
    #[inline]
    pub(crate) fn allocate(&mut self, size: usize) -> Option<NonNull<u8>> {
        let class = usize::from(CLASSES[size.div_ceil(16)]);
        let mut page = self.pages[class];
        if page.is_null() {
            page = self.add_page(class)?;
        }
        // SAFETY: a page in the list has a valid header and a free block: a returned one, which is nobody's, or a fresh
        // one, which lies in the page.
        unsafe {
            (*page).used += 1;
            let block = (*page).returned;
            if block.is_null() {
                let fresh = (*page).fresh;
                (*page).fresh = fresh + SIZES[class];
                if is_full(page, class) {
                    self.remove(page);
                }
                return NonNull::new(page.cast::<u8>().add(usize::from(fresh)));
            }
            (*page).returned = (*block).next;
            if is_full(page, class) {
                self.remove(page);
            }
            NonNull::new(block.cast())
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block came from [`Slabs::allocate`], and is used no more.
    #[inline]
    pub(crate) unsafe fn free(&mut self, block: *mut u8) {
        let page = block.map_addr(|at| at & !(PAGE_SIZE - 1)).cast::<Page>();
        // SAFETY: the block lies in a page of ours, which begins with its header.
        unsafe {
            let class = usize::from((*page).class);
            let was_full = is_full(page, class);
            let block = block.cast::<Block>();
            (*block).next = (*page).returned;
            (*page).returned = block;
            (*page).used -= 1;
            if was_full {
                self.insert(page);
            } else if (*page).used == 0 && !((*page).next.is_null() && (*page).previous.is_null()) {
                // Another page has free blocks of this size; the last such page stays.
                self.remove(page);
                let frame = (machine::direct_to_phys(page.cast()).as_u64() / PAGE_SIZE as u64) as u32;
                memory().free(frame, 1);
            }
        }
    }

    /// Whether no block is out: there is no page but for an empty one of each size.
    #[cfg(test)]
    pub(crate) fn are_empty(&self) -> bool {
        // SAFETY: pages in lists are valid.
        self.pages
            .iter()
            .all(|&page| page.is_null() || unsafe { (*page).next.is_null() && (*page).used == 0 })
    }

    #[cold]
    fn add_page(&mut self, class: usize) -> Option<*mut Page> {
        let frame = memory().allocate(1, Purpose::Kernel).ok()?;
        let page = machine::direct(block_range(frame, 1).start).cast::<Page>();
        // SAFETY: the page was just allocated and is mapped.
        unsafe {
            page.write(Page {
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                returned: ptr::null_mut(),
                fresh: FIRST as u16,
                used: 0,
                class: class as u8,
            });
            self.insert(page);
        }
        Some(page)
    }

    /// Puts a page first in its list.
    ///
    /// # Safety
    /// The page is ours, and in no list.
    unsafe fn insert(&mut self, page: *mut Page) {
        // SAFETY: pages in lists are valid.
        unsafe {
            let first = &mut self.pages[usize::from((*page).class)];
            (*page).next = *first;
            (*page).previous = ptr::null_mut();
            if !first.is_null() {
                (**first).previous = page;
            }
            *first = page;
        }
    }

    /// Takes a page out of its list.
    ///
    /// # Safety
    /// It is in it.
    unsafe fn remove(&mut self, page: *mut Page) {
        // SAFETY: pages in lists are valid, and so are their neighbours.
        unsafe {
            let (next, previous) = ((*page).next, (*page).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.pages[usize::from((*page).class)] = next;
            } else {
                (*previous).next = next;
            }
        }
    }
}

/// Whether objects of both sizes have the same block.
pub(crate) fn same_block(size: usize, other: usize) -> bool {
    CLASSES[size.div_ceil(16)] == CLASSES[other.div_ceil(16)]
}

/// Whether a page has no free block.
///
/// # Safety
/// The page has a valid header.
#[expect(clippy::inline_always, reason = "it is asked for each block that comes or goes")]
#[inline(always)]
unsafe fn is_full(page: *const Page, class: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        (*page).returned.is_null() && usize::from((*page).fresh) + usize::from(SIZES[class]) > PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_size_has_the_smallest_block_that_fits() {
        for size in 1..=LARGEST {
            let block = usize::from(SIZES[usize::from(CLASSES[size.div_ceil(16)])]);
            let smallest = SIZES.iter().copied().map(usize::from).find(|&block| block >= size);
            assert_eq!(Some(block), smallest, "{size}");
            assert!(same_block(size, block));
        }
        assert!(!same_block(16, 17));
    }

    #[test]
    fn pages_come_back() {
        let mut slabs = Slabs::new();
        let mut blocks: Vec<_> = (0..10_000).map(|_| slabs.allocate(100).unwrap().as_ptr()).collect();
        assert_eq!(blocks.iter().collect::<std::collections::BTreeSet<_>>().len(), 10_000);
        // In an order that empties no page before the end.
        blocks.sort_by_key(|block| block.addr() % 4093);
        for block in blocks {
            // SAFETY: allocated above.
            unsafe { slabs.free(block) };
        }
        assert!(slabs.are_empty());
    }

    proptest! {
        #[test]
        fn no_byte_is_given_twice(steps in prop::collection::vec((any::<bool>(), 1usize..=LARGEST, any::<usize>()), 1..500)) {
            let mut slabs = Slabs::new();
            let mut taken: BTreeMap<usize, (*mut u8, usize)> = BTreeMap::new();
            for (give, size, pick) in steps {
                if give && !taken.is_empty() {
                    let key = *taken.keys().nth(pick % taken.len()).unwrap();
                    let (block, size) = taken.remove(&key).unwrap();
                    // SAFETY: allocated below with this size, and filled then.
                    unsafe {
                        prop_assert!((0..size).all(|index| block.add(index).read() == size as u8));
                        slabs.free(block);
                    }
                } else {
                    let block = slabs.allocate(size).unwrap().as_ptr();
                    prop_assert!(block.addr().is_multiple_of(ALIGNMENT));
                    let before = taken.range(..block.addr() + size).next_back();
                    prop_assert!(before.is_none_or(|(&at, &(_, len))| at + len <= block.addr()));
                    // SAFETY: the block is `size` bytes long.
                    unsafe { block.write_bytes(size as u8, size) };
                    taken.insert(block.addr(), (block, size));
                }
            }
            for (block, _) in taken.into_values() {
                // SAFETY: allocated above.
                unsafe { slabs.free(block) };
            }
        }
    }
}
