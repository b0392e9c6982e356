//! An inode of the image in use.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_hal::{PAGE_SIZE, frame::Frame, sync::SpinLock};

use super::inode::{DiskInode, Layout};
use super::{CORRUPT, Image};
use crate::inode::{DirEntry, Extent, FIRST_COOKIE, Inode};
use crate::inode_state::InodeState;
use crate::metadata::{FileType, Metadata};
use crate::transfer::Sink;
use crate::vfs::Process;
use crate::{Errno, Result};

/// Longest target of a symbolic link.
const TARGET_MAX: u64 = 4095;

/// How many runs `SEEK_DATA` and `SEEK_HOLE` look at. What lies beyond counts as data, as lseek(2) allows: an image can say that a file
/// of any size has as many runs as there is room for in the image.
const RUNS_SOUGHT: usize = 1 << 14;

/// One file of the image.
#[derive(Debug)]
pub(super) struct Node {
    image: Arc<Image>,
    number: u64,
    disk: DiskInode,
    state: InodeState,
    last_page: SpinLock<LastPage>,
}

/// The page with the end of the file, after which there must be zeros.
#[derive(Clone, Debug)]
enum LastPage {
    Unknown,
    /// It is the image's.
    Clean,
    /// It had to be copied, and is the same for all who map it.
    Copied(Frame),
}

impl Node {
    pub(super) fn read(image: &Arc<Image>, number: u64) -> Result<Arc<Self>> {
        let disk = DiskInode::read(image, number)?;
        Ok(Arc::new(Self {
            image: image.clone(),
            number,
            disk,
            state: InodeState::default(),
            last_page: SpinLock::new(LastPage::Unknown),
        }))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.disk.kind == FileType::Directory
    }

