//! What the tests of this room share: small images, and a registry that serves them as well or as badly as a
//! test wants.

mod registry;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

pub(super) use registry::{Fault, Login, TestRegistry};

use super::{Image, ImageReference, Options, Reference, Silent, SourceError, fetch, resolve};
use crate::store::{Digest, Store};

/// How a layer is transferred.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => compress_to_vec(bytes, CompressionLevel::Fastest),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A tar file of regular files.
pub(in crate::source) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Bytes that do not compress to nothing, different for each `seed`.
pub(in crate::source) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 60) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// An image in all the forms it is stored in.
#[derive(Debug, Clone)]
pub(in crate::source) struct TestImage {
    pub tars: Vec<Vec<u8>>,
    /// The layers as transferred.
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl TestImage {
    /// An image of the given layers for `linux/ARCHITECTURE` whose command is `cmd`.
    pub fn new(tars: Vec<Vec<u8>>, packing: Packing, architecture: &str, cmd: &str) -> Self {
        let diff_ids: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": [cmd] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| packing.pack(tar)).collect();
        let descriptors: Vec<Value> =
            layers.iter().map(|layer| descriptor(packing.media_type(), layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": descriptors,
        });
        Self { tars, layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// One small layer, for this machine's usual platform.
    pub fn small(cmd: &str) -> Self {
        Self::new(vec![tar(&[("bin/app", cmd.as_bytes())])], Packing::Gzip, "amd64", cmd)
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Configuration and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layers.iter().chain([&self.config])
    }

    /// An index entry for the image.
    pub fn entry(&self, architecture: Option<&str>, name: Option<&str>) -> Value {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &self.manifest);
        if let Some(architecture) = architecture {
            entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        }
        if let Some(name) = name {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        entry
    }

    /// Writes the blobs of the image into a layout.
    pub fn write_blobs(&self, dir: &Path) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.blobs().chain([&self.manifest]) {
            fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
        }
    }
}

/// A descriptor of `content`.
pub(in crate::source) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content), "size": content.len() })
}

/// An index of images.
pub(in crate::source) fn index(entries: &[Value]) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    index.to_string().into_bytes()
}

/// Writes the two files of a layout that are not blobs.
pub(in crate::source) fn write_layout(dir: &Path, entries: &[Value]) {
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(dir.join("index.json"), index(entries)).unwrap();
}

/// A store in a directory that goes with it.
pub(in crate::source) struct TestStore {
    pub store: Store,
    pub home: tempfile::TempDir,
}

impl TestStore {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { store: Store::at(home.path()).unwrap(), home }
    }

    /// Resolves and fetches.
    pub fn pull(&self, reference: &str, options: &Options) -> Result<Image, SourceError> {
        let resolved = resolve(&image_reference(reference), options, &self.store, &Silent)?;
        fetch(&resolved, &self.store, &Silent)
    }

    /// How many layers the store holds, and how many temporary files.
    pub fn count(&self) -> (usize, usize) {
        let names = |dir: &str| fs::read_dir(self.home.path().join("cache").join(dir)).unwrap().flatten();
        let is_layer = |entry: &fs::DirEntry| entry.path().extension().is_none();
        (names("layers/sha256").filter(is_layer).count(), names("tmp").count())
    }
}

/// The reference to an image that `text` must be.
pub(in crate::source) fn image_reference(text: &str) -> ImageReference {
    match text.parse() {
        Ok(Reference::Image(reference)) => reference,
        other => panic!("{text}: {other:?}"),
    }
}

/// Makes sure that what was pulled is what `image` holds.
pub(in crate::source) fn assert_same(pulled: &Image, image: &TestImage) {
    let tars: Vec<Vec<u8>> = pulled.layers.iter().map(|layer| fs::read(&layer.tar).unwrap()).collect();
    assert!(tars == image.tars, "the layers differ");
}

/// Makes sure that an error reads well: one line, and one more with what to do.
#[track_caller]
pub(in crate::source) fn assert_readable(error: &SourceError) {
    let hint = error.hint();
    assert!(!hint.is_empty() && !error.to_string().contains('\n') && !hint.contains('\n'), "{error}\n{hint}");
}
