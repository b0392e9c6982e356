//! Directory blocks: an array of entries, then the names they point to.

use std::ops::Range;

use super::super::tree::{Directory, Kind, NodeId};
use super::BLOCK;

/// Bytes of an entry without its name (`struct erofs_dirent`).
const ENTRY: usize = 12;

/// The names of a directory as they are stored, `.` and `..` among them.
pub(super) fn names(id: NodeId, directory: &Directory) -> Vec<(&[u8], NodeId)> {
    let mut names: Vec<_> = directory.entries().collect();
    names.extend([(&b"."[..], id), (&b".."[..], directory.parent())]);
    names.sort_unstable();
    names
}

/// How the names are divided between blocks, and how many bytes each block takes.
fn blocks(names: &[(&[u8], NodeId)]) -> Vec<(Range<usize>, usize)> {
    let mut blocks = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (index, (name, _)) in names.iter().enumerate() {
        let size = ENTRY + name.len();
        if used + size > BLOCK as usize {
            blocks.push((start..index, used));
            (start, used) = (index, 0);
        }
        used += size;
    }
    blocks.push((start..names.len(), used));
    blocks
}

/// Size of the directory in bytes: full blocks and what the last one takes.
pub(super) fn size(names: &[(&[u8], NodeId)]) -> u64 {
    let blocks = blocks(names);
    (blocks.len() as u64 - 1) * BLOCK + blocks.last().map_or(0, |(_, used)| *used as u64)
}

/// The bytes of the directory. `describe` gives the node id and the kind of what a name stands for.
pub(super) fn encode(names: &[(&[u8], NodeId)], describe: impl Fn(NodeId) -> (u64, u8)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size(names) as usize);
    for (range, _) in blocks(names) {
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        let names = &names[range];
        let mut name_offset = names.len() * ENTRY;
        for &(name, id) in names {
            let (nid, kind) = describe(id);
            bytes.extend(nid.to_le_bytes());
            bytes.extend((name_offset as u16).to_le_bytes());
            bytes.extend([kind, 0]);
            name_offset += name.len();
        }
        for (name, _) in names {
            bytes.extend(*name);
        }
    }
    bytes
}

/// A block of a directory whose numbers lead out of it.
#[derive(Debug)]
pub(super) struct Damaged;

/// The node id behind `name` in a block of a directory, if it is there.
pub(super) fn find(block: &[u8], name: &[u8]) -> Result<Option<u64>, Damaged> {
    let field = |at: usize| block.get(at..).ok_or(Damaged);
    let offset = |entry: usize| {
        let bytes = field(entry * ENTRY + 8)?.first_chunk().ok_or(Damaged)?;
        Ok(usize::from(u16::from_le_bytes(*bytes)))
    };
    // The first name lies behind the last entry.
    let count = offset(0)? / ENTRY;
    for entry in 0..count {
        let end = if entry + 1 < count { offset(entry + 1)? } else { block.len() };
        let found = block.get(offset(entry)?..end).ok_or(Damaged)?;
        // The last name of a block ends with it or with a NUL.
        if found.split(|byte| *byte == 0).next() == Some(name) {
            let id = field(entry * ENTRY)?.first_chunk().ok_or(Damaged)?;
            return Ok(Some(u64::from_le_bytes(*id)));
        }
    }
    Ok(None)
}

/// The kind of a node as entries have it (`EROFS_FT_*`).
pub(super) fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::CharDevice(_) => 3,
        Kind::BlockDevice(_) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}
