//! A root file system from a disk that nobody vouches for: mounted, walked and read.
#![no_main]

use std::sync::Arc;

use isopod_fs::erofs::Erofs;
use isopod_fs::pages::PageSource;
use isopod_fs::{Buffer, Errno, FIRST_COOKIE, FileSystem, FileType, Inode, Result};
use isopod_hal::frame::Frame;

/// A disk of these bytes.
#[derive(Debug)]
struct Disk(Vec<u8>);

impl PageSource for Disk {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn page(&self, index: u64) -> Result<Frame> {
        let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(4096)).ok_or(Errno::EIO)?;
        let bytes = self.0.get(start..).ok_or(Errno::EIO)?;
        let frame = Frame::zeroed().map_err(|_| Errno::ENOMEM)?;
        frame.write(0, &bytes[..bytes.len().min(4096)]);
        Ok(frame)
    }
}

/// Reads a file, or a folder and what is in it, as long as `budget` lasts: a hostile image may hold itself.
fn visit(inode: &Arc<dyn Inode>, budget: &mut usize) {
    if *budget == 0 {
        return;
    }
    *budget -= 1;
    let Ok(metadata) = inode.metadata() else { return };
    let mut bytes = [0; 8192];
    let _ = inode.read_at(0, &mut Buffer::new(&mut bytes));
    let _ = inode.read_at(metadata.size.saturating_sub(100), &mut Buffer::new(&mut bytes));
    if metadata.kind != FileType::Directory {
        return;
    }
    let mut names = Vec::new();
    let _ = inode.read_dir(FIRST_COOKIE, &mut |entry| {
        names.push(entry.name.to_vec());
        names.len() < 20
    });
    for name in names {
        if let Ok(child) = inode.lookup(&name) {
            visit(&child, budget);
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(image) = Erofs::open(Arc::new(Disk(data.to_vec()))) {
        visit(&image.root(), &mut 100);
        let _ = image.statistics();
    }
});
