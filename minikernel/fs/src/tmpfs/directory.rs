//! The names in a directory that differ from its lower one's.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::node::Node;
use crate::inode::FIRST_COOKIE;

/// The first cookie of names over a lower directory, whose own cookies are below.
const OVER_LOWER: u64 = 1 << 56;

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Entry {
    /// This node; the cookie is its place in the order.
    Present { node: Arc<Node>, cookie: u64 },
    /// Nothing, although the lower directory has the name.
    Whiteout,
}

/// Names by name and by age. A cookie is never used again, so that a listing neither repeats nor skips what stays
/// while other names come and go.
#[derive(Debug)]
pub(super) struct Directory {
    entries: BTreeMap<Arc<[u8]>, Entry>,
    order: BTreeMap<u64, Arc<[u8]>>,
    next_cookie: u64,
}

impl Directory {
    pub(super) fn new(over_lower: bool) -> Self {
        let next_cookie = if over_lower { OVER_LOWER } else { FIRST_COOKIE };
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), next_cookie }
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// How many names it has of its own.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Lets `name` stand for `node`. It keeps its place in the order if it stood for another one.
    pub(super) fn insert(&mut self, name: &[u8], node: Arc<Node>) {
        if let Some(Entry::Present { node: old, .. }) = self.entries.get_mut(name) {
            *old = node;
            return;
        }
        let name: Arc<[u8]> = name.into();
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.order.insert(cookie, name.clone());
        self.entries.insert(name, Entry::Present { node, cookie });
    }

    /// Removes `name`, and hides that of the lower directory if there is one.
    pub(super) fn remove(&mut self, name: &[u8], in_lower: bool) {
        if let Some(Entry::Present { cookie, .. }) = self.entries.remove(name) {
            self.order.remove(&cookie);
        }
        if in_lower {
            self.entries.insert(name.into(), Entry::Whiteout);
        }
    }

    /// The names from `cookie` on: cookie, name and node.
    pub(super) fn from(&self, cookie: u64) -> impl Iterator<Item = (u64, &[u8], &Arc<Node>)> {
        self.order.range(cookie..).filter_map(|(cookie, name)| match self.entries.get(name) {
            Some(Entry::Present { node, .. }) => Some((*cookie, &name[..], node)),
            _ => None,
        })
    }

    /// Takes all nodes out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<Node>> + use<> {
        self.order.clear();
        core::mem::take(&mut self.entries).into_values().filter_map(|entry| match entry {
            Entry::Present { node, .. } => Some(node),
            Entry::Whiteout => None,
        })
    }
}
