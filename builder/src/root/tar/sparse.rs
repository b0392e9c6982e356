//! Sparse files in the four forms that GNU tar has written them,
//! [GNU tar manual](https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html).

use ::tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::header;
use super::pax::{Pax, decimal};
use super::{BLOCK, EXTENSION_MAX, TarProblem};
use crate::root::content::Extent;

/// The most bytes that the map of one file may have, as in Go's `archive/tar`. Maps compress a thousandfold, and become memory.
const MAP_MAX: u64 = EXTENSION_MAX;

/// How the map of a sparse file is written. `len` is the file's size where the extended header tells it.
#[derive(Debug)]
pub(super) enum Format {
    /// In the header and in blocks behind it.
    Old,
    /// Versions 0.0 and 0.1: in records of the extended header.
    Pax0 { len: Option<u64> },
    /// Version 1.0: at the beginning of the contents.
    Pax1 { len: Option<u64> },
}

/// Where the data of a sparse file belongs. Its pieces follow each other in the archive.
#[derive(Debug)]
pub(super) struct Map {
    /// Size of the file in bytes, holes included.
    pub(super) len: u64,
    /// The pieces so far, but for empty ones, and joined where nothing is between them.
    extents: Vec<Extent>,
    /// Where the last piece ends in the file.
    end: u64,
    /// How many bytes of data there are.
    data: u64,
}

type Block = [u8; BLOCK as usize];

/// Whether the file is sparse, and how that is written.
pub(super) fn format(header: &Header, pax: &Pax) -> Result<Option<Format>, TarProblem> {
    if header.entry_type() == EntryType::GNUSparse {
        return Ok(Some(Format::Old));
    }
    let size = pax.number(b"GNU.sparse.size", "size")?;
    let len = size.map_or_else(|| pax.number(b"GNU.sparse.realsize", "size"), |size| Ok(Some(size)))?;
    let version = (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor"));
    let has_map = || pax.get(b"GNU.sparse.map").is_some() || !pax.repeated().is_empty();
    Ok(match version {
        (Some(b"1"), Some(b"0")) => Some(Format::Pax1 { len }),
        (Some(b"0"), Some(b"0" | b"1")) => Some(Format::Pax0 { len }),
        // The first versions did not say so.
        (None, None) if has_map() => Some(Format::Pax0 { len }),
        (None, None) => None,
        // Reading a newer version as plain contents would give a wrong file without a word.
        _ => return Err(TarProblem::Sparse),
    })
}

/// The map of the old format. `next` reads one more block.
pub(super) fn old(
    header: &Header,
    mut next: impl FnMut() -> Result<Block, TarProblem>,
) -> Result<Map, TarProblem> {
    let gnu = header.as_gnu().ok_or(TarProblem::Sparse)?;
    let mut map = Map::new(header::unsigned(&gnu.realsize, "size")?);
    map.take(&gnu.sparse)?;
    let mut more = gnu.is_extended();
    let mut next = bounded(&mut next);
    while more {
        let mut extension = GnuExtSparseHeader::new();
        *extension.as_mut_bytes() = next()?;
        map.take(extension.sparse())?;
        more = extension.is_extended();
    }
    Ok(map)
}

/// The map in the records of an extended header, which is itself bounded.
pub(super) fn pax0(pax: &Pax, len: Option<u64>) -> Result<Map, TarProblem> {
    let mut map = Map::new(len.ok_or(TarProblem::Sparse)?);
    let mut add = |offset, length| {
        let number = |digits| decimal(digits).ok_or(TarProblem::Sparse);
        map.add(number(offset)?, number(length)?)
    };
    if let Some(text) = pax.get(b"GNU.sparse.map") {
        let mut numbers = text.split(|&byte| byte == b',');
        while let Some(offset) = numbers.next() {
            add(offset, numbers.next().ok_or(TarProblem::Sparse)?)?;
        }
    } else {
        // An offset comes first, then a length.
        for pair in pax.repeated().chunks(2) {
            let [(b"GNU.sparse.offset", offset), (b"GNU.sparse.numbytes", length)] = pair else {
                return Err(TarProblem::Sparse);
            };
            add(offset, length)?;
        }
    }
    Ok(map)
}

/// The map at the beginning of the contents: the number of pieces, then offset and length of each, a line each. `next` reads one
/// more block of them.
pub(super) fn pax1(
    len: Option<u64>,
    mut next: impl FnMut() -> Result<Block, TarProblem>,
) -> Result<Map, TarProblem> {
    let mut lines = Lines { next: bounded(&mut next), block: [0; BLOCK as usize], at: BLOCK as usize };
    let mut map = Map::new(len.ok_or(TarProblem::Sparse)?);
    for _ in 0..lines.number()? {
        map.add(lines.number()?, lines.number()?)?;
    }
    // What follows in the last block is padding.
    Ok(map)
}

/// Lines of decimal digits in blocks.
struct Lines<F> {
    next: F,
    block: Block,
    /// What of the block was taken.
    at: usize,
}

impl<F: FnMut() -> Result<Block, TarProblem>> Lines<F> {
    fn number(&mut self) -> Result<u64, TarProblem> {
        // As many digits as 64 bits can need.
        let (mut digits, mut count) = ([0; 20], 0);
        loop {
            if self.at == self.block.len() {
                (self.block, self.at) = ((self.next)()?, 0);
            }
            let byte = self.block[self.at];
            self.at += 1;
            if byte == b'\n' {
                return decimal(&digits[..count]).ok_or(TarProblem::Sparse);
            }
            *digits.get_mut(count).ok_or(TarProblem::Sparse)? = byte;
            count += 1;
        }
    }
}

/// What `next` reads, up to [`MAP_MAX`].
fn bounded(
    next: &mut impl FnMut() -> Result<Block, TarProblem>,
) -> impl FnMut() -> Result<Block, TarProblem> {
    let mut left = MAP_MAX / BLOCK;
    move || {
        left = left.checked_sub(1).ok_or(TarProblem::MapTooLarge)?;
        next()
    }
}

impl Map {
    const fn new(len: u64) -> Self {
        Self { len, extents: Vec::new(), end: 0, data: 0 }
    }

    /// One more piece of data.
    fn add(&mut self, logical: u64, len: u64) -> Result<(), TarProblem> {
        let end = logical.checked_add(len).filter(|&end| end <= self.len).ok_or(TarProblem::Sparse)?;
        if logical < self.end {
            return Err(TarProblem::Sparse);
        }
        match self.extents.last_mut() {
            _ if len == 0 => {}
            // Archivers split what is one piece, at the latest after eight gigabytes.
            Some(last) if last.range().end == logical => last.len += len,
            _ => self.extents.push(Extent { logical, physical: self.data, len }),
        }
        self.end = end;
        self.data += len;
        Ok(())
    }

    fn take(&mut self, headers: &[GnuSparseHeader]) -> Result<(), TarProblem> {
        for header in headers.iter().take_while(|header| header.offset[0] != 0) {
            let number = |field: &[u8]| header::unsigned(field, "offset of data");
            self.add(number(&header.offset)?, number(&header.numbytes)?)?;
        }
        Ok(())
    }

    /// The extents of a file whose data takes `stored` bytes in the archive; `None` where it has no holes.
    pub(super) fn extents(self, stored: u64) -> Result<Option<Box<[Extent]>>, TarProblem> {
        if self.data > stored {
            return Err(TarProblem::Sparse);
        }
        let whole = matches!(&self.extents[..], [only] if only.len == self.len) || self.len == 0;
        Ok((!whole).then(|| self.extents.into()))
    }
}
