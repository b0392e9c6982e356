//! Extended attributes: behind the inode, or shared by several.

use alloc::vec::Vec;

use super::inode::DiskInode;
use super::{CORRUPT, Image, u16_at, u32_at};
use crate::{Errno, Result};

/// Size of `struct erofs_xattr_ibody_header`, of an entry, and of a reference to a shared one.
const HEADER: u64 = 12;
const ENTRY: u64 = 4;
const SHARED: u64 = 4;

/// An attribute: where its name and its value are.
struct Xattr {
    prefix: &'static [u8],
    name: u64,
    name_length: usize,
    value_length: usize,
}

impl Xattr {
    fn read(image: &Image, offset: u64) -> Result<Self> {
        let bytes: [u8; ENTRY as usize] = image.read(offset)?;
        let prefix: &[u8] = match bytes[1] {
            0 => b"",
            1 => b"user.",
            2 => b"system.posix_acl_access",
            3 => b"system.posix_acl_default",
            4 => b"trusted.",
            6 => b"security.",
            _ => return Err(CORRUPT),
        };
        Ok(Self {
            prefix,
            name: offset + ENTRY,
            name_length: usize::from(bytes[0]),
            value_length: usize::from(u16_at(&bytes, 2)),
        })
    }

    /// Its size, with what follows up to the next one.
    fn size(&self) -> u64 {
        (ENTRY + self.name_length as u64 + self.value_length as u64).next_multiple_of(ENTRY)
    }

    fn name(&self, image: &Image) -> Result<Vec<u8>> {
        let mut name = self.prefix.to_vec();
        name.resize(self.prefix.len() + self.name_length, 0);
        image.read_into(self.name, &mut name[self.prefix.len()..])?;
        Ok(name)
    }

    fn value(&self, image: &Image) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        value.try_reserve_exact(self.value_length)?;
        value.resize(self.value_length, 0);
        image.read_into(self.name + self.name_length as u64, &mut value)?;
        Ok(value)
    }
}

impl DiskInode {
    /// Calls `visit` with each attribute until it gives a value.
    fn find_xattr<T>(
        &self,
        image: &Image,
        mut visit: impl FnMut(&Xattr) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if self.xattrs_size == 0 {
            return Ok(None);
        }
        let header: [u8; HEADER as usize] = image.read(self.xattrs)?;
        let end = self.xattrs + self.xattrs_size;
        let mut offset = self.xattrs + HEADER;
        for _ in 0..header[4] {
            if offset + SHARED > end {
                return Err(CORRUPT);
            }
            let index = u32_at(&image.read::<{ SHARED as usize }>(offset)?, 0);
            offset += SHARED;
            if let Some(found) = visit(&Xattr::read(image, image.superblock.shared_xattr(index))?)? {
                return Ok(Some(found));
            }
        }
        while offset < end {
            let xattr = Xattr::read(image, offset)?;
            offset += xattr.size();
            if offset > end {
                return Err(CORRUPT);
            }
            if let Some(found) = visit(&xattr)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The value of an attribute; ENODATA if there is none.
    pub(super) fn xattr(&self, image: &Image, name: &[u8]) -> Result<Vec<u8>> {
        let value = self.find_xattr(image, |xattr| {
            if xattr.name(image)? == name { xattr.value(image).map(Some) } else { Ok(None) }
        })?;
        value.ok_or_else(|| Errno::ENODATA.into())
    }

    /// All names that can be read, each ended by a NUL.
    pub(super) fn xattr_names(&self, image: &Image) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        self.find_xattr(image, |xattr| {
            let name = xattr.name(image)?;
            // POSIX access control lists are not kept: they would be shown, and not obeyed.
            if !name.starts_with(b"system.") && !name.contains(&0) {
                names.try_reserve(name.len() + 1)?;
                names.extend_from_slice(&name);
                names.push(0);
            }
            Ok(None::<()>)
        })?;
        Ok(names)
    }
}
