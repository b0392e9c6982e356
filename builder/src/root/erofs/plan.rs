//! Where everything will lie. Planning first lets the image be written front to back.

use std::collections::HashMap;

use super::super::error::{NodeProblem, RootError};
use super::super::printable;
use super::super::tree::{Kind, NodeId, Timestamp, Tree};
use super::chunks::{self, Chunks};
use super::inode::{self, Inode, Layout};
use super::{BLOCK, SLOT, dirent, superblock, xattr};

/// Where the data of a node lies.
#[derive(Debug)]
pub(super) enum Body {
    /// It has none.
    None,
    /// All of it behind the inode.
    Inline,
    /// In blocks from `start` on; with `inline_tail` what would not fill a block lies behind the inode.
    Blocks { start: u32, inline_tail: bool },
    /// In chunks, those that are stored from the block `start` on.
    Chunks { start: u32, chunks: Chunks },
}

#[derive(Debug)]
struct Place {
    /// The inode's offset in slots: its node id.
    slot: u32,
    compact: bool,
    body: Body,
}

/// The layout of one image.
#[derive(Debug)]
pub(super) struct Plan<'t> {
    tree: &'t Tree,
    order: Vec<NodeId>,
    /// By node; those that are in the order have one.
    places: Vec<Option<Place>>,
    epoch: Timestamp,
    data_start: u64,
    blocks: u64,
}

impl<'t> Plan<'t> {
    /// # Errors
    /// What the format cannot hold.
    pub(super) fn new(tree: &'t Tree) -> Result<Self, RootError> {
        let order = breadth_first(tree);
        let epoch = commonest_time(tree, &order);
        let mut places = Vec::new();
        places.resize_with(tree.table_len(), || None);
        let mut plan = Self { tree, order, places, epoch, data_start: 0, blocks: 0 };
        let (mut end, mut overhead) = (superblock::END, 0);
        for index in 0..plan.order.len() {
            let id = plan.order[index];
            let (place, place_end) =
                plan.place_inode(id, end, &mut overhead).map_err(|problem| plan.refused(id, problem))?;
            plan.places[id.index()] = Some(place);
            end = place_end;
        }
        let mut next = end.div_ceil(BLOCK);
        plan.place_blocks(&mut next, |kind| !matches!(kind, Kind::File(_)))?;
        plan.data_start = next;
        plan.place_blocks(&mut next, |kind| matches!(kind, Kind::File(_)))?;
        plan.blocks = next;
        Ok(plan)
    }

    /// Places an inode at or after the byte `from`, with all that lies behind it, and tells where that ends. What a sparse file takes
    /// beyond its data is added to `overhead`.
    fn place_inode(&self, id: NodeId, from: u64, overhead: &mut u64) -> Result<(Place, u64), NodeProblem> {
        let node = self.tree.node(id);
        let size = self.size(id);
        let compact = inode::is_compact(&node.meta, self.links(id), size, self.epoch);
        let inode = if compact { inode::COMPACT } else { inode::EXTENDED };
        let xattrs = xattr::size(&node.meta.xattrs).ok_or_else(|| {
            let names: Vec<_> = node.meta.xattrs.keys().map(|name| printable(name)).collect();
            NodeProblem::Xattr(names.join(", "))
        })?;
        let head = inode + xattrs as u64;
        let tail = size % BLOCK;
        let (body, behind) = match &node.kind {
            Kind::File(content) => {
                let (chunks, more) = Chunks::of(content);
                *overhead = overhead.saturating_add(more);
                if *overhead > chunks::OVERHEAD_MAX {
                    return Err(NodeProblem::Scattered(*overhead));
                }
                match chunks {
                    Some(chunks) => {
                        let map = chunks.map_bytes();
                        (Body::Chunks { start: 0, chunks }, map)
                    }
                    None if size == 0 => (Body::None, 0),
                    None => (Body::Blocks { start: 0, inline_tail: false }, 0),
                }
            }
            Kind::Directory(_) | Kind::Symlink(_) if head + tail <= BLOCK => match size / BLOCK {
                0 => (Body::Inline, tail),
                _ => (Body::Blocks { start: 0, inline_tail: tail > 0 }, tail),
            },
            Kind::Directory(_) | Kind::Symlink(_) => (Body::Blocks { start: 0, inline_tail: false }, 0),
            _ => (Body::None, 0),
        };
        // What fits into one block is kept in one, and an inode always is.
        let together = if head + behind <= BLOCK { head + behind } else { inode };
        let mut at = from.next_multiple_of(SLOT);
        if at / BLOCK != (at + together - 1) / BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        // 32 bits for slots are 128 GiB of metadata, for which no tree has nodes enough.
        Ok((Place { slot: (at / SLOT) as u32, compact, body }, at + head + behind))
    }

    /// Gives blocks, from `next` on, to the nodes of a kind that need some.
    fn place_blocks(&mut self, next: &mut u64, of: impl Fn(&Kind) -> bool) -> Result<(), RootError> {
        for index in 0..self.order.len() {
            let id = self.order[index];
            let size = self.size(id);
            if !of(&self.tree.node(id).kind) {
                continue;
            }
            let Some(place) = &mut self.places[id.index()] else { continue };
            let (start, blocks) = match &mut place.body {
                Body::Blocks { start, inline_tail: true } => (start, size / BLOCK),
                Body::Blocks { start, inline_tail: false } => (start, size.div_ceil(BLOCK)),
                Body::Chunks { start, chunks } => (start, chunks.stored_blocks),
                Body::None | Body::Inline => continue,
            };
            *start = *next as u32;
            // The highest address stands for a hole.
            *next = next
                .checked_add(blocks)
                .filter(|&end| end < u64::from(u32::MAX))
                .ok_or(RootError::TooLarge)?;
        }
        Ok(())
    }

