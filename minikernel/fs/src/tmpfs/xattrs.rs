//! Extended attributes in memory.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::metadata::XattrFlags;
use crate::{Errno, Result};

/// Most bytes of names and values of one inode. Linux has no such limit, but counts against that of the inodes.
const TOTAL_MAX: usize = 128 << 10;

/// Names and values, sorted.
#[derive(Debug, Default)]
pub(super) struct Xattrs(BTreeMap<Box<[u8]>, Box<[u8]>>);

impl Xattrs {
    pub(super) fn get(&self, name: &[u8]) -> Result<Vec<u8>> {
        copy(self.0.get(name).ok_or(Errno::ENODATA)?)
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        let old = self.0.get(name);
        if flags.contains(XattrFlags::CREATE) && old.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if flags.contains(XattrFlags::REPLACE) && old.is_none() {
            return Err(Errno::ENODATA.into());
        }
        let others: usize = self
            .0
            .iter()
            .filter(|(key, _)| ***key != *name)
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if others + name.len() + value.len() > TOTAL_MAX {
            return Err(Errno::ENOSPC.into());
        }
        let value = copy(value)?.into_boxed_slice();
        self.0.insert(name.into(), value);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        self.0.remove(name).map(drop).ok_or_else(|| Errno::ENODATA.into())
    }

    /// All names, each ended by a NUL.
    pub(super) fn names(&self) -> Vec<u8> {
        self.0.keys().flat_map(|name| name.iter().copied().chain([0])).collect()
    }
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
