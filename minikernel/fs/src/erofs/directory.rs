//! Directories: blocks of sorted names, `struct erofs_dirent`.

use core::cmp::Ordering;

use super::inode::{DiskInode, Layout};
use super::{CORRUPT, Image, u16_at, u64_at};
use crate::metadata::FileType;
use crate::{Errno, Result};

/// Size of an entry; the names follow all entries of a block.
const ENTRY: u64 = 12;
/// Longest name.
const NAME_MAX: u64 = 255;

/// One block of a directory.
struct Block {
    /// Where it is in the image.
    offset: u64,
    /// How many of its bytes belong to the directory.
    size: u64,
    /// How many entries it has, at least one.
    count: u64,
}

/// An entry and its name.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) kind: FileType,
    name: [u8; NAME_MAX as usize],
    length: usize,
}

impl Entry {
    pub(super) fn name(&self) -> &[u8] {
        &self.name[..self.length]
    }
}

impl Block {
    fn read(inode: &DiskInode, image: &Image, index: u64) -> Result<Self> {
        // No writer makes directories of chunks, of which few bytes could stand for very many names.
        if matches!(inode.layout, Layout::Chunks { .. }) {
            return Err(CORRUPT);
        }
        let start = index << image.superblock.block_bits();
        let run = inode.run(image, start)?;
        let size = image.superblock.block_size().min(inode.size - start);
        let offset = run.offset.filter(|_| run.length >= size).ok_or(CORRUPT)?;
        let first = u64::from(u16_at(&image.read::<{ ENTRY as usize }>(offset)?, 8));
        if first < ENTRY || first >= size {
            return Err(CORRUPT);
        }
        Ok(Self { offset, size, count: first / ENTRY })
    }

    fn entry(&self, image: &Image, index: u64) -> Result<Entry> {
        let at = self.offset + index * ENTRY;
        let bytes: [u8; ENTRY as usize] = image.read(at)?;
        let start = u64::from(u16_at(&bytes, 8));
        let last = index + 1 == self.count;
        let end = if last { self.size } else { u64::from(u16_at(&image.read::<2>(at + ENTRY + 8)?, 0)) };
        if start < self.count * ENTRY || end > self.size || start >= end {
            return Err(CORRUPT);
        }
        let mut name = [0; NAME_MAX as usize];
        let mut length = (end - start).min(NAME_MAX) as usize;
        image.read_into(self.offset + start, &mut name[..length])?;
        match name[..length].iter().position(|byte| *byte == 0) {
            // The last name ends with the block, or before with a NUL.
            Some(nul) => length = nul,
            None if end - start > NAME_MAX => return Err(CORRUPT),
            None => {}
        }
        if length == 0 || name[..length].contains(&b'/') {
            return Err(CORRUPT);
        }
        let kind = match bytes[10] {
            1 => FileType::Regular,
            2 => FileType::Directory,
            3 => FileType::CharacterDevice,
            4 => FileType::BlockDevice,
            5 => FileType::Fifo,
            6 => FileType::Socket,
            7 => FileType::Symlink,
            _ => return Err(CORRUPT),
        };
        Ok(Entry { number: u64_at(&bytes, 0), kind, name, length })
    }
}

impl DiskInode {
    /// How many blocks a directory has.
    fn directory_blocks(&self, image: &Image) -> u64 {
        self.size.div_ceil(image.superblock.block_size())
    }

    /// The entry called `name`; ENOENT if there is none.
    pub(super) fn find(&self, image: &Image, name: &[u8]) -> Result<Entry> {
        // The last block whose first name is not greater, then the name within it.
        let (mut low, mut high) = (0, self.directory_blocks(image));
        while low < high {
            let middle = low + (high - low) / 2;
            let block = Block::read(self, image, middle)?;
            let first = block.entry(image, 0)?;
            match first.name().cmp(name) {
                Ordering::Equal => return Ok(first),
                Ordering::Greater => high = middle,
                Ordering::Less => low = middle + 1,
            }
        }
        let block = Block::read(self, image, low.checked_sub(1).ok_or(Errno::ENOENT)?)?;
        let (mut low, mut high) = (1, block.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = block.entry(image, middle)?;
            match entry.name().cmp(name) {
                Ordering::Equal => return Ok(entry),
                Ordering::Greater => high = middle,
                Ordering::Less => low = middle + 1,
            }
        }
        Err(Errno::ENOENT.into())
    }

    /// Calls `visit` with each entry from the one that `position` names, and with the position after it, until it
    /// returns false. A position is the offset of an entry within the directory.
    pub(super) fn entries(
        &self,
        image: &Image,
        position: u64,
        visit: &mut dyn FnMut(&Entry, u64) -> bool,
    ) -> Result<()> {
        let block_size = image.superblock.block_size();
        let mut index = (position % block_size).div_ceil(ENTRY);
        for number in position / block_size..self.directory_blocks(image) {
            let block = Block::read(self, image, number)?;
            while index < block.count {
                let entry = block.entry(image, index)?;
                index += 1;
                let next = if index == block.count {
                    (number + 1) * block_size
                } else {
                    number * block_size + index * ENTRY
                };
                if !visit(&entry, next) {
                    return Ok(());
                }
            }
            index = 0;
        }
        Ok(())
    }
}
