//! A program from an image: what it needs to start, found before it is built into a machine.

use std::io;

use isopod::link::inspect::{Entry, Files, ReadAt, inspect};

/// One file that answers to every path.
struct Everywhere(Vec<u8>);

struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

impl Files for Everywhere {
    fn open(&self, path: &[u8]) -> io::Result<Entry> {
        let (size, data) = (self.0.len() as u64, Box::new(Bytes(self.0.clone())));
        Ok(Entry { path: path.to_vec(), mode: 0o100_755, size, data })
    }
}

/// 1 if the program would start.
pub fn run(data: &[u8]) -> usize {
    usize::from(inspect(&Everywhere(data.to_vec()), &[b"/program".to_vec()], &[], b"/").is_ok())
}
