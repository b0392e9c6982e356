//! A root file system from a disk that nobody vouches for: mounted, walked and read.

use std::collections::BTreeSet;
use std::sync::Arc;

use isopod_fs::erofs::Erofs;
use isopod_fs::pages::PageSource;
use isopod_fs::vfs::Process;
use isopod_fs::{Buffer, Errno, Extent, FIRST_COOKIE, FileSystem, FileType, Inode, Result};
use isopod_hal::frame::Frame;

/// A disk of these bytes.
#[derive(Debug)]
struct Disk(Vec<u8>);

impl PageSource for Disk {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn page(&self, index: u64) -> Result<Frame> {
        let start =
            usize::try_from(index).ok().and_then(|index| index.checked_mul(4096)).ok_or(Errno::EIO)?;
        let bytes = self.0.get(start..).ok_or(Errno::EIO)?;
        let frame = Frame::zeroed().map_err(|_| Errno::ENOMEM)?;
        frame.write(0, &bytes[..bytes.len().min(4096)]);
        Ok(frame)
    }
}

/// Reads a file, or a folder and what is in it, as long as `budget` lasts: a hostile image may hold itself. How many things it found.
fn visit(inode: &Arc<dyn Inode>, budget: &mut usize) -> usize {
    if *budget == 0 {
        return 0;
    }
    *budget -= 1;
    let Ok(metadata) = inode.metadata() else { return 0 };
    let mut found = 1 + attributes(inode);
    let mut bytes = [0; 8192];
    for at in [0, metadata.size / 2, metadata.size.saturating_sub(100)] {
        found += usize::from(inode.read_at(at, &mut Buffer::new(&mut bytes)).is_ok_and(|count| count > 0));
        found += usize::from(inode.page(at / 4096).is_ok());
    }
    found += usize::from(inode.read_link(Process::default()).is_ok());
    found += usize::from(inode.seek_extent(0, Extent::Hole).is_ok_and(|hole| hole < metadata.size));
    let _ = inode.seek_extent(0, Extent::Data);
    if metadata.kind != FileType::Directory {
        return found;
    }
    let mut names = Vec::new();
    let _ = inode.read_dir(FIRST_COOKIE, &mut |entry| {
        names.push(entry.name.to_vec());
        names.len() < 20
    });
    for name in names {
        if let Ok(child) = inode.lookup(&name) {
            found += visit(&child, budget);
        }
    }
    found
}

/// How many extended attributes could be read.
fn attributes(inode: &Arc<dyn Inode>) -> usize {
    let Ok(names) = inode.xattr_names() else { return 0 };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.filter(|name| inode.xattr(name).is_ok()).count()
}

/// How many files, folders and other nodes a root has that our own writer wrote, all of which can be read.
pub fn nodes(root: Vec<u8>) -> usize {
    let image = Erofs::open(Arc::new(Disk(root))).expect("what was written is a root");
    let mut seen = BTreeSet::new();
    read_all(&image.root(), &mut seen);
    seen.len()
}

/// Reads every part of what is below an inode; nothing of it may fail.
fn read_all(inode: &Arc<dyn Inode>, seen: &mut BTreeSet<u64>) {
    let about = inode.metadata().expect("a sound inode");
    if !seen.insert(about.inode) {
        return;
    }
    for name in inode.xattr_names().expect("sound attributes").split(|byte| *byte == 0) {
        assert!(name.is_empty() || inode.xattr(name).is_ok(), "an attribute without a value");
    }
    match about.kind {
        FileType::Directory => {
            let mut names = Vec::new();
            let list = inode.read_dir(FIRST_COOKIE, &mut |entry| {
                names.push((entry.name.to_vec(), entry.inode));
                true
            });
            list.expect("a sound directory");
            for (name, number) in names {
                let child = inode.lookup(&name).expect("a name that is listed is found");
                assert_eq!(child.metadata().expect("a sound inode").inode, number);
                read_all(&child, seen);
            }
        }
        FileType::Symlink => drop(inode.read_link(Process::default()).expect("a sound link")),
        FileType::Regular => {
            // Files can have terabytes of holes: their ends are where mistakes would be.
            for index in [0, 1, about.size.div_ceil(4096).saturating_sub(1)] {
                assert!(index * 4096 >= about.size || inode.page(index).is_ok(), "a page is missing");
            }
        }
        _ => {}
    }
}

/// How many things were found.
pub fn run(data: &[u8]) -> usize {
    let Ok(image) = Erofs::open(Arc::new(Disk(data.to_vec()))) else { return 0 };
    let _ = image.statistics();
    visit(&image.root(), &mut 100)
}
