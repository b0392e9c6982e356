//! A disk as it is, with holes where it has no data; and what is that with a little behind or within: fixed VHD and ISO.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::pass::Sink;

/// File systems have blocks of this size: what is zero in one of them need not be stored.
const BLOCK: usize = 4096;

/// Bytes written where they belong.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    file: &'a File,
    size: u64,
    /// What is written over the data or behind it, at an offset.
    more: Option<(u64, Vec<u8>)>,
}

impl<'a> Raw<'a> {
    /// `size` bytes, with `more` over or behind them.
    pub fn new(file: &'a File, size: u64, more: Option<(u64, Vec<u8>)>) -> Self {
        Self { file, size, more }
    }
}

impl Sink for Raw<'_> {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        // Stretches of blocks that are all zeros or all not, so that few calls write what is dense.
        let is_hole = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        let mut start = 0;
        for stretch in data.chunks(BLOCK).collect::<Vec<_>>().chunk_by(|a, b| is_hole(a) == is_hole(b)) {
            let len = stretch.iter().map(|block| block.len()).sum::<usize>();
            if !is_hole(stretch[0]) {
                self.file.write_all_at(&data[start..start + len], offset + start as u64)?;
            }
            start += len;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.set_len(self.size)?;
        self.more.map_or(Ok(()), |(offset, bytes)| self.file.write_all_at(&bytes, offset))
    }
}
