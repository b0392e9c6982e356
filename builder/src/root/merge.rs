//! Layers applied to a tree, one over the other, as the
//! [image specification](https://github.com/opencontainers/image-spec/blob/main/layer.md) says and `umoci unpack` does.

use std::fs::File;
use std::sync::Arc;

use super::content::Content;
use super::erofs::can_store_xattr;
use super::error::{NodeProblem, RootError};
use super::tar::{Entry, EntryKind, Reader};
use super::tree::{Kind, Meta, NodeId, PATH_MAX, Tree};
use super::{keeps_xattr, printable};
use crate::source::Layer;

/// A whiteout removes the file behind this prefix.
const WHITEOUT: &[u8] = b".wh.";
/// A directory with this name in it shows nothing of lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What else begins like this was AUFS's own bookkeeping.
const AUFS: &[u8] = b".wh..wh.";

impl Tree {
    /// The layers merged, lowest first. Contents stay in the layers' tar files, which must not change as long as the tree is used.
    ///
    /// # Errors
    /// A layer that cannot be read, is no tar archive, or has entries that no root may have.
    pub fn from_layers(layers: &[Layer]) -> Result<Self, RootError> {
        let mut tree = Self::new();
        for layer in layers {
            let read = |source| RootError::Read { path: layer.tar.clone(), source };
            let file = Arc::new(File::open(&layer.tar).map_err(read)?);
            let mut reader = Reader::new(&*file).map_err(read)?;
            let refused = |entry: &[u8], problem| RootError::Entry {
                layer: layer.diff_id,
                entry: printable(entry),
                problem,
            };
            tree.begin_layer().map_err(|problem| refused(b"", problem))?;
            loop {
                let entry = reader.next_entry();
                let entry = entry.map_err(|error| RootError::Tar { layer: layer.diff_id, error })?;
                let Some(entry) = entry else { break };
                let path = entry.path.clone();
                tree.apply(entry, &file).map_err(|problem| refused(&path, problem))?;
            }
        }
        Ok(tree)
    }

    fn apply(&mut self, entry: Entry, file: &Arc<File>) -> Result<(), NodeProblem> {
        if entry.path.starts_with(b"/") && entry.path.iter().any(|&byte| byte != b'/') {
            return Err(NodeProblem::Absolute);
        }
        if entry.path.len() > PATH_MAX {
            return Err(NodeProblem::PathTooLong);
        }
        let names = clean(&entry.path)?;
        if names.iter().any(|name| name.starts_with(AUFS) && *name != OPAQUE) {
            return Ok(());
        }
        let Some((&name, parents)) = names.split_last() else {
            return self.set_root(kept(entry.meta)?, &into_kind(entry.kind, file)?).map(drop);
        };
        let walk = self.walk(NodeId::ROOT, &parents.join(&b'/'))?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(NodeProblem::Whiteout);
            }
            if walk.missing.is_empty() {
                if name == OPAQUE { self.hide_below(walk.at) } else { self.hide(walk.at, hidden) }
            }
            return Ok(());
        }
        let directory = self.make(walk)?;
        match entry.kind {
            EntryKind::HardLink(target) => self.link(directory, name, self.link_target(&target)?),
            kind => self.place(directory, name, kept(entry.meta)?, into_kind(kind, file)?).map(drop),
        }
    }

    /// Removes what lower layers put at `name`. An entry of this layer stays, whether it came before or after the whiteout.
    fn hide(&mut self, directory: NodeId, name: &[u8]) {
        if !self.is_touched(directory, name) {
            self.remove(directory, name);
        } else if let Some(child) = self.child(directory, name) {
            self.hide_below(child);
        }
    }

    /// Removes what lower layers put into a directory and the directories below it.
    fn hide_below(&mut self, directory: NodeId) {
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            let Some(this) = self.node(directory).as_directory() else { continue };
            let mut doomed: Vec<Box<[u8]>> = Vec::new();
            for (name, child) in this.entries() {
                if self.is_touched(directory, name) {
                    directories.push(child);
                } else {
                    doomed.push(name.into());
                }
            }
            for name in doomed {
                self.remove(directory, &name);
            }
        }
    }

    /// What a hard link is to be another name of. It may be from a lower layer. A link at the end of its path is not followed.
    fn link_target(&self, target: &[u8]) -> Result<NodeId, NodeProblem> {
        let missing = || NodeProblem::LinkMissing(printable(target));
        let names = clean(target)?;
        let (&name, parents) = names.split_last().ok_or(NodeProblem::LinkToDirectory)?;
        let walk = self.walk(NodeId::ROOT, &parents.join(&b'/'))?;
        if !walk.missing.is_empty() {
            return Err(missing());
        }
        self.child(walk.at, name).ok_or_else(missing)
    }
}

/// The names of a path, `.` and `..` resolved by the text alone.
fn clean(path: &[u8]) -> Result<Vec<&[u8]>, NodeProblem> {
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop().ok_or(NodeProblem::Climbs)?),
            name => names.push(name),
        }
    }
    Ok(names)
}

/// The metadata without the extended attributes that do not belong into a root.
fn kept(mut meta: Meta) -> Result<Meta, NodeProblem> {
    meta.xattrs.retain(|name, _| keeps_xattr(name));
    let too_large = meta.xattrs.iter().find(|(name, value)| !can_store_xattr(name, value));
    too_large.map_or(Ok(()), |(name, _)| Err(NodeProblem::Xattr(printable(name))))?;
    Ok(meta)
}

/// What an entry with contents in `file` becomes in a tree. A hard link to nowhere is refused: it has no node of its own.
fn into_kind(kind: EntryKind, file: &Arc<File>) -> Result<Kind, NodeProblem> {
    Ok(match kind {
        EntryKind::File { offset, len, extents } => {
            Kind::File(Content::slice(Arc::clone(file), offset, len).with_extents(extents))
        }
        EntryKind::Symlink(target) => Kind::Symlink(target.into()),
        EntryKind::CharDevice(device) => Kind::CharDevice(device),
        EntryKind::BlockDevice(device) => Kind::BlockDevice(device),
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::Directory => Kind::directory(),
        EntryKind::HardLink(target) => return Err(NodeProblem::LinkMissing(printable(&target))),
    })
}
