//! Paths to nodes, `path_resolution(7)`: symbolic links are followed inside the tree, and `..` ends at its root.

use std::slice;

use super::{Kind, NodeId, Tree};
use crate::root::error::NodeProblem;

/// Linux follows as many symbolic links on one path (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;

/// How far the directories of a path exist.
#[derive(Debug)]
pub(in crate::root) struct Walk {
    /// The last directory that exists.
    pub(in crate::root) at: NodeId,
    /// The names beyond it. The first may exist, but then is no directory.
    pub(in crate::root) missing: Vec<Box<[u8]>>,
}

/// Why a path leads to no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// ENOENT or ENOTDIR.
    #[error("no such file or directory")]
    NotFound,
    /// ELOOP.
    #[error("too many levels of symbolic links")]
    TooManyLinks,
}

type Names<'a> = slice::Split<'a, u8, fn(&u8) -> bool>;

fn names(path: &[u8]) -> Names<'_> {
    path.split(|&byte| byte == b'/')
}

impl Tree {
    /// The node at `path`; a symbolic link at its end is followed too.
    pub fn lookup(&self, path: &[u8]) -> Result<NodeId, LookupError> {
        let mut directory = NodeId::ROOT;
        let mut path = path;
        for _ in 0..=LINKS_MAX {
            let (parent, id) = self.lookup_from(directory, path)?;
            let Kind::Symlink(target) = &self.node(id).kind else { return Ok(id) };
            directory = if target.starts_with(b"/") { NodeId::ROOT } else { parent };
            path = target;
        }
        Err(LookupError::TooManyLinks)
    }

    /// The node at `path`; a symbolic link at its end is what is looked for.
    pub fn lookup_nofollow(&self, path: &[u8]) -> Result<NodeId, LookupError> {
        self.lookup_from(NodeId::ROOT, path).map(|(_, id)| id)
    }

    /// The directory that holds the last name of `path`, and what the name stands for.
    fn lookup_from(&self, from: NodeId, path: &[u8]) -> Result<(NodeId, NodeId), LookupError> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let directories = |path| match self.walk(from, path) {
            Ok(walk) if walk.missing.is_empty() => Ok(walk.at),
            Ok(_) => Err(LookupError::NotFound),
            Err(_) => Err(LookupError::TooManyLinks),
        };
        if matches!(name, b"" | b"." | b"..") {
            return directories(path).map(|id| (id, id));
        }
        let parent = directories(parent)?;
        let id = self.child(parent, name).ok_or(LookupError::NotFound)?;
        Ok((parent, id))
    }

    /// Follows `path`, all of it directories, as far as it exists. A name that does not exist is taken for a directory to be made,
    /// so that `..` behind it leads back, as in the *securejoin* of other unpackers.
    pub(in crate::root) fn walk(&self, from: NodeId, path: &[u8]) -> Result<Walk, NodeProblem> {
        let mut walk = Walk { at: from, missing: Vec::new() };
        let mut links = 0;
        let mut rest = vec![names(path)];
        while let Some(names_left) = rest.last_mut() {
            match names_left.next() {
                None => {
                    rest.pop();
                }
                Some(b"" | b".") => {}
                Some(b"..") => {
                    if walk.missing.pop().is_none()
                        && let Some(directory) = self.node(walk.at).as_directory()
                    {
                        walk.at = directory.parent();
                    }
                }
                Some(name) => {
                    let child = if walk.missing.is_empty() { self.child(walk.at, name) } else { None };
                    match child.map(|id| (id, &self.node(id).kind)) {
                        Some((id, Kind::Directory(_))) => walk.at = id,
                        Some((_, Kind::Symlink(target))) => {
                            links += 1;
                            if links > LINKS_MAX {
                                return Err(NodeProblem::TooManyLinks);
                            }
                            if target.starts_with(b"/") {
                                walk.at = NodeId::ROOT;
                            }
                            rest.push(names(target));
                        }
                        _ => walk.missing.push(name.into()),
                    }
                }
            }
        }
        Ok(walk)
    }
}
