//! Extended attributes in memory.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::metadata::XattrFlags;
use crate::{Errno, Result};

/// Most bytes of names and values of one inode. Linux has no such limit, but counts against that of the inodes.
const TOTAL_MAX: usize = 128 << 10;

/// Names and values, sorted.
#[derive(Debug, Default)]
pub(super) struct Xattrs(Vec<Xattr>);

/// A name and its value.
#[derive(Debug)]
struct Xattr {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl Xattrs {
    /// Where `name` is, or where it would be.
    fn find(&self, name: &[u8]) -> core::result::Result<usize, usize> {
        self.0.binary_search_by(|xattr| (*xattr.name).cmp(name))
    }

    pub(super) fn get(&self, name: &[u8]) -> Result<Vec<u8>> {
        let at = self.find(name).map_err(|_| Errno::ENODATA)?;
        copy(&self.0[at].value)
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        let old = self.find(name);
        if flags.contains(XattrFlags::CREATE) && old.is_ok() {
            return Err(Errno::EEXIST.into());
        }
        if flags.contains(XattrFlags::REPLACE) && old.is_err() {
            return Err(Errno::ENODATA.into());
        }
        let others: usize = self
            .0
            .iter()
            .filter(|xattr| *xattr.name != *name)
            .map(|xattr| xattr.name.len() + xattr.value.len())
            .sum();
        if others + name.len() + value.len() > TOTAL_MAX {
            return Err(Errno::ENOSPC.into());
        }
        let value = copy(value)?.into_boxed_slice();
        match old {
            Ok(at) => self.0[at].value = value,
            Err(at) => {
                self.0.try_reserve(1)?;
                self.0.insert(at, Xattr { name: name.into(), value });
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        let at = self.find(name).map_err(|_| Errno::ENODATA)?;
        self.0.remove(at);
        Ok(())
    }

    /// All names, each ended by a NUL.
    pub(super) fn names(&self) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        names.try_reserve_exact(self.0.iter().map(|xattr| xattr.name.len() + 1).sum())?;
        for xattr in &self.0 {
            names.extend_from_slice(&xattr.name);
            names.push(0);
        }
        Ok(names)
    }
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
