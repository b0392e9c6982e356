//! A place for one test: a folder, and `isopod` with a cache of its own in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::image::{Image, Layer, base_layer};
use crate::isopod::Isopod;
use crate::programs;

/// A folder that goes with the test, and `isopod` with a cache in it.
#[derive(Debug)]
pub struct Room {
    folder: TempDir,
    /// The program, with its home in the folder.
    pub isopod: Isopod,
}

impl Room {
    /// An empty room.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let isopod = Isopod::with_home(&folder.path().join("home"));
        Ok(Self { folder, isopod })
    }

    /// The path of `name` in the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The names in the folder, hidden ones too, but for the program's home.
    pub fn names(&self) -> Result<BTreeSet<PathBuf>> {
        let mut names = fs::read_dir(&self.folder)?
            .map(|entry| Ok(entry?.file_name().into()))
            .collect::<Result<BTreeSet<PathBuf>>>()?;
        names.remove(&PathBuf::from("home"));
        Ok(names)
    }

    /// The files that were left half written in the cache, or are being written where that takes a name.
    pub fn half_written(&self) -> Result<Vec<PathBuf>> {
        match fs::read_dir(self.path("home/cache/tmp")) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Builds a source, which must be refused with this message and leave nothing.
    #[track_caller]
    pub fn refuses(&self, source: &str, message: &str) -> Result<()> {
        let before = self.names()?;
        self.isopod.run(&["build", "-o", &self.path("app.elf"), source])?.expect_refusal(message);
        assert_eq!(self.names()?, before, "what {source} left");
        assert_eq!(self.half_written()?, [] as [PathBuf; 0], "what {source} left in the cache");
        Ok(())
    }

    /// Builds an image that says hello: the cache works.
    #[track_caller]
    pub fn still_works(&self) -> Result<()> {
        let source = hello_image()?.cached()?.reference();
        self.isopod.run(&["build", "-o", &self.path("good.elf"), &source])?.expect_status(0);
        Ok(())
    }
}

/// A program that says hello.
pub fn hello() -> Result<Vec<u8>> {
    programs::bytes(&programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?)
}

/// An image that says hello.
pub fn hello_image() -> Result<Image> {
    Ok(Image::new().layer(base_layer()).files(&[("hello", &hello()?)]).entrypoint(&["/hello"]))
}

/// That image with as many megabytes as said of what cannot be compressed.
pub fn large_image(megabytes: usize) -> Result<Image> {
    let mut noise = Layer::new();
    let mut state = 1u64;
    for index in 0..megabytes {
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 32) as u32
        });
        let bytes: Vec<u8> = words.take(1 << 18).flat_map(u32::to_le_bytes).collect();
        noise.file(&format!("noise/{index}"), 0o644, &bytes);
    }
    Ok(hello_image()?.layer(noise.finish()))
}
