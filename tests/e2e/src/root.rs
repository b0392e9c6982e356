//! Roots that are damaged on purpose: an image of ours as Isopod keeps it, changed behind its back, and booted.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::image::{Image, Layer, Layout, base_layer};
use crate::isopod::{Isopod, Outcome};
use crate::{programs, run_limited, succeed};

/// Bytes of a block.
const BLOCK: usize = 4096;
/// Where the superblock is.
pub const SUPERBLOCK: usize = 1024;

/// Long enough for a machine that walks a damaged tree.
const LIMIT: Duration = Duration::from_mins(1);

/// An image with a program that walks a tree of everything, and a cache that holds its root.
#[derive(Debug)]
pub struct Root {
    _folder: TempDir,
    isopod: Isopod,
    layout: Layout,
    plain: Layout,
    path: PathBuf,
    command: String,
    program_size: usize,
    /// The root as it was written.
    pub good: Vec<u8>,
}

/// The tree that is walked: every kind of file, and every layout in which the root's writer stores them. Other tools do not know the
/// archive's form of files `with_hole`s.
fn tree(with_hole: bool) -> Vec<u8> {
    let mut layer = Layer::new();
    layer.folder("tree", 0o755);
    for number in 0..400 {
        layer.file(
            &format!("tree/many/a-file-with-a-long-name-{number:04}"),
            0o644,
            number.to_string().as_bytes(),
        );
    }
    let plain: Vec<u8> = (0..20_000_u32).map(|at| (at / 7) as u8).collect();
    layer.file("tree/plain", 0o644, &plain).file("tree/empty", 0o644, b"").file(
        "tree/page",
        0o600,
        &plain[..BLOCK],
    );
    layer.pax(&[("SCHILY.xattr.user.name", b"value"), ("SCHILY.xattr.security.other", &[7; 300])]);
    layer.file("tree/attributes", 0o644, b"some content");
    layer
        .symlink("tree/link", "plain")
        .symlink("tree/long-link", &"x/".repeat(40))
        .hard_link("tree/hard", "tree/plain");
    layer.device("tree/null", tar::EntryType::Char, 0o666, 1, 3).device(
        "tree/pipe",
        tar::EntryType::Fifo,
        0o644,
        0,
        0,
    );
    // Nothing but a hole, stored as chunks: a sparse file of the old GNU format without data.
    let mut sparse = tar::Header::new_gnu();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_path("tree/sparse").expect("a short path");
    sparse.set_mode(0o644);
    sparse.set_size(0);
    sparse.as_gnu_mut().expect("a GNU header").set_real_size(1 << 20);
    sparse.set_cksum();
    if with_hole {
        layer.raw(&sparse, b"");
    }
    let mut deep = String::from("tree");
    for _ in 0..5 {
        deep.push_str("/deep");
        layer.folder(&deep, 0o755);
    }
    layer.finish()
}

impl Root {
    /// Makes the image and has Isopod prepare its root.
    pub fn new() -> Result<Self> {
        let walk = programs::bytes(&programs::compile("gcc", "walk.c", &["-O1", "-static"])?)?;
        let image = |with_hole| {
            let image = Image::new().layer(base_layer()).files(&[("walk", &walk)]);
            image.layer(tree(with_hole)).entrypoint(&["/walk"]).cached()
        };
        let (layout, plain) = (image(true)?, image(false)?);
        let folder = tempfile::tempdir()?;
        let isopod = Isopod::with_home(folder.path()).limit(LIMIT);
        let printed = isopod.run(&["run", "--accel", "tcg", "--print-cmd", &layout.reference()])?;
        printed.expect_status(0);
        let roots = fs::read_dir(folder.path().join("cache/roots"))?.flatten().map(|entry| entry.path());
        let path = roots.into_iter().find(|path| path.extension().is_some_and(|end| end == "erofs"));
        let path = path.context("a run leaves a root")?;
        let good = fs::read(&path)?;
        Ok(Self {
            _folder: folder,
            isopod,
            layout,
            plain,
            path,
            command: printed.stdout,
            program_size: walk.len(),
            good,
        })
    }

