//! Directories of the host as trees.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, lgetxattr, llistxattr, major, minor, seek};
use rustix::io::Errno;

use super::content::{Content, Extent};
use super::error::{NodeProblem, RootError};
use super::tree::{Device, Kind, Meta, NodeId, Timestamp, Tree, Xattrs};
use super::{erofs, keeps_xattr, printable};

/// The most bytes that the values and names of extended attributes have (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_BUFFER: usize = 64 * 1024;

impl Tree {
    /// The directory `dir` of the host with all below it: owners, permissions, times, extended attributes, hard links, devices and
    /// holes as they are. Symbolic links are taken as such, and other file systems that are mounted in it as empty directories.
    /// Contents stay where they are, and must not change as long as the tree is used.
    ///
    /// # Errors
    /// What may not be read, or what no root can hold.
    pub fn from_directory(dir: &Path) -> Result<Self, RootError> {
        let top = fs::metadata(dir).and_then(|metadata| {
            if metadata.is_dir() { Ok(metadata) } else { Err(io::ErrorKind::NotADirectory.into()) }
        });
        let top = top.map_err(|source| RootError::Read { path: dir.to_path_buf(), source })?;
        let mut scan = Scan {
            tree: Self::new(),
            device: top.dev(),
            links: HashMap::new(),
            buffer: vec![0; XATTR_BUFFER],
        };
        let meta = scan.meta(dir, &top)?;
        scan.tree.set_root(meta, &Kind::directory()).map_err(|problem| refused(dir, problem))?;
        let mut directories = vec![(dir.to_path_buf(), NodeId::ROOT)];
        while let Some((path, id)) = directories.pop() {
            scan.directory(&path, id, &mut directories)?;
        }
        Ok(scan.tree)
    }
}

/// A directory of the host being read.
struct Scan {
    tree: Tree,
    /// The file system of the top directory.
    device: u64,
    /// Files with several names, by file system and inode.
    links: HashMap<(u64, u64), NodeId>,
    buffer: Vec<u8>,
}

impl Scan {
    /// Reads one directory and adds those in it to `directories`.
    fn directory(
        &mut self,
        path: &Path,
        id: NodeId,
        directories: &mut Vec<(PathBuf, NodeId)>,
    ) -> Result<(), RootError> {
        let read = |source| RootError::Read { path: path.to_path_buf(), source };
        for entry in fs::read_dir(path).map_err(read)? {
            let entry = entry.map_err(read)?;
            let child = entry.path();
            let metadata =
                entry.metadata().map_err(|source| RootError::Read { path: child.clone(), source })?;
            let name = entry.file_name();
            let place = |problem| refused(&child, problem);
            let inode = (metadata.dev(), metadata.ino());
            if let Some(&twin) = self.links.get(&inode) {
                self.tree.link(id, name.as_bytes(), twin).map_err(place)?;
                continue;
            }
            let meta = self.meta(&child, &metadata)?;
            let kind = kind(&child, &metadata)?;
            let node = self.tree.place(id, name.as_bytes(), meta, kind).map_err(place)?;
            if metadata.is_dir() {
                if metadata.dev() == self.device {
                    directories.push((child, node));
                }
            } else if metadata.nlink() > 1 {
                self.links.insert(inode, node);
            }
        }
        Ok(())
    }

    fn meta(&mut self, path: &Path, metadata: &Metadata) -> Result<Meta, RootError> {
        Ok(Meta {
            mode: (metadata.mode() & 0o7777) as u16,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: Timestamp { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() as u32 },
            xattrs: self.xattrs(path)?,
        })
    }

    fn xattrs(&mut self, path: &Path) -> Result<Xattrs, RootError> {
        let read = |errno: Errno| RootError::Read { path: path.to_path_buf(), source: errno.into() };
        let mut xattrs = Xattrs::new();
        let len = match llistxattr(path, &mut self.buffer[..]) {
            // The file system keeps no attributes.
            Err(Errno::OPNOTSUPP) => return Ok(xattrs),
            len => len.map_err(read)?,
        };
        let names = self.buffer[..len].to_vec();
        for name in names.split(|&byte| byte == 0).filter(|name| keeps_xattr(name)) {
            let c_name = CString::new(name).map_err(|error| read_error(path, error.into()))?;
            let len = match lgetxattr(path, &c_name, &mut self.buffer[..]) {
                // Gone since, or of the namespace `user`, which Linux hides where there is neither file nor directory.
                Err(Errno::NODATA) => continue,
                len => len.map_err(read)?,
            };
            let value = &self.buffer[..len];
            if !erofs::can_store_xattr(name, value) {
                return Err(refused(path, NodeProblem::Xattr(printable(name))));
            }
            xattrs.insert(name.into(), value.into());
        }
        Ok(xattrs)
    }
}

fn kind(path: &Path, metadata: &Metadata) -> Result<Kind, RootError> {
    let device = || {
        let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
        Device::new(major.into(), minor.into())
            .ok_or_else(|| refused(path, NodeProblem::Device(major.into(), minor.into())))
    };
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::directory()
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|source| read_error(path, source))?;
        Kind::Symlink(target.into_os_string().into_vec().into())
    } else if kind.is_char_device() {
        Kind::CharDevice(device()?)
    } else if kind.is_block_device() {
        Kind::BlockDevice(device()?)
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        Kind::Socket
    } else {
        let extents = extents(path, metadata).map_err(|source| read_error(path, source))?;
        Kind::File(Content::host_file(path.to_path_buf(), metadata.len()).with_extents(extents))
    })
}

/// The data of a file with holes; `None` for one without.
fn extents(path: &Path, metadata: &Metadata) -> io::Result<Option<Box<[Extent]>>> {
    if metadata.blocks() * 512 >= metadata.len() {
        return Ok(None);
    }
    let file = File::open(path)?;
    let mut extents = Vec::new();
    let mut at = 0;
    while at < metadata.len() {
        let from = match seek(&file, SeekFrom::Data(at)) {
            // Nothing but a hole follows.
            Err(Errno::NXIO) => break,
            // A file system without holes; what it has fewer blocks for is compressed.
            Err(Errno::INVAL) => return Ok(None),
            from => from?.min(metadata.len()),
        };
        at = seek(&file, SeekFrom::Hole(from))?.min(metadata.len());
        if at > from {
            extents.push(Extent { logical: from, physical: from, len: at - from });
        }
    }
    let whole = matches!(&extents[..], [only] if only.len == metadata.len());
    Ok((!whole).then(|| extents.into()))
}

fn read_error(path: &Path, source: io::Error) -> RootError {
    RootError::Read { path: path.to_path_buf(), source }
}

fn refused(path: &Path, problem: NodeProblem) -> RootError {
    RootError::Node { path: printable(OsStr::as_bytes(path.as_os_str())), problem }
}
