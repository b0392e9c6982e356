//! How long it takes to write a root as a disk, beside a copy of the root by `cp` and, for what is compressed, by `gzip -1`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use isopod_e2e::packages;

use super::build::{remove, watch};
use super::table::{Row, grouped, median};
use crate::{process, workspace};

/// Packages whose files make a root of some 250 MB.
const PACKAGES: [&str; 8] = [
    "libc6",
    "perl-modules-5.36",
    "libperl5.36",
    "gcc-12",
    "cpp-12",
    "libgcc-12-dev",
    "libpython3.11-stdlib",
    "git",
];
const PLAIN: [&str; 6] = ["raw", "qcow2", "vmdk-sparse", "vhd", "vhdx", "iso"];
const COMPRESSED: [&str; 4] = ["vmdk", "ova", "gce", "containerdisk"];
/// The middle of so many rounds counts, because others use the machine too.
const ROUNDS: usize = 3;

/// Measures every format on a large root, and the size of a disk with a small one.
pub fn measure() -> Result<Vec<Row>> {
    let build = ["build", "--release", "--quiet", "--package", "isopod", "--example", "write-disk"];
    process::run(workspace::cargo().args(build))?;
    let folder = tempfile::tempdir()?;
    let root = large_root(folder.path())?;
    let mut memory = 0;
    let mut rows = Vec::new();
    let copy = time(folder.path(), |out| Command::new("cp").arg(&root).arg(out).status().map(drop))?;
    let gzip = time(folder.path(), |out| {
        Command::new("gzip").args(["-1", "-c"]).arg(&root).stdout(File::create(out)?).status().map(drop)
    })?;
    let plain = worst(folder.path(), &root, &PLAIN, &mut memory)?;
    rows.push(row(
        "Writing a root as a disk that is not compressed, against `cp`",
        "at most 1.2 times",
        &plain,
        copy,
    ));
    let compressed = worst(folder.path(), &root, &COMPRESSED, &mut memory)?;
    rows.push(row(
        "Writing it compressed, against `cp` and `gzip -1`",
        "at most 1.2 times",
        &compressed,
        copy + gzip,
    ));
    rows.push(Row::at_most(
        "Memory of that, any format",
        "below 100 MB",
        memory as f64,
        100e6,
        format!("at most {} MB", memory / 1_000_000),
    ));
    rows.push(small_disk(folder.path())?);
    Ok(rows)
}

/// The slowest of some formats.
struct Slowest {
    format: &'static str,
    time: f64,
}

fn worst(folder: &Path, root: &Path, formats: &[&'static str], memory: &mut u64) -> Result<Slowest> {
    let mut slowest = Slowest { format: "none", time: 0.0 };
    for format in formats {
        let time = time(folder, |out| {
            let cost = watch(&mut write_disk(root, format, out)).map_err(io::Error::other)?;
            *memory = (*memory).max(cost.memory);
            Ok(())
        })?;
        println!("bench: {format} {time:.2} s");
        if time > slowest.time {
            slowest = Slowest { format, time };
        }
    }
    Ok(slowest)
}

fn row(name: &'static str, bound: &'static str, slowest: &Slowest, other: f64) -> Row {
    let Slowest { format, time } = slowest;
    let ratio = time / other;
    Row::at_most(
        name,
        bound,
        ratio,
        1.2,
        format!("{format} {time:.2} s against {other:.2} s, {ratio:.2} times"),
    )
}

/// Seconds that it takes to make a file.
fn time(folder: &Path, mut make: impl FnMut(&Path) -> io::Result<()>) -> Result<f64> {
    let out = folder.join("out");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        remove(&out)?;
        let start = Instant::now();
        make(&out)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

fn write_disk(root: &Path, format: &str, out: &Path) -> Command {
    let mut command = Command::new(workspace::target().join("release/examples/write-disk"));
    command.arg(root).arg(workspace::kernel()).arg(format!("{format}={}", out.display()));
    command
}

/// What real files are made of, in whole blocks.
fn large_root(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("root");
    let mut root = File::create(&path)?;
    let mut layer = File::open(packages::layer(&PACKAGES)?)?;
    let len = io::copy(&mut layer, &mut root)?;
    root.write_all(&vec![0; (len.next_multiple_of(4096) - len) as usize])?;
    Ok(path)
}

/// What a disk takes on the host for an application of one MB and a kernel.
fn small_disk(folder: &Path) -> Result<Row> {
    let (root, out) = (folder.join("hello"), folder.join("hello.raw"));
    let mut content = Vec::new();
    content.extend((0..1u32 << 18).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()));
    std::fs::write(&root, content)?;
    process::run(&mut write_disk(&root, "raw", &out))?;
    let size = std::fs::metadata(out)?.blocks() * 512;
    Ok(Row::at_most(
        "A raw disk of a hello with a root of 1 MiB, as it lies on the host's disk",
        "at most 6 MB, 3 MB over its root",
        size as f64,
        6e6f64.min(3e6 + f64::from(1 << 20)),
        format!("{} bytes", grouped(size)),
    ))
}
