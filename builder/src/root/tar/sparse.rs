//! Sparse files in the four forms that GNU tar has written them,
//! [GNU tar manual](https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html).

use ::tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::header;
use super::pax::{Pax, decimal};
use super::{BLOCK, TarProblem};
use crate::root::content::Extent;

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

/// Where the data of a sparse file belongs.
#[derive(Debug)]
pub(super) struct Map {
    /// Size of the file in bytes, holes included.
    pub(super) len: u64,
    /// Offset in the file and length of each piece of data. They follow each other in the archive.
    pieces: Vec<(u64, u64)>,
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
    let mut map = Map { len: header::unsigned(&gnu.realsize, "size")?, pieces: Vec::new() };
    map.take(&gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        let mut extension = GnuExtSparseHeader::new();
        *extension.as_mut_bytes() = next()?;
        map.take(extension.sparse())?;
        more = extension.is_extended();
    }
    Ok(map)
}

/// The map in the records of an extended header.
pub(super) fn pax0(pax: &Pax, len: Option<u64>) -> Result<Map, TarProblem> {
    let mut numbers = Vec::new();
    if let Some(map) = pax.get(b"GNU.sparse.map") {
        for number in map.split(|&byte| byte == b',') {
            numbers.push(decimal(number).ok_or(TarProblem::Sparse)?);
        }
    } else {
        // An offset comes first, then a length.
        for pair in pax.repeated().chunks(2) {
            let [(b"GNU.sparse.offset", offset), (b"GNU.sparse.numbytes", bytes)] = pair else {
                return Err(TarProblem::Sparse);
            };
            for number in [offset, bytes] {
                numbers.push(decimal(number).ok_or(TarProblem::Sparse)?);
            }
        }
    }
    Map::new(len, &numbers)
}

/// The map at the beginning of the contents: the number of pieces, then offset and length of each, a line each. `next` reads one
/// more block of them.
pub(super) fn pax1(
    len: Option<u64>,
    mut next: impl FnMut() -> Result<Block, TarProblem>,
) -> Result<Map, TarProblem> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut digits = Vec::new();
    let mut count = None;
    loop {
        for byte in next()? {
            if byte != b'\n' {
                digits.push(byte);
                if digits.len() > 20 {
                    return Err(TarProblem::Sparse);
                }
                continue;
            }
            let number = decimal(&digits).ok_or(TarProblem::Sparse)?;
            digits.clear();
            match count {
                None => count = Some(number),
                Some(_) => numbers.push(number),
            }
            // What follows in the block is padding.
            if count.is_some_and(|count| numbers.len() as u64 / 2 == count) {
                return Map::new(len, &numbers);
            }
        }
    }
}

impl Map {
    fn new(len: Option<u64>, numbers: &[u64]) -> Result<Self, TarProblem> {
        let (pairs, []) = numbers.as_chunks::<2>() else { return Err(TarProblem::Sparse) };
        let pieces = pairs.iter().map(|&[offset, len]| (offset, len)).collect();
        Ok(Self { len: len.ok_or(TarProblem::Sparse)?, pieces })
    }

    fn take(&mut self, headers: &[GnuSparseHeader]) -> Result<(), TarProblem> {
        for header in headers.iter().take_while(|header| header.offset[0] != 0) {
            let number = |field: &[u8]| header::unsigned(field, "offset of data");
            self.pieces.push((number(&header.offset)?, number(&header.numbytes)?));
        }
        Ok(())
    }

    /// The extents of a file whose data takes `stored` bytes in the archive; `None` where it has no holes.
    pub(super) fn extents(&self, stored: u64) -> Result<Option<Box<[Extent]>>, TarProblem> {
        let mut extents: Vec<Extent> = Vec::new();
        let (mut end, mut physical) = (0_u64, 0_u64);
        for &(logical, len) in &self.pieces {
            let piece_end = logical.checked_add(len).filter(|&piece_end| piece_end <= self.len);
            if logical < end {
                return Err(TarProblem::Sparse);
            }
            end = piece_end.ok_or(TarProblem::Sparse)?;
            match extents.last_mut() {
                _ if len == 0 => {}
                // Archivers split what is one piece, at the latest after eight gigabytes.
                Some(last) if last.range().end == logical => last.len += len,
                _ => extents.push(Extent { logical, physical, len }),
            }
            physical += len;
        }
        if physical > stored {
            return Err(TarProblem::Sparse);
        }
        let whole = matches!(&extents[..], [only] if only.len == self.len) || self.len == 0;
        Ok((!whole).then(|| extents.into()))
    }
}
