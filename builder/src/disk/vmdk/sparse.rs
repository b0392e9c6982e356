//! monolithicSparse: all grain tables first, twice, then the grains as they are.
//!
//! ```text
//! header | descriptor | directory, tables | directory, tables | to a multiple of a grain | grains
//! ```

use std::io::{self, Write};

use uuid::Uuid;

use super::super::content::{GRAIN, Map};
use super::super::pass::Sink;
use super::{DESCRIPTOR_END, ENTRIES, Header, SECTOR, TABLE, descriptor, le32, tables};

/// Newlines can be tested, the tables are there twice.
const FLAGS: u32 = 1 | 1 << 1;

/// A file being written.
#[derive(Debug)]
pub(in super::super) struct Sparse<W> {
    out: W,
}

impl<W: Write> Sparse<W> {
    /// Writes all that comes before the grains.
    pub fn new(map: &Map, id: Uuid, mut out: W) -> io::Result<Self> {
        let tables = tables(map.size());
        let directory_sectors = (tables * 4).div_ceil(SECTOR);
        let copy_sectors = directory_sectors + tables * TABLE / SECTOR;
        let overhead = (DESCRIPTOR_END + 2 * copy_sectors).next_multiple_of(GRAIN / SECTOR);
        let (redundant, first) = (DESCRIPTOR_END, DESCRIPTOR_END + copy_sectors);
        let header = Header {
            version: 1,
            flags: FLAGS,
            size: map.size(),
            redundant_directory: redundant,
            directory: first,
            overhead,
            compression: 0,
        };
        out.write_all(&header.encode())?;
        out.write_all(&descriptor("monolithicSparse", map.size(), id))?;
        for start in [redundant, first] {
            let places = (0..tables).map(|table| start + directory_sectors + table * TABLE / SECTOR);
            let mut directory = le32(places.map(|sector| sector as u32));
            directory.resize((directory_sectors * SECTOR) as usize, 0);
            out.write_all(&directory)?;
            write_tables(map, tables, overhead, &mut out)?;
        }
        let rest = overhead - DESCRIPTOR_END - 2 * copy_sectors;
        out.write_all(&vec![0; (rest * SECTOR) as usize])?;
        Ok(Self { out })
    }
}

fn write_tables(map: &Map, tables: u64, overhead: u64, out: &mut impl Write) -> io::Result<()> {
    let mut grains = (0u64..).zip(map.blocks(GRAIN)).peekable();
    for table in 0..tables {
        let mut entries = vec![0u32; ENTRIES as usize];
        while let Some((place, grain)) = grains.next_if(|(_, grain)| grain / ENTRIES == table) {
            let sector = overhead + place * GRAIN / SECTOR;
            entries[(grain % ENTRIES) as usize] =
                u32::try_from(sector).map_err(|_| io::ErrorKind::FileTooLarge)?;
        }
        out.write_all(&le32(entries))?;
    }
    Ok(())
}

impl<W: Write + Send> Sink for Sparse<W> {
    fn write(&mut self, _: u64, data: &[u8]) -> io::Result<()> {
        self.out.write_all(data)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
