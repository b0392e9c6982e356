//! A directory of fixed names.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Attributes, Directory, Entry, File, Link, Listed};
use crate::{Errno, Result};

/// Names and what they stand for, in the order in which they are listed.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<(&'static str, Entry)>);

impl Table {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &'static str, directory: impl Directory + 'static) -> Self {
        self.entry(name, Entry::Directory(Arc::new(directory)))
    }

    /// Adds a file; a closure that makes its text is one.
    #[must_use]
    pub fn file(self, name: &'static str, file: impl File + 'static) -> Self {
        self.entry(name, Entry::File(Arc::new(file)))
    }

    /// Adds a symbolic link; a closure that makes its text is one.
    #[must_use]
    pub fn link(self, name: &'static str, link: impl Link + 'static) -> Self {
        self.entry(name, Entry::Link(Arc::new(link)))
    }

    /// Adds an entry of any type.
    #[must_use]
    pub fn entry(mut self, name: &'static str, entry: Entry) -> Self {
        self.0.push((name, entry));
        self
    }

    /// How many names there are; keys from here on are free for others.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Directory for Table {
    fn lookup(&self, name: &[u8]) -> Result<Entry> {
        let found = self.0.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, entry)| entry.clone()).ok_or_else(|| Errno::ENOENT.into())
    }

    fn list(&self, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Result<()> {
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        for (key, (name, entry)) in self.0.iter().enumerate().skip(start) {
            if !visit(&Listed { key: key as u64, name: name.as_bytes(), kind: entry.file_type() }) {
                break;
            }
        }
        Ok(())
    }

    fn attributes(&self) -> Attributes {
        Attributes::root(0o555)
    }
}
