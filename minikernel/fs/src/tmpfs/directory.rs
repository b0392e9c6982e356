//! The names in a directory that differ from its lower one's.

use alloc::sync::Arc;
use isopod_hal::number_map::NumberMap;

use super::node::Node;
use crate::inode::FIRST_COOKIE;
use crate::name_map::NameMap;

/// The first cookie of names over a lower directory, whose own cookies are below.
const OVER_LOWER: u64 = 1 << 56;

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Entry {
    name: Arc<[u8]>,
    /// `None` hides the name of the lower directory (a whiteout).
    pub(super) node: Option<Arc<Node>>,
    /// Its place in the order.
    cookie: u64,
}

/// Names by name and by age. A cookie is never used again, so that a listing neither repeats nor skips what stays
/// while other names come and go.
#[derive(Debug)]
pub(super) struct Directory {
    entries: NameMap<Arc<Entry>>,
    /// Those that are no whiteouts.
    order: NumberMap<Arc<Entry>>,
    next_cookie: u64,
}

impl Directory {
    pub(super) fn new(over_lower: bool) -> Self {
        let next_cookie = if over_lower { OVER_LOWER } else { FIRST_COOKIE };
        Self { entries: NameMap::default(), order: NumberMap::new(), next_cookie }
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.get(name).map(|entry| &**entry)
    }

    /// How many names it has of its own.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Lets `name` stand for `node`. It keeps its place in the order if it stood for another one.
    pub(super) fn insert(&mut self, name: &[u8], node: Arc<Node>) {
        let (name, cookie) = match self.entries.get(name) {
            Some(old) if old.node.is_some() => (old.name.clone(), old.cookie),
            _ => (name.into(), self.next_cookie),
        };
        self.next_cookie = self.next_cookie.max(cookie + 1);
        let entry = Arc::new(Entry { name: Arc::clone(&name), node: Some(node), cookie });
        self.order.insert(cookie, Arc::clone(&entry));
        self.entries.insert(name, entry);
    }

    /// Removes `name`, and hides that of the lower directory if there is one.
    pub(super) fn remove(&mut self, name: &[u8], in_lower: bool) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.cookie);
        }
        if in_lower {
            let name: Arc<[u8]> = name.into();
            let whiteout = Entry { name: Arc::clone(&name), node: None, cookie: 0 };
            self.entries.insert(name, Arc::new(whiteout));
        }
    }

    /// The names from `cookie` on: cookie, name and node.
    pub(super) fn from(&self, cookie: u64) -> impl Iterator<Item = (u64, &[u8], &Arc<Node>)> {
        self.order
            .range(cookie..)
            .filter_map(|(cookie, entry)| entry.node.as_ref().map(|node| (*cookie, &entry.name[..], node)))
    }

    /// Takes all nodes out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<Node>> + use<> {
        self.entries.clear();
        core::mem::take(&mut self.order)
            .into_values()
            .filter_map(|entry| Arc::into_inner(entry).and_then(|entry| entry.node))
    }
}
