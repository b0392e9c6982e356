//! Archives as Linux unpacks them at boot: `cpio`'s format `newc` (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Types of files among the bits of their mode.
const FOLDER: u32 = 0o040_000;
const DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive that is being written.
pub struct Archive(Vec<u8>);

impl Archive {
    /// An archive with `/init`, `/dev` and the console in it.
    pub fn with_init(init: &[u8]) -> Self {
        let mut archive = Self(Vec::new());
        archive.folder("dev");
        archive.entry("dev/console", DEVICE | 0o600, (5, 1), b"");
        archive.file("init", init);
        archive
    }

    /// Adds a folder without what is in it.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, (0, 0), b"");
    }

    /// Adds a program or other file.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, REGULAR | 0o755, (0, 0), content);
    }

    /// Adds a folder with all that is in it.
    pub fn tree(&mut self, name: &str, folder: &Path) -> Result<()> {
        self.entry(name, fs::metadata(folder)?.mode(), (0, 0), b"");
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{name}/{}", entry.file_name().to_str().context("a name of letters")?);
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                self.tree(&name, &path)?;
            } else if metadata.is_symlink() {
                self.entry(&name, metadata.mode(), (0, 0), fs::read_link(path)?.as_os_str().as_bytes());
            } else {
                self.entry(&name, metadata.mode(), (0, 0), &fs::read(path)?);
            }
        }
        Ok(())
    }

    /// The archive's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.0
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let fields =
            [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        self.0.extend(b"070701");
        self.0.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        for part in [[name.as_bytes(), b"\0"].concat().as_slice(), content] {
            self.0.extend(part);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
    }
}
