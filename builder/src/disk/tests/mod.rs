//! Disks as the tools of others read them: `sgdisk`, `fsck`, `qemu-img`, `tar`, `skopeo`, `xorriso`.

mod archives;
mod formats;
mod layout;
mod targets;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{NamedTempFile, TempDir};

use super::*;
use crate::link::{Loading, Segment};
use crate::root::{Content, Kind as NodeKind, Meta, Tree, erofs};
use crate::store::Digest;

const MANIFEST: &[u8] = b"a manifest, of which the disk knows no more than its length";
const EFI: &str = "EFI/BOOT/BOOTX64.EFI";

/// What a program prints that must succeed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// Bytes of which no two pages are alike and which compress a little.
fn content(len: usize) -> Vec<u8> {
    (0..len as u64 / 4).flat_map(|word| (word as u32).wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// A root with a file of so many bytes.
fn root(len: usize) -> NamedTempFile {
    let mut tree = Tree::new();
    let file = NodeKind::File(Content::bytes(content(len)));
    tree.insert(b"bin/app", Meta::with_mode(0o755), file).unwrap();
    let file = NamedTempFile::new().unwrap();
    erofs::Image::plan(&tree).unwrap().write(file.as_file()).unwrap();
    file
}

/// What is on a disk that firmware of both kinds could start.
fn contents<'a>(root: &'a File, program: &'a [u8]) -> Contents<'a> {
    let efi = vec![
        EfiFile { path: EFI, data: Data::Bytes(program.into()) },
        EfiFile { path: "EFI/ISOPOD/EMPTY", data: Data::from(Vec::new()) },
        EfiFile { path: "EFI/ISOPOD/NOTE.TXT", data: Data::from(b"note".to_vec()) },
    ];
    let segment = Segment { offset: 4096, len: 5000, to: 2 << 20, zero: 100 };
    let loading = Loading {
        entry: 0x20_1234,
        segments: vec![segment],
        directory: 0x20_2000,
        root: 3 << 20,
        end: 4 << 20,
    };
    let bios = Bios { kernel: 8192, loading };
    Contents { identity: Digest::of(b"root"), root, manifest: MANIFEST, efi, bios: Some(bios) }
}

fn machine() -> Machine {
    Machine {
        name: "web".to_owned(),
        memory: 256,
        cpus: 2,
        hardware: Hardware::Vmware(13),
        firmware: Firmware::Efi,
        bus: Bus::Pvscsi,
        card: Card::Vmxnet3,
        properties: vec![("greeting".to_owned(), "\"a\" < 'b' & c".to_owned())],
    }
}

/// Formats of a disk, written into a directory as `disk.EXTENSION`, the raw one always among them.
struct Written {
    dir: TempDir,
}

impl Written {
    fn new(disk: &Disk<'_>, formats: &[Format]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<Format> = [Format::Raw].into_iter().chain(formats.iter().copied()).collect();
        let file = |format: &Format| {
            let path = dir.path().join(format.name());
            File::options().read(true).write(true).create_new(true).open(path).unwrap()
        };
        let files: Vec<File> = all.iter().map(file).collect();
        let outputs: Vec<(Format, &File)> = all.iter().copied().zip(&files).collect();
        write(disk, &machine(), &outputs).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bytes(&self, format: Format) -> Vec<u8> {
        std::fs::read(self.path(format.name())).unwrap()
    }

    /// Holds an image in `qemu_format` against the raw disk.
    fn compare(&self, path: &Path, qemu_format: &str) {
        let raw = self.path(Format::Raw.name());
        let size = std::fs::metadata(&raw).unwrap().len();
        let (raw, path) = (raw.to_str().unwrap(), path.to_str().unwrap());
        run("qemu-img", &["compare", "-f", "raw", "-F", qemu_format, raw, path]);
        // To a comparison, zeros behind the end are as good as no more bytes.
        let about = run("qemu-img", &["info", "--output=json", "-f", qemu_format, path]);
        let about: serde_json::Value = serde_json::from_str(&about).unwrap();
        assert_eq!(about["virtual-size"], size, "{qemu_format}");
    }
}
