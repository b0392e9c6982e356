//! Values by name.

use alloc::boxed::Box;
use alloc::sync::Arc;
use isopod_hal::number_map::NumberMap;

/// Values by name, in no order: a tree by the hashes of the names. Numbers compare faster than names do, and a tree grows by small pieces,
/// which a table does not.
#[derive(Debug)]
pub(crate) struct NameMap<V> {
    chains: NumberMap<Box<Entry<V>>>,
}

/// A name, and the others of its hash.
#[derive(Debug)]
struct Entry<V> {
    name: Arc<[u8]>,
    value: V,
    next: Option<Box<Self>>,
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self { chains: NumberMap::new() }
    }
}

impl<V> NameMap<V> {
    /// The value of `name`.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        let mut entry = &**self.chains.get(&hash(name))?;
        while *entry.name != *name {
            entry = entry.next.as_deref()?;
        }
        Some(&entry.value)
    }

    /// Gives `name` a value; returns the one that it had.
    pub(crate) fn insert(&mut self, name: Arc<[u8]>, value: V) -> Option<V> {
        let key = hash(&name);
        let Some(first) = self.chains.get_mut(&key) else {
            self.chains.insert(key, Box::new(Entry { name, value, next: None }));
            return None;
        };
        let mut entry = &mut **first;
        loop {
            if *entry.name == *name {
                return Some(core::mem::replace(&mut entry.value, value));
            }
            if entry.next.is_none() {
                entry.next = Some(Box::new(Entry { name, value, next: None }));
                return None;
            }
            entry = entry.next.as_mut()?;
        }
    }

    /// Takes `name` out; returns its value.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<V> {
        self.remove_hashed(hash(name), name)
    }

    fn remove_hashed(&mut self, key: u64, name: &[u8]) -> Option<V> {
        let first = self.chains.get_mut(&key)?;
        if *first.name == *name {
            let first = *self.chains.remove(&key)?;
            if let Some(next) = first.next {
                self.chains.insert(key, next);
            }
            return Some(first.value);
        }
        let mut place = &mut first.next;
        while place.as_ref().is_some_and(|entry| *entry.name != *name) {
            place = &mut place.as_mut()?.next;
        }
        let found = *place.take()?;
        *place = found.next;
        Some(found.value)
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        // One by one: a chain of any length must not end in a recursion of that length.
        while let Some((key, mut first)) = self.chains.pop_first() {
            if let Some(next) = first.next.take() {
                self.chains.insert(key, next);
            }
        }
    }
}

impl<V> Drop for NameMap<V> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A hash of `name` that takes few instructions: multiplication spreads each word over the upper half of the product, which is
/// folded into the next (as `FxHash` and wyhash do).
fn hash(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word).wrapping_mul(u128::from(ODD));
        (product as u64) ^ (product >> 64) as u64
    };
    let (words, rest) = name.as_chunks::<8>();
    let state = words.iter().fold(name.len() as u64, |state, word| mix(state, u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte));
    mix(state, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut map = NameMap::default();
        let key = 7;
        for name in [&b"a"[..], b"b", b"c"] {
            let next = map.chains.remove(&key);
            map.chains.insert(key, Box::new(Entry { name: name.into(), value: name[0], next }));
        }
        assert_eq!(map.remove_hashed(key, b"b"), Some(b'b'));
        assert_eq!(map.remove_hashed(key, b"b"), None);
        assert_eq!(map.remove_hashed(key, b"c"), Some(b'c'));
        assert_eq!(map.remove_hashed(key, b"a"), Some(b'a'));
        assert!(map.chains.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn behaves_as_a_map(operations in proptest::collection::vec(("[a-c]{0,18}", 0u8..3, proptest::prelude::any::<u8>()), 0..200)) {
            let (mut map, mut model) = (NameMap::default(), HashMap::new());
            for (name, kind, value) in operations {
                let name = name.as_bytes();
                if kind == 0 {
                    proptest::prop_assert_eq!(map.remove(name), model.remove(name));
                } else {
                    proptest::prop_assert_eq!(map.insert(name.into(), value), model.insert(name.to_vec(), value));
                }
                for (name, value) in &model {
                    proptest::prop_assert_eq!(map.get(name), Some(value));
                }
                proptest::prop_assert_eq!(map.chains.len(), model.len());
            }
        }
    }
}
