//! A file tree in memory: names and metadata here, contents where they lie (see [`Content`](super::Content)).
//!
//! Nodes live in one vector and refer to each other by [`NodeId`], so that nothing recurses however deep a tree is, and hard links
//! are two names of one node. 100,000 files take some 25 MB.

mod node;
mod walk;

use std::io;

use super::error::{NodeProblem, RootError};
use super::printable;
use node::Dirent;
pub use node::{Device, Directory, Kind, Meta, Node, NodeId, Timestamp, Xattrs};
pub use walk::LookupError;
pub(super) use walk::Walk;

/// The longest name in a directory (`NAME_MAX`).
pub(super) const NAME_MAX: usize = 255;
/// The longest path, and target of a symbolic link (`PATH_MAX` without the terminating NUL).
pub(super) const PATH_MAX: usize = 4095;
/// The most names a tree takes: real images stay below a million, a hostile one must not exhaust memory.
const NAMES_MAX: usize = 2_000_000;
/// The most device nodes a tree takes; real images have a few dozen.
const DEVICES_MAX: usize = 65_536;
/// The most bytes that the extended attributes of one node have, names included: half as many as the format has place for.
pub(super) const XATTRS_MAX: usize = 128 << 10;
/// The most bytes that the extended attributes of all nodes have: a layer of few bytes could claim gigabytes.
pub(super) const ALL_XATTRS_MAX: usize = 64 << 20;