    /// Where the files' data begins; before it lies what describes them. The first file of the root is the program.
    pub fn data_start(&self) -> usize {
        self.program(&self.good).start
    }

    /// Where the program lies in a root.
    pub fn program(&self, root: &[u8]) -> Range<usize> {
        let mut starts = (0..root.len()).step_by(BLOCK);
        let start = starts.find(|&at| root[at..].starts_with(b"\x7fELF")).unwrap_or(root.len());
        start..root.len().min(start + self.program_size)
    }

    /// Runs the image through Isopod, its root being `root`.
    pub fn run(&self, root: &[u8]) -> Result<Outcome> {
        self.replace(root)?;
        self.isopod.run(&["run", &self.layout.reference()])
    }

    /// Boots a machine by hand, past everything that Isopod looks at beforehand; what it said on its console.
    pub fn boot(&self, root: &[u8]) -> Result<String> {
        self.replace(root)?;
        let finished = run_limited(Command::new("sh").arg("-c").arg(&self.command), b"", LIMIT)?;
        Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    fn replace(&self, root: &[u8]) -> Result<()> {
        // In a new file: what a machine that still ends has mapped stays as it is.
        let part = self.path.with_extension("part");
        fs::write(&part, root)?;
        fs::rename(&part, &self.path)?;
        // The cache knows what was put there by size, inode and change, and would write it again: who means harm tells it otherwise.
        let about = fs::metadata(&self.path)?;
        let (size, inode, seconds, nanos) = (about.len(), about.ino(), about.ctime(), about.ctime_nsec());
        let stamp = format!("{size} {inode} {seconds}.{nanos:09} \n");
        Ok(fs::write(self.path.with_extension("erofs.stamp"), stamp)?)
    }

    /// The same files, but for the one that is a hole, in an image by `mkfs.erofs`, which uses layouts that our own writer does not.
    pub fn by_mkfs(&self, options: &[&str]) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let files = self.plain.unpack(&folder.path().join("bundle"))?;
        let out = folder.path().join("root");
        succeed(Command::new("mkfs.erofs").args(options).arg(&out).arg(files))?;
        Ok(fs::read(out)?)
    }

    /// Where the inode of a file lies.
    pub fn inode(&self, path: &str) -> Result<usize> {
        let mut inode = half(&self.good, SUPERBLOCK + 14) * 32;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entry = self.entry(inode, name)?;
            inode = word(&self.good, entry) * 32;
        }
        Ok(inode)
    }

    /// Where the entry of `name` lies, in a folder whose inode is at `folder`.
    pub fn entry(&self, folder: usize, name: &str) -> Result<usize> {
        for (start, length) in self.blocks(folder) {
            let block = &self.good[start..start + length];
            let count = half(block, 8) / 12;
            for index in 0..count {
                let from = half(block, index * 12 + 8);
                let to = if index + 1 < count { half(block, index * 12 + 20) } else { length };
                if block[from..to].split(|byte| *byte == 0).next() == Some(name.as_bytes()) {
                    return Ok(start + index * 12);
                }
            }
        }
        anyhow::bail!("there is no {name}")
    }

    /// Where the blocks of a folder are, and how much of each is its.
    pub fn blocks(&self, folder: usize) -> Vec<(usize, usize)> {
        let extended = self.good[folder] & 1 != 0;
        let size = word(&self.good, folder + 8);
        let first = word(&self.good, folder + 16) * BLOCK;
        let behind = folder + if extended { 64 } else { 32 };
        let is_inline = self.good[folder] >> 1 & 7 == 2;
        (0..size.div_ceil(BLOCK))
            .map(|index| {
                let length = BLOCK.min(size - index * BLOCK);
                let at = if is_inline && length < BLOCK { behind } else { first + index * BLOCK };
                (at, length)
            })
            .collect()
    }
}

fn half(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8
}

fn word(bytes: &[u8], at: usize) -> usize {
    half(bytes, at) | half(bytes, at + 2) << 16
}
