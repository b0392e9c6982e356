//! What Google Compute Engine imports: a gzip of a tar with one sparse file `disk.raw`, as `tar --format=oldgnu -S` writes it.

use std::io::{self, Write};
use std::ops::Range;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::content::Map;
use super::pass::Sink;

/// Two blocks of zeros end a tar.
const END: [u8; 1024] = [0; 1024];

/// A file being written.
#[derive(Debug)]
pub(super) struct Gce<W: Write> {
    out: GzEncoder<W>,
}

impl<W: Write> Gce<W> {
    /// Writes the header, which names the stretches that are stored.
    pub fn new(map: &Map, out: W) -> io::Result<Self> {
        let mut out = GzBuilder::new().write(out, Compression::fast());
        let mut header = Header::new_gnu();
        header.set_path("disk.raw")?;
        header.set_entry_type(EntryType::GNUSparse);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(map.data());
        let gnu = header.as_gnu_mut().ok_or(io::ErrorKind::InvalidData)?;
        gnu.set_real_size(map.size());
        let stretches = stretches(map);
        let mut left = name(&mut gnu.sparse, &stretches);
        gnu.set_is_extended(!left.is_empty());
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        while !left.is_empty() {
            let mut more = GnuExtSparseHeader::new();
            left = name(more.sparse_mut(), left);
            more.set_is_extended(!left.is_empty());
            out.write_all(more.as_bytes())?;
        }
        Ok(Self { out })
    }
}

/// Where the file has data. One that ends with a hole has an empty stretch there, which tells how long it is.
fn stretches(map: &Map) -> Vec<Range<u64>> {
    let hole = map.runs().last().is_none_or(|last| last.end < map.size());
    map.runs().iter().cloned().chain(hole.then_some(map.size()..map.size())).collect()
}

/// Writes stretches to the places there are, and returns those that are left.
fn name<'s>(places: &mut [GnuSparseHeader], stretches: &'s [Range<u64>]) -> &'s [Range<u64>] {
    let (now, later) = stretches.split_at(stretches.len().min(places.len()));
    for (place, stretch) in places.iter_mut().zip(now) {
        place.set_offset(stretch.start);
        place.set_length(stretch.end - stretch.start);
    }
    later
}

impl<W: Write + Send> Sink for Gce<W> {
    fn write(&mut self, _: u64, data: &[u8]) -> io::Result<()> {
        self.out.write_all(data)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.write_all(&END)?;
        self.out.finish()?.flush()
    }
}