/// A file tree. It always has a root directory.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Places in `nodes` that may be used again.
    free: Vec<NodeId>,
    names: usize,
    devices: usize,
    /// Bytes of all extended attributes.
    xattrs: usize,
    /// The layer being merged, counted from 1; 0 where there are no layers.
    layer: u16,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree with nothing but its root, a directory with mode 755.
    pub fn new() -> Self {
        let root = Node { meta: Meta::with_mode(0o755), kind: Kind::directory(), names: 1 };
        Self { nodes: vec![root], free: Vec::new(), names: 0, devices: 0, xattrs: 0, layer: 0 }
    }

    /// The node `id`.
    ///
    /// # Panics
    /// Where `id` is from another tree.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The length of a table that has a place for every [`NodeId`].
    pub(super) fn table_len(&self) -> usize {
        self.nodes.len()
    }

    /// Puts a node at `path`, replacing what was there; a directory put over a directory changes its metadata and keeps its entries.
    /// Missing directories on the way are made (root's, 755); symbolic links on the way are followed inside the tree.
    ///
    /// # Errors
    /// A path or a node that no file system could hold, or too many of them.
    pub fn insert(&mut self, path: &[u8], meta: Meta, kind: Kind) -> Result<NodeId, RootError> {
        self.try_insert(path, meta, kind)
            .map_err(|problem| RootError::Node { path: printable(path), problem })
    }

    fn try_insert(&mut self, path: &[u8], meta: Meta, kind: Kind) -> Result<NodeId, NodeProblem> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        if name.is_empty() {
            return self.set_root(meta, &kind);
        }
        let walk = self.walk(NodeId::ROOT, parent)?;
        let directory = self.make(walk)?;
        self.place(directory, name, meta, kind)
    }

    /// Gives the root directory other metadata.
    pub(super) fn set_root(&mut self, meta: Meta, kind: &Kind) -> Result<NodeId, NodeProblem> {
        if !matches!(kind, Kind::Directory(_)) {
            return Err(NodeProblem::RootNotDirectory);
        }
        self.set_meta(NodeId::ROOT, meta)?;
        self.touch(NodeId::ROOT);
        Ok(NodeId::ROOT)
    }

    /// Makes the directories that `walk` found missing, and returns the last. What is no directory gives way.
    pub(super) fn make(&mut self, walk: Walk) -> Result<NodeId, NodeProblem> {
        let mut at = walk.at;
        for name in walk.missing {
            at = self.place(at, &name, Meta::with_mode(0o755), Kind::directory())?;
        }
        Ok(at)
    }

    /// Puts a node into `directory`, replacing what had its name.
    pub(super) fn place(
        &mut self,
        directory: NodeId,
        name: &[u8],
        meta: Meta,
        mut kind: Kind,
    ) -> Result<NodeId, NodeProblem> {
        check_name(name)?;
        if let Kind::Directory(new) = &mut kind {
            if let Some(old) = self.child(directory, name)
                && matches!(self.node(old).kind, Kind::Directory(_))
            {
                self.set_meta(old, meta)?;
                self.touch(old);
                return Ok(old);
            }
            new.parent = directory;
            new.layer = self.layer;
        }
        if let Kind::Symlink(target) = &kind
            && (target.is_empty() || target.len() > PATH_MAX || target.contains(&0))
        {
            return Err(NodeProblem::LinkTarget);
        }
        self.remove(directory, name);
        let id = self.add(meta, kind)?;
        self.name(directory, name, id)?;
        Ok(id)
    }

    /// Gives `target`, which is no directory, one more name, replacing what had it.
    pub(super) fn link(&mut self, directory: NodeId, name: &[u8], target: NodeId) -> Result<(), NodeProblem> {
        check_name(name)?;
        if matches!(self.node(target).kind, Kind::Directory(_)) {
            return Err(NodeProblem::LinkToDirectory);
        }
        // Counted first: what is replaced may be the last other name of the target.
        self.nodes[target.index()].names += 1;
        self.remove(directory, name);
        self.nodes[target.index()].names -= 1;
        self.name(directory, name, target)
    }

    /// Removes `name` and all that is below it, if there is such a name.
    pub(super) fn remove(&mut self, directory: NodeId, name: &[u8]) {
        let Kind::Directory(parent) = &mut self.nodes[directory.index()].kind else { return };
        let Some(entry) = parent.entries.remove(name) else { return };
        let mut doomed = vec![entry.node];
        while let Some(id) = doomed.pop() {
            let node = &mut self.nodes[id.index()];
            self.names -= 1;
            node.names -= 1;
            if node.names > 0 {
                continue;
            }
            // A free place holds nothing that takes memory.
            self.xattrs -= std::mem::take(&mut node.meta).xattr_bytes();
            match std::mem::replace(&mut node.kind, Kind::Fifo) {
                Kind::Directory(directory) => {
                    doomed.extend(directory.entries.into_values().map(|entry| entry.node));
                }
                Kind::CharDevice(_) | Kind::BlockDevice(_) => self.devices -= 1,
                _ => {}
            }
            self.free.push(id);
        }
    }

    /// What `name` stands for in `directory`.
    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.node(directory).as_directory()?.get(name)
    }

    /// From now on, what is put into the tree belongs to the next layer.
    pub(super) fn begin_layer(&mut self) -> Result<(), NodeProblem> {
        self.layer = self.layer.checked_add(1).ok_or(NodeProblem::TooManyLayers)?;
        Ok(())
    }

    /// Whether the layer being merged named what is at `name`, or anything below it.
    pub(super) fn is_touched(&self, directory: NodeId, name: &[u8]) -> bool {
        let entry = self.node(directory).as_directory().and_then(|directory| directory.entries.get(name));
        entry.is_some_and(|entry| match &self.node(entry.node).kind {
            Kind::Directory(directory) => directory.layer == self.layer,
            _ => entry.layer == self.layer,
        })
    }

    /// Marks a directory and those above it as named by the layer being merged.
    fn touch(&mut self, mut directory: NodeId) {
        while let Kind::Directory(this) = &mut self.nodes[directory.index()].kind
            && this.layer != self.layer
        {
            this.layer = self.layer;
            directory = this.parent;
        }
    }

    fn add(&mut self, meta: Meta, kind: Kind) -> Result<NodeId, NodeProblem> {
        if matches!(kind, Kind::CharDevice(_) | Kind::BlockDevice(_)) {
            if self.devices == DEVICES_MAX {
                return Err(NodeProblem::TooManyDevices(DEVICES_MAX));
            }
            self.devices += 1;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node { meta: Meta::default(), kind: Kind::Fifo, names: 0 });
            NodeId(self.nodes.len() as u32 - 1)
        });
        self.nodes[id.index()].kind = kind;
        self.set_meta(id, meta)?;
        Ok(id)
    }

    /// Gives a node other metadata.
    fn set_meta(&mut self, id: NodeId, meta: Meta) -> Result<(), NodeProblem> {
        let (old, new) = (self.node(id).meta.xattr_bytes(), meta.xattr_bytes());
        if new > XATTRS_MAX {
            return Err(NodeProblem::Xattrs(new));
        }
        let all = self.xattrs - old + new;
        if all > ALL_XATTRS_MAX {
            return Err(NodeProblem::AllXattrs);
        }
        self.xattrs = all;
        self.nodes[id.index()].meta = meta;
        Ok(())
    }

    fn name(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<(), NodeProblem> {
        if self.names == NAMES_MAX {
            return Err(NodeProblem::TooManyNames(NAMES_MAX));
        }
        self.names += 1;
        self.nodes[node.index()].names += 1;
        let entry = Dirent { node, layer: self.layer };
        self.touch(directory);
        if let Kind::Directory(directory) = &mut self.nodes[directory.index()].kind {
            directory.entries.insert(name.into(), entry);
        }
        Ok(())
    }

    /// A path that leads to the node `id`, empty for the root. It searches the tree: for messages only.
    pub(super) fn path_of(&self, id: NodeId) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut wanted = id;
        while wanted != NodeId::ROOT {
            let holder = self.nodes.iter().enumerate().find_map(|(index, node)| {
                let (name, _) = node.as_directory()?.entries().find(|&(_, entry)| entry == wanted)?;
                Some((index, name))
            });
            let Some((index, name)) = holder else { break };
            names.push(name);
            wanted = NodeId(index as u32);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Up to `limit` bytes from the beginning of a file; nothing of what is no file.
    pub fn read(&self, id: NodeId, limit: u64) -> io::Result<Vec<u8>> {
        match &self.node(id).kind {
            Kind::File(content) => content.read(limit),
            _ => Ok(Vec::new()),
        }
    }

    /// The file at `path`, symbolic links followed, up to `limit` bytes; `None` where there is no such file.
    pub fn read_path(&self, path: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.lookup(path) {
            Ok(id) if matches!(self.node(id).kind, Kind::File(_)) => self.read(id, limit).map(Some),
            _ => Ok(None),
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), NodeProblem> {
    match name {
        b"" | b"." | b".." => Err(NodeProblem::Name),
        _ if name.len() > NAME_MAX => Err(NodeProblem::NameTooLong),
        _ if name.contains(&0) || name.contains(&b'/') => Err(NodeProblem::Name),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_count_as_long_as_they_are_there() {
        let mut tree = Tree { names: NAMES_MAX - 2, ..Tree::new() };
        let mut insert = |path: &[u8]| tree.insert(path, Meta::default(), Kind::Fifo).map(drop);
        insert(b"a/b").unwrap();
        assert!(insert(b"a/c").unwrap_err().to_string().contains("more than 2000000 files"));
        insert(b"a").unwrap();
        insert(b"b").unwrap();
        let b = tree.lookup(b"b").unwrap();
        assert_eq!(tree.link(NodeId::ROOT, b"c", b), Err(NodeProblem::TooManyNames(NAMES_MAX)));
        assert_eq!(tree.link(NodeId::ROOT, b"a", b), Ok(()));
    }

    #[test]
    fn extended_attributes_are_bounded_and_count_as_long_as_they_are_there() {
        let with = |len| {
            let xattrs = [(b"user.a"[..].into(), vec![0; len - 6].into())].into();
            Meta { xattrs, ..Meta::default() }
        };
        let mut tree = Tree { xattrs: ALL_XATTRS_MAX - 1000, ..Tree::new() };
        let mut insert = |path: &[u8], meta: Meta| tree.try_insert(path, meta, Kind::directory()).map(drop);
        assert_eq!(insert(b"a", with(XATTRS_MAX + 1)), Err(NodeProblem::Xattrs(XATTRS_MAX + 1)));
        assert_eq!(insert(b"a", with(600)), Ok(()));
        assert_eq!(insert(b"b", with(600)), Err(NodeProblem::AllXattrs));
        assert_eq!(insert(b"a", with(1000)), Ok(()), "in place of what was there");
        tree.remove(NodeId::ROOT, b"a");
        assert_eq!(tree.xattrs, ALL_XATTRS_MAX - 1000);
    }
}
