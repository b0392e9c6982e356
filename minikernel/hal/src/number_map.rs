//! Pointers by number.

use alloc::collections::BTreeMap;
use core::{
    fmt,
    marker::PhantomData,
    mem::{self, ManuallyDrop, MaybeUninit},
    ops::{Range, RangeBounds},
};

/// A [`BTreeMap`] from numbers to pointers: boxes, `Arc`s, frames. The code that makes a tree grow and shrink is large, and each type of values would
/// bring its own; here all maps share one tree, whose values are the pointers' bytes.
pub struct NumberMap<V> {
    tree: Tree,
    values: PhantomData<V>,
}

type Tree = BTreeMap<u64, Bytes>;

/// The bytes of a value, which the map owns.
#[derive(Clone, Copy)]
struct Bytes(MaybeUninit<*const ()>);

impl Bytes {
    fn of<V>(value: V) -> Self {
        const { assert!(size_of::<V>() == size_of::<Self>() && align_of::<V>() == align_of::<Self>()) };
        // SAFETY: both have the same size, and these bytes may be anything.
        Self(unsafe { mem::transmute_copy(&ManuallyDrop::new(value)) })
    }

    /// # Safety
    /// They are those of a `V`, which nobody takes out again.
    unsafe fn take<V>(self) -> V {
        // SAFETY: `of` has checked the size; the rest is up to the caller.
        unsafe { mem::transmute_copy(&self.0) }
    }

    /// # Safety
    /// They are those of a `V`.
    unsafe fn get<V>(&self) -> &V {
        // SAFETY: `of` has checked size and alignment; the rest is up to the caller.
        unsafe { &*(&raw const self.0).cast() }
    }

    /// # Safety
    /// They are those of a `V`.
    unsafe fn get_mut<V>(&mut self) -> &mut V {
        // SAFETY: as above.
        unsafe { &mut *(&raw mut self.0).cast() }
    }
}

// SAFETY: the map is its values and their numbers.
unsafe impl<V: Send> Send for NumberMap<V> {}
// SAFETY: as above.
unsafe impl<V: Sync> Sync for NumberMap<V> {}

#[inline(never)]
fn insert(tree: &mut Tree, number: u64, value: Bytes) -> Option<Bytes> {
    tree.insert(number, value)
}

#[inline(never)]
fn remove(tree: &mut Tree, number: u64) -> Option<Bytes> {
    tree.remove(&number)
}

#[inline(never)]
fn pop_first(tree: &mut Tree) -> Option<(u64, Bytes)> {
    tree.pop_first()
}

