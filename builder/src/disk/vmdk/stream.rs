//! streamOptimized: grains are zlib streams, each behind a marker; tables follow what they name, the directory and a footer the last.
//!
//! ```text
//! header | descriptor | to sector 128 | { marker | grain }.. | { marker | table | ... } | marker | directory
//!     | marker | footer | end of stream
//! ```

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};
use uuid::Uuid;

use super::super::content::{GRAIN, Map};
use super::super::pass::Sink;
use super::{DESCRIPTOR_END, ENTRIES, Header, SECTOR, TABLE, descriptor, le32, tables};

const OVERHEAD: u64 = 128;
/// In the header of a stream: see the footer.
const AT_END: u64 = u64::MAX;
/// Newlines can be tested, grains are compressed, there are markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
const DEFLATE: u16 = 1;

/// Markers of what is no grain.
#[derive(Debug, Clone, Copy)]
enum Marker {
    EndOfStream = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// A file being written.
pub(in super::super) struct Stream<W> {
    out: W,
    header: Header,
    /// Sectors written.
    position: u64,
    /// Of each table, the sector at which it stands; 0 where no grain of it is there.
    directory: Vec<u32>,
    /// The table of the grains that were written last, with its number.
    table: Option<(u64, Vec<u32>)>,
    compress: Compress,
    compressed: Vec<u8>,
    /// Bytes of the disk that the grains stand for.
    populated: u64,
}

impl<W: Write> Stream<W> {
    /// Writes what comes before the first grain.
    pub fn new(map: &Map, id: Uuid, mut out: W) -> io::Result<Self> {
        let header = Header {
            version: 3,
            flags: FLAGS,
            size: map.size(),
            redundant_directory: 0,
            directory: AT_END,
            overhead: OVERHEAD,
            compression: DEFLATE,
        };
        out.write_all(&header.encode())?;
        out.write_all(&descriptor("streamOptimized", map.size(), id))?;
        out.write_all(&vec![0; ((OVERHEAD - DESCRIPTOR_END) * SECTOR) as usize])?;
        Ok(Self {
            out,
            header,
            position: OVERHEAD,
            directory: vec![0; tables(map.size()) as usize],
            table: None,
            compress: Compress::new(Compression::fast(), true),
            // zlib's own bound on what does not compress is far less than an eighth more.
            compressed: vec![0; (GRAIN + GRAIN / 8) as usize],
            populated: 0,
        })
    }

    fn write_grain(&mut self, number: u64, grain: &[u8]) -> io::Result<()> {
        let index = number / ENTRIES;
        if self.table.as_ref().is_none_or(|(current, _)| *current != index) {
            self.write_table()?;
            self.table = Some((index, vec![0; ENTRIES as usize]));
        }
        let position = self.sector()?;
        if let Some((_, entries)) = &mut self.table {
            entries[(number % ENTRIES) as usize] = position;
        }
        self.compress.reset();
        // The marker, of 12 bytes, and the stream lie in one stretch.
        let status = self.compress.compress(grain, &mut self.compressed[12..], FlushCompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) {
            return Err(io::Error::other("a grain cannot be compressed"));
        }
        let len = self.compress.total_out();
        self.compressed[..8].copy_from_slice(&(number * GRAIN / SECTOR).to_le_bytes());
        self.compressed[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        let end = (12 + len).next_multiple_of(SECTOR);
        self.compressed[12 + len as usize..end as usize].fill(0);
        self.out.write_all(&self.compressed[..end as usize])?;
        self.position += end / SECTOR;
        self.populated += GRAIN;
        Ok(())
    }

    /// Writes the table of the grains that were written last.
    fn write_table(&mut self) -> io::Result<()> {
        let Some((index, entries)) = self.table.take() else { return Ok(()) };
        self.write_marker(Marker::Table, TABLE / SECTOR)?;
        self.directory[index as usize] = self.sector()?;
        self.out.write_all(&le32(entries))?;
        self.position += TABLE / SECTOR;
        Ok(())
    }

    fn write_marker(&mut self, marker: Marker, sectors: u64) -> io::Result<()> {
        let mut bytes = [0; SECTOR as usize];
        bytes[..8].copy_from_slice(&sectors.to_le_bytes());
        bytes[12..16].copy_from_slice(&(marker as u32).to_le_bytes());
        self.out.write_all(&bytes)?;
        self.position += 1;
        Ok(())
    }

    /// Where the output is. The size of a disk is limited, but its grains may have become longer.
    fn sector(&self) -> io::Result<u32> {
        u32::try_from(self.position).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }

    /// Writes what comes behind the last grain. Returns the output and how many bytes of the disk are in it.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        self.write_table()?;
        let mut directory = le32(std::mem::take(&mut self.directory));
        directory.resize(directory.len().next_multiple_of(SECTOR as usize), 0);
        self.write_marker(Marker::Directory, directory.len() as u64 / SECTOR)?;
        let header = Header { directory: self.position, ..self.header };
        self.out.write_all(&directory)?;
        self.position += directory.len() as u64 / SECTOR;
        self.write_marker(Marker::Footer, 1)?;
        self.out.write_all(&header.encode())?;
        self.write_marker(Marker::EndOfStream, 0)?;
        self.out.flush()?;
        Ok((self.out, self.populated))
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (number, grain) in (offset / GRAIN..).zip(data.chunks_exact(GRAIN as usize)) {
            if grain.iter().any(|byte| *byte != 0) {
                self.write_grain(number, grain)?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.end().map(drop)
    }
}