    /// Appends an inode and what lies behind it; `index` is its place in the order.
    pub(super) fn encode(&self, index: usize, id: NodeId, bytes: &mut Vec<u8>) {
        let node = self.tree.node(id);
        let place = self.place(id);
        let (layout, data) = match (&place.body, &node.kind) {
            (_, Kind::CharDevice(device) | Kind::BlockDevice(device)) => {
                (Layout::FlatPlain, inode::device(*device))
            }
            (Body::None, _) => (Layout::FlatPlain, 0),
            (Body::Inline, _) => (Layout::FlatInline, 0),
            (Body::Blocks { start, inline_tail: true }, _) => (Layout::FlatInline, *start),
            (Body::Blocks { start, inline_tail: false }, _) => (Layout::FlatPlain, *start),
            (Body::Chunks { chunks, .. }, _) => (Layout::ChunkBased, chunks.bits),
        };
        let xattrs = &node.meta.xattrs;
        let inode = Inode {
            number: index as u32 + 1,
            meta: &node.meta,
            mode: inode::type_bits(&node.kind) | node.meta.mode,
            links: self.links(id),
            size: self.size(id),
            layout,
            data,
            xattr_count: xattr::count(xattr::size(xattrs).unwrap_or(0)),
        };
        inode.encode(place.compact, bytes);
        xattr::encode(xattrs, bytes);
        match (&place.body, &node.kind) {
            (Body::Inline | Body::Blocks { inline_tail: true, .. }, kind) => {
                let data = self.metadata(id, kind);
                bytes.extend(&data[data.len() - data.len() % BLOCK as usize..]);
            }
            (Body::Chunks { start, chunks }, Kind::File(content)) => chunks.encode(content, *start, bytes),
            _ => {}
        }
    }

    /// What of a directory or a symbolic link lies in blocks of its own; `None` for other nodes.
    pub(super) fn metadata_blocks(&self, id: NodeId) -> Option<Vec<u8>> {
        let kind = &self.tree.node(id).kind;
        if !matches!(kind, Kind::Directory(_) | Kind::Symlink(_)) {
            return None;
        }
        let mut data = self.metadata(id, kind);
        if let Body::Blocks { inline_tail: true, .. } = self.body(id) {
            data.truncate(data.len() - data.len() % BLOCK as usize);
        }
        Some(data)
    }

    /// The data of a directory or a symbolic link.
    fn metadata(&self, id: NodeId, kind: &Kind) -> Vec<u8> {
        match kind {
            Kind::Directory(directory) => dirent::encode(&dirent::names(id, directory), |id| {
                (self.place(id).slot.into(), dirent::file_type(&self.tree.node(id).kind))
            }),
            Kind::Symlink(target) => target.to_vec(),
            _ => Vec::new(),
        }
    }

    fn size(&self, id: NodeId) -> u64 {
        match &self.tree.node(id).kind {
            Kind::File(content) => content.len(),
            Kind::Directory(directory) => dirent::size(&dirent::names(id, directory)),
            Kind::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    fn links(&self, id: NodeId) -> u32 {
        let node = self.tree.node(id);
        node.as_directory().map_or(node.names(), |directory| {
            let below = directory.entries().filter(|&(_, id)| self.tree.node(id).as_directory().is_some());
            2 + below.count() as u32
        })
    }

    fn refused(&self, id: NodeId, problem: NodeProblem) -> RootError {
        RootError::Node { path: self.path(id), problem }
    }

    fn place(&self, id: NodeId) -> &Place {
        self.places[id.index()].as_ref().expect("all nodes in the order have a place")
    }

    /// All nodes, the root first, the entries of each directory together.
    pub(super) fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// Where the data of a node lies.
    pub(super) fn body(&self, id: NodeId) -> &Body {
        &self.place(id).body
    }

    /// Where a node's inode lies, in bytes.
    pub(super) fn offset(&self, id: NodeId) -> u64 {
        u64::from(self.place(id).slot) * SLOT
    }

    /// A path that leads to a node, for messages.
    pub(super) fn path(&self, id: NodeId) -> String {
        printable(&self.tree.path_of(id))
    }

    /// The time of compact inodes.
    pub(super) fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// The block of the first file's data.
    pub(super) fn data_start(&self) -> u64 {
        self.data_start
    }

    /// How many blocks the image has.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether there are files in chunks.
    pub(super) fn has_chunks(&self) -> bool {
        self.places.iter().flatten().any(|place| matches!(place.body, Body::Chunks { .. }))
    }
}

/// All nodes, the root first. The entries of a directory follow each other, so that listing it touches few pages.
fn breadth_first(tree: &Tree) -> Vec<NodeId> {
    let mut seen = vec![false; tree.table_len()];
    let mut order = vec![NodeId::ROOT];
    let mut next = 0;
    while let Some(&id) = order.get(next) {
        next += 1;
        let Some(directory) = tree.node(id).as_directory() else { continue };
        let new = directory.entries().map(|(_, id)| id);
        order.extend(new.filter(|id| !std::mem::replace(&mut seen[id.index()], true)));
    }
    order
}

/// The time that most nodes have, the earliest of several.
fn commonest_time(tree: &Tree, order: &[NodeId]) -> Timestamp {
    let mut counts: HashMap<Timestamp, u32> = HashMap::new();
    for &id in order {
        let mtime = tree.node(id).meta.mtime;
        // Readers differ in whether the superblock's time has a sign.
        if mtime.seconds >= 0 {
            *counts.entry(mtime).or_default() += 1;
        }
    }
    let commonest = counts.into_iter().max_by_key(|&(time, count)| (count, std::cmp::Reverse(time)));
    commonest.map_or(Timestamp::default(), |(time, _)| time)
}
