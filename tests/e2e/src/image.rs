//! Container images written by hand, so that a test decides about every byte of a layer.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{cache, packages, succeed};

/// An image that is being put together.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<PathOrBytes>,
    config: Value,
}

#[derive(Clone, Debug)]
enum PathOrBytes {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

impl PathOrBytes {
    fn read(&self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Path(path) => fs::read(path)?,
            Self::Bytes(bytes) => bytes.clone(),
        })
    }
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// An image without layers that says nothing about how it is run.
    pub fn new() -> Self {
        Self { layers: Vec::new(), config: json!({}) }
    }

    /// Adds a layer that lies in a file.
    #[must_use]
    pub fn layer_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.layers.push(PathOrBytes::Path(path.into()));
        self
    }

    /// Adds a layer of these bytes.
    #[must_use]
    pub fn layer(mut self, bytes: Vec<u8>) -> Self {
        self.layers.push(PathOrBytes::Bytes(bytes));
        self
    }

    /// Adds a layer of executable files: paths and contents.
    #[must_use]
    pub fn files(self, files: &[(&str, &[u8])]) -> Self {
        let mut layer = Layer::new();
        for (path, content) in files {
            layer.file(path, 0o755, content);
        }
        self.layer(layer.finish())
    }

    /// Sets a field of the image's configuration, named as in the OCI image specification: `Cmd`, `Env`, `User`, ...
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.config[field] = value.into();
        self
    }

    /// Sets `Entrypoint`.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.set("Entrypoint", words.to_vec())
    }

    /// Writes the image as an OCI layout with one tag, `latest`.
    pub fn write_layout(&self, folder: &Path) -> Result<()> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let put = |bytes: &[u8], kind: &str| -> Result<Value> {
            let hash = cache::hex(&Sha256::digest(bytes));
            fs::write(blobs.join(&hash), bytes)?;
            let kind = format!("application/vnd.oci.image.{kind}");
            Ok(json!({ "mediaType": kind, "digest": format!("sha256:{hash}"), "size": bytes.len() }))
        };
        let (mut layers, mut ids) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let descriptor = put(&layer.read()?, "layer.v1.tar")?;
            ids.push(descriptor["digest"].clone());
            layers.push(descriptor);
        }
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let config = put(config.to_string().as_bytes(), "config.v1+json")?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
        let mut manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json")?;
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
        fs::write(
            folder.join("index.json"),
            json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string(),
        )?;
        fs::write(folder.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
        Ok(())
    }

    /// The image's layout in the cache, written once for its content.
    pub fn cached(&self) -> Result<Layout> {
        let mut parts = vec![self.config.to_string().into_bytes()];
        for layer in &self.layers {
            parts.push(layer.read()?);
        }
        let folder = cache::once(&format!("images/{}", cache::key(parts)), |path| self.write_layout(path))?;
        Ok(Layout { folder })
    }
}

/// An image that lies in a folder.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder with `oci-layout`, `index.json` and `blobs`.
    pub folder: PathBuf,
}

impl Layout {
    /// The reference that `isopod` and `skopeo` understand.
    pub fn reference(&self) -> String {
        format!("oci:{}:latest", self.folder.display())
    }

    /// Unpacks the image as `umoci` does and returns the folder that holds its files.
    pub fn unpack(&self, bundle: &Path) -> Result<PathBuf> {
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--image"]).arg(format!("{}:latest", self.folder.display())).arg(bundle);
        succeed(&mut umoci)?;
        Ok(bundle.join("rootfs"))
    }
}

/// A tar archive that is being written, with everything that a layer can hold.
#[expect(missing_debug_implementations, reason = "the crate's builder has none")]
pub struct Layer {
    builder: tar::Builder<Vec<u8>>,
    time: u64,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// An empty archive.
    pub fn new() -> Self {
        Self { builder: tar::Builder::new(Vec::new()), time: 1_600_000_000 }
    }

    fn header(&mut self, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        // Each entry has a time of its own, so that a comparison sees one mistaken for another.
        self.time += 1;
        header.set_mtime(self.time);
        header
    }

    /// Adds an entry whose header was made by hand.
    pub fn raw(&mut self, header: &tar::Header, content: &[u8]) -> &mut Self {
        self.builder.append(header, content).expect("memory takes any bytes");
        self
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> &mut Self {
        self.owned_file(path, mode, 0, 0, content)
    }

    /// Adds a regular file of an owner.
    pub fn owned_file(&mut self, path: &str, mode: u32, uid: u64, gid: u64, content: &[u8]) -> &mut Self {
        let mut header = self.header(tar::EntryType::Regular, mode, content.len() as u64);
        header.set_uid(uid);
        header.set_gid(gid);
        self.builder.append_data(&mut header, path, content).expect("memory takes any bytes");
        self
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: &str, mode: u32) -> &mut Self {
        let mut header = self.header(tar::EntryType::Directory, mode, 0);
        self.builder.append_data(&mut header, path, &b""[..]).expect("memory takes any bytes");
        self
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, to: &str) -> &mut Self {
        let mut header = self.header(tar::EntryType::Symlink, 0o777, 0);
        self.builder.append_link(&mut header, path, to).expect("memory takes any bytes");
        self
    }

    /// Adds another name of a file that is in this layer or one below.
    pub fn hard_link(&mut self, path: &str, to: &str) -> &mut Self {
        let mut header = self.header(tar::EntryType::Link, 0o644, 0);
        self.builder.append_link(&mut header, path, to).expect("memory takes any bytes");
        self
    }

    /// Adds a device, or a named pipe.
    pub fn device(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> &mut Self {
        let mut header = self.header(kind, mode, 0);
        header.set_device_major(major).expect("a ustar header");
        header.set_device_minor(minor).expect("a ustar header");
        self.builder.append_data(&mut header, path, &b""[..]).expect("memory takes any bytes");
        self
    }

    /// Gives the next entry PAX records, such as `SCHILY.xattr.user.name` or `mtime`.
    pub fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        self.builder.append_pax_extensions(records.iter().copied()).expect("memory takes any bytes");
        self
    }

    /// Hides what the layers below have at a path.
    pub fn whiteout(&mut self, path: &str) -> &mut Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let path = if folder.is_empty() { format!(".wh.{name}") } else { format!("{folder}/.wh.{name}") };
        self.file(&path, 0o600, b"")
    }

    /// The archive's bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.builder.into_inner().expect("memory takes any bytes");
        bytes.flush().expect("memory takes any bytes");
        bytes
    }
}

/// The files and folders that every Debian image has before the first package: users, `/tmp`, places for mounts.
pub fn base_layer() -> Vec<u8> {
    let mut layer = Layer::new();
    for (path, mode) in [("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("run", 0o755), ("home", 0o755)] {
        layer.folder(path, mode);
    }
    for path in ["proc", "sys", "dev"] {
        layer.folder(path, 0o755);
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                  app:x:1000:1001:an application:/home/app:/bin/sh\n";
    layer.file("etc/passwd", 0o644, passwd.as_bytes());
    layer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\napp:x:1001:\nextra:x:2002:app\n");
    layer.finish()
}

/// An image of Debian packages, none of their dependencies included.
pub fn debian(packages: &[impl AsRef<str>]) -> Result<Image> {
    Ok(Image::new().layer(base_layer()).layer_file(packages::layer(packages)?))
}

/// An image of Debian packages with all that they depend on, and a shell.
pub fn complete(packages: &[&str]) -> Result<Image> {
    debian(&packages::with_dependencies(&[&["dash", "coreutils"], packages].concat())?)
}
