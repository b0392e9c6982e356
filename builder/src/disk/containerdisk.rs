//! What KubeVirt boots from a registry: an OCI image whose only layer has the disk as `/disk/disk.qcow2`, readable for the user 107, whose
//! QEMU it is. Written as `oci-archive`: an [image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md) in a tar.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::json;
use tar::{EntryType, Header};

use super::content::Map;
use super::pass::Sink;
use super::qcow2::{self, Qcow2};
use crate::store::{Digest, DigestWriter};

const BLOCK: u64 = 512;
/// Two blocks of zeros end a tar.
const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
/// User and group of QEMU in KubeVirt.
const QEMU: u64 = 107;
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The layer: hashed as a tar, compressed, hashed as a blob.
type Layer<'a> = DigestWriter<GzEncoder<DigestWriter<&'a File>>>;

/// A file being written.
#[derive(Debug)]
pub(super) struct ContainerDisk<'a> {
    file: &'a File,
    /// Where the header of the layer is, whose name and size are known in the end.
    layer_at: u64,
    disk: Qcow2<Layer<'a>>,
}

impl<'a> ContainerDisk<'a> {
    /// Writes what comes before the data.
    pub fn new(map: &Map, mut file: &'a File) -> io::Result<Self> {
        append(file, "oci-layout", LAYOUT)?;
        let layer_at = file.stream_position()?;
        file.seek(SeekFrom::Current(BLOCK as i64))?;
        let blob = GzBuilder::new().write(DigestWriter::new(file), Compression::fast());
        let mut layer = DigestWriter::new(blob);
        let entry = |name, kind, mode, size| -> io::Result<Header> {
            let mut header = Header::new_gnu();
            header.set_path(name)?;
            header.set_entry_type(kind);
            header.set_uid(QEMU);
            header.set_gid(QEMU);
            Ok(finished(header, mode, size))
        };
        layer.write_all(entry("disk/", EntryType::Directory, 0o555, 0)?.as_bytes())?;
        let size = qcow2::size(map);
        layer.write_all(entry("disk/disk.qcow2", EntryType::Regular, 0o444, size)?.as_bytes())?;
        Ok(Self { file, layer_at, disk: Qcow2::new(map, layer)? })
    }
}

impl Sink for ContainerDisk<'_> {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { file, layer_at, disk } = *self;
        let mut layer = disk.into_inner();
        layer.write_all(&END)?;
        let (tar_digest, blob) = layer.finish();
        let blob = blob.finish()?;
        let size = blob.written();
        let (layer_digest, _) = blob.finish();
        file.write_all_at(header(&blob_name(&layer_digest), size)?.as_bytes(), layer_at)?;
        pad(file, size)?;

        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [tar_digest] },
        });
        let (config, config_digest) = blob_of(file, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": config,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer_digest,
                "size": size,
            }],
        });
        let (manifest, manifest_digest) = blob_of(file, &manifest)?;
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest_digest,
                "size": manifest,
                "platform": { "architecture": "amd64", "os": "linux" },
            }],
        });
        append(file, "index.json", index.to_string().as_bytes())?;
        let mut file = file;
        file.write_all(&END)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Appends a document under its digest; its size, and the digest.
fn blob_of(file: &File, document: &serde_json::Value) -> io::Result<(usize, Digest)> {
    let bytes = document.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    append(file, &blob_name(&digest), &bytes)?;
    Ok((bytes.len(), digest))
}

/// Appends a file to the archive.
fn append(mut file: &File, name: &str, bytes: &[u8]) -> io::Result<()> {
    file.write_all(header(name, bytes.len() as u64)?.as_bytes())?;
    file.write_all(bytes)?;
    pad(file, bytes.len() as u64)
}

/// Fills the last block of a file in the archive.
fn pad(mut file: &File, len: u64) -> io::Result<()> {
    let rest = len.next_multiple_of(BLOCK) - len;
    file.write_all(&[0; BLOCK as usize][..rest as usize])
}

fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_uid(0);
    header.set_gid(0);
    Ok(finished(header, 0o644, size))
}

fn finished(mut header: Header, mode: u32, size: u64) -> Header {
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}