impl<V> NumberMap<V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self::of(Tree::new())
    }

    /// `tree` holds bytes of `V` alone, and nobody else does.
    const fn of(tree: Tree) -> Self {
        Self { tree, values: PhantomData }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Whether `number` has a value.
    pub fn contains_key(&self, number: &u64) -> bool {
        self.tree.contains_key(number)
    }

    /// The value of `number`.
    pub fn get(&self, number: &u64) -> Option<&V> {
        // SAFETY: all bytes in the tree are those of values.
        self.tree.get(number).map(|bytes| unsafe { bytes.get() })
    }

    /// The value of `number`, to be changed.
    pub fn get_mut(&mut self, number: &u64) -> Option<&mut V> {
        // SAFETY: as above.
        self.tree.get_mut(number).map(|bytes| unsafe { bytes.get_mut() })
    }

    /// Gives `number` a value; returns the one that it had.
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        // SAFETY: as above, and these have left the tree.
        insert(&mut self.tree, number, Bytes::of(value)).map(|bytes| unsafe { bytes.take() })
    }

    /// Takes the value of `number` out.
    pub fn remove(&mut self, number: &u64) -> Option<V> {
        // SAFETY: as above.
        remove(&mut self.tree, *number).map(|bytes| unsafe { bytes.take() })
    }

    /// Takes out the value of the least number.
    pub fn pop_first(&mut self) -> Option<(u64, V)> {
        // SAFETY: as above.
        pop_first(&mut self.tree).map(|(number, bytes)| (number, unsafe { bytes.take() }))
    }

    /// The value of the least number.
    pub fn first(&self) -> Option<&V> {
        // SAFETY: all bytes in the tree are those of values.
        self.tree.first_key_value().map(|(_, bytes)| unsafe { bytes.get() })
    }

    /// Numbers in `range` and their values, in order.
    pub fn range(&self, range: impl RangeBounds<u64>) -> impl DoubleEndedIterator<Item = (&u64, &V)> {
        // SAFETY: as above.
        self.tree.range(range).map(|(number, bytes)| (number, unsafe { bytes.get() }))
    }

    /// As [`range`](Self::range), with values to be changed.
    pub fn range_mut(&mut self, range: Range<u64>) -> impl Iterator<Item = (&u64, &mut V)> {
        // SAFETY: as above.
        self.tree.range_mut(range).map(|(number, bytes)| (number, unsafe { bytes.get_mut() }))
    }

    /// All values, by rising number.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        // SAFETY: as above.
        self.tree.values().map(|bytes| unsafe { bytes.get() })
    }

    /// All values, taken out.
    pub fn into_values(mut self) -> impl Iterator<Item = V> {
        core::iter::from_fn(move || self.pop_first()).map(|(_, value)| value)
    }

    /// Drops the values of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.tree.retain(|_, bytes| {
            // SAFETY: as above.
            let kept = keep(unsafe { bytes.get_mut() });
            if !kept {
                // SAFETY: as above, and these leave the tree.
                drop(unsafe { bytes.take::<V>() });
            }
            kept
        });
    }

    /// Drops all values of `numbers`.
    pub fn remove_range(&mut self, numbers: Range<u64>) {
        if numbers.is_empty() {
            return;
        }
        while let Some((&number, _)) = self.tree.range(numbers.clone()).next() {
            drop(self.remove(&number));
        }
    }
}

impl<V> Default for NumberMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Drop for NumberMap<V> {
    fn drop(&mut self) {
        while self.pop_first().is_some() {}
    }
}

impl<V: fmt::Debug> fmt::Debug for NumberMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.range(..)).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, sync::Arc, vec::Vec};

    use super::*;

    #[test]
    fn each_value_is_dropped_once() {
        let value = Arc::new(());
        let holders = || Arc::strong_count(&value) - 1;
        let mut map = NumberMap::new();
        for number in 0..1000 {
            assert!(map.insert(number, Arc::clone(&value)).is_none());
        }
        drop(map.insert(5, Arc::clone(&value)));
        assert_eq!((map.len(), holders()), (1000, 1000));
        drop(map.remove(&7));
        assert!(map.remove(&7).is_none() && map.get(&7).is_none() && !map.contains_key(&7));
        drop(map.pop_first());
        assert_eq!(holders(), 998);
        map.remove_range(500..900);
        assert_eq!((map.len(), holders()), (598, 598));
        map.remove_range(900..900);
        assert_eq!(
            map.range(490..910).map(|(&number, _)| number).collect::<Vec<_>>(),
            [
                490, 491, 492, 493, 494, 495, 496, 497, 498, 499, 900, 901, 902, 903, 904, 905, 906, 907,
                908, 909
            ]
        );
        let mut index = 0;
        map.retain(|_| {
            index += 1;
            index % 2 == 0
        });
        assert_eq!(holders(), 299);
        assert_eq!(map.into_values().take(9).count(), 9);
        assert_eq!(holders(), 0);
    }

    #[test]
    fn values_are_found_in_order() {
        let mut map: NumberMap<Box<u64>> =
            [9, 3, 7, 1].into_iter().fold(NumberMap::new(), |mut map, number| {
                map.insert(number, Box::new(number * 10));
                map
            });
        **map.get_mut(&3).unwrap() += 1;
        map.range_mut(7..9).for_each(|(_, value)| **value += 2);
        assert_eq!(map.first().map(|value| **value), Some(10));
        assert_eq!(map.values().map(|value| **value).collect::<Vec<_>>(), [10, 31, 72, 90]);
        assert_eq!(map.range(2..).next_back().map(|(number, value)| (*number, **value)), Some((9, 90)));
        assert_eq!(alloc::format!("{map:?}"), "{1: 10, 3: 31, 7: 72, 9: 90}");
    }
}