    fn check_regular(&self) -> Result<()> {
        if self.disk.kind == FileType::Regular { Ok(()) } else { Err(Errno::EINVAL.into()) }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Result<Metadata> {
        let (disk, block_size) = (&self.disk, self.image.superblock.block_size());
        let stored = matches!(disk.kind, FileType::Regular | FileType::Directory | FileType::Symlink);
        Ok(Metadata {
            device: self.image.device,
            inode: self.number,
            kind: disk.kind,
            mode: disk.mode,
            links: disk.links,
            uid: disk.uid,
            gid: disk.gid,
            special: disk.special,
            size: if stored { disk.size } else { 0 },
            block_size: block_size as u32,
            blocks: if stored { disk.size.div_ceil(block_size) * (block_size / 512) } else { 0 },
            accessed: disk.modified,
            modified: disk.modified,
            changed: disk.modified,
            born: None,
        })
    }

    fn state(&self) -> &InodeState {
        &self.state
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        let entry = self.disk.find(&self.image, name)?;
        let node = self.image.node(entry.number)?;
        // Who trusts the entry's type, as readers of directories do, must not be deceived.
        if node.disk.kind != entry.kind {
            return Err(CORRUPT);
        }
        Ok(node)
    }

    fn read_dir(&self, cookie: u64, visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        let mut dots = 0;
        self.disk.entries(&self.image, cookie.saturating_sub(FIRST_COOKIE), &mut |entry, next| {
            let name = entry.name();
            if name == b"." || name == b".." {
                dots += 1;
                return dots <= 2;
            }
            visit(&DirEntry { name, inode: entry.number, kind: entry.kind, next: next + FIRST_COOKIE })
        })?;
        // A directory of nothing else would keep its reader for as long as the image is large.
        if dots > 2 { Err(CORRUPT) } else { Ok(()) }
    }

    fn read_link(&self, _process: Process) -> Result<Vec<u8>> {
        if self.disk.kind != FileType::Symlink {
            return Err(Errno::EINVAL.into());
        }
        if self.disk.size > TARGET_MAX {
            return Err(CORRUPT);
        }
        let mut target = alloc::vec![0; self.disk.size as usize];
        let mut done = 0;
        while done < target.len() {
            let run = self.disk.run(&self.image, done as u64)?;
            let step = (target.len() - done).min(run.length as usize);
            self.image.read_into(run.offset.ok_or(CORRUPT)?, &mut target[done..done + step])?;
            done += step;
        }
        if target.contains(&0) {
            return Err(CORRUPT);
        }
        Ok(target)
    }

    fn read_at(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        self.check_regular()?;
        let mut done = 0;
        if sink.remaining() > PAGE_SIZE {
            let end = offset.saturating_add(sink.remaining() as u64);
            self.prefetch(offset / PAGE_SIZE as u64..end.div_ceil(PAGE_SIZE as u64));
        }
        loop {
            let position = offset.saturating_add(done as u64);
            let start = (position % PAGE_SIZE as u64) as usize;
            let left = self.disk.size.saturating_sub(position);
            let length = left.min((PAGE_SIZE - start).min(sink.remaining()) as u64) as usize;
            if length == 0 {
                return Ok(done);
            }
            let frame = match self.page(position / PAGE_SIZE as u64) {
                Ok(frame) => frame,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            };
            let put = sink.put_frame(&frame, start, length);
            done += put;
            if put < length {
                return Ok(done);
            }
        }
    }

    fn page(&self, index: u64) -> Result<Frame> {
        self.check_regular()?;
        let last = self.disk.size.saturating_sub(1) / PAGE_SIZE as u64;
        if index != last {
            return self.disk.page(&self.image, index, true).map(|(frame, _)| frame);
        }
        let clean = match self.last_page.lock().clone() {
            LastPage::Copied(frame) => return Ok(frame),
            known => matches!(known, LastPage::Clean),
        };
        let (frame, copied) = self.disk.page(&self.image, index, clean)?;
        let mut last_page = self.last_page.lock();
        if let LastPage::Copied(frame) = &*last_page {
            return Ok(frame.clone());
        }
        *last_page = if copied { LastPage::Copied(frame.clone()) } else { LastPage::Clean };
        Ok(frame)
    }

    fn resident(&self, first: u64, frames: &mut [Option<Frame>]) {
        let last = self.disk.size.saturating_sub(1) / PAGE_SIZE as u64;
        if self.check_regular().is_err() || first > last {
            return;
        }
        let wanted = frames.len().min((last - first) as usize);
        let (whole, rest) = frames.split_at_mut(wanted);
        self.disk.resident(&self.image, first, whole);
        // The one with the end of the file may be a copy.
        if let Some(place) = rest.first_mut() {
            *place = self.page(last).ok();
        }
    }

    fn prefetch(&self, pages: Range<u64>) {
        let size = self.disk.size.div_ceil(PAGE_SIZE as u64);
        if pages.start >= size {
            return;
        }
        let start = pages.start * PAGE_SIZE as u64;
        // A read-ahead that meets an error leaves it to the read.
        if let Ok(run) = self.disk.run(&self.image, start)
            && let Some(offset) = run.offset
        {
            let count = (pages.end.min(size) - pages.start).min(run.length.div_ceil(PAGE_SIZE as u64));
            let first = offset / PAGE_SIZE as u64;
            self.image.source.prefetch(first..first.saturating_add(count));
        }
    }

    fn seek_extent(&self, offset: u64, extent: Extent) -> Result<u64> {
        self.check_regular()?;
        let size = self.disk.size;
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        if !matches!(self.disk.layout, Layout::Chunks { .. }) {
            return Ok(if extent == Extent::Data { offset } else { size });
        }
        let mut position = offset;
        for _ in 0..RUNS_SOUGHT {
            if position >= size {
                break;
            }
            let run = self.disk.run(&self.image, position)?;
            if run.offset.is_some() == (extent == Extent::Data) {
                return Ok(position);
            }
            position += run.length;
        }
        match extent {
            Extent::Data if position >= size => Err(Errno::ENXIO.into()),
            Extent::Data => Ok(position),
            Extent::Hole => Ok(size),
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.disk.xattr(&self.image, name)
    }

    fn xattr_names(&self) -> Result<Vec<u8>> {
        self.disk.xattr_names(&self.image)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.image.forget(self.number);
    }
}
