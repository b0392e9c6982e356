//! Extended attributes behind an inode: a header, then entries padded to four bytes.

use super::super::tree::Xattrs;

/// Bytes of the header (`struct erofs_xattr_ibody_header`), of which nothing is used: no filter, no shared attributes.
const HEADER: usize = 12;
/// Entries begin at multiples of this, which sizes are counted in.
const UNIT: usize = 4;
/// Bytes of an entry without name and value (`struct erofs_xattr_entry`).
const ENTRY: usize = 4;
/// Namespaces and their numbers (`EROFS_XATTR_INDEX_*`).
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The namespace's number and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?)))
}

/// Whether the format has a place for the attribute.
pub(in crate::root) fn can_store(name: &[u8], value: &[u8]) -> bool {
    split(name).is_some_and(|(_, rest)| u8::try_from(rest.len()).is_ok())
        && u16::try_from(value.len()).is_ok()
}

/// Size in bytes of all attributes, at most [`count`]'s limit; `None` where that is exceeded or one of them cannot be stored.
pub(super) fn size(xattrs: &Xattrs) -> Option<usize> {
    if xattrs.is_empty() {
        return Some(0);
    }
    let entries = xattrs.iter().map(|(name, value)| {
        let (_, rest) = split(name).filter(|_| can_store(name, value))?;
        Some((ENTRY + rest.len() + value.len()).next_multiple_of(UNIT))
    });
    let size = HEADER + entries.sum::<Option<usize>>()?;
    u16::try_from((size - HEADER) / UNIT + 1).is_ok().then_some(size)
}

/// What an inode says about attributes of `size` bytes: 0 for none, else one more than their units (`i_xattr_icount`).
pub(super) fn count(size: usize) -> u16 {
    if size == 0 { 0 } else { ((size - HEADER) / UNIT + 1) as u16 }
}

/// How many bytes attributes of that count take.
pub(super) fn bytes(count: u16) -> u64 {
    if count == 0 { 0 } else { HEADER as u64 + u64::from(count - 1) * UNIT as u64 }
}

/// Appends the attributes, in the order of their names.
pub(super) fn encode(xattrs: &Xattrs, bytes: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    let start = bytes.len();
    bytes.extend([0; HEADER]);
    for (name, value) in xattrs {
        let Some((index, rest)) = split(name) else { continue };
        bytes.extend([rest.len() as u8, index]);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(rest);
        bytes.extend(&**value);
        bytes.resize(start + (bytes.len() - start).next_multiple_of(UNIT), 0);
    }
}
