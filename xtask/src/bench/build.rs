//! How long a build takes, beside the tools that others use for the same, and how much memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use isopod_e2e::image::{self, Image, Layout};
use isopod_e2e::registry::Registry;
use isopod_e2e::{packages, succeed};

use super::machine;
use super::table::{Row, median};

/// Packages that make an image of more than 200 MB, a layer for each line.
const LAYERS: [&[&str]; 4] = [
    &["libc6", "libcrypt1", "perl-modules-5.36", "perl-base", "libperl5.36"],
    &["gcc-12", "cpp-12", "libgcc-12-dev"],
    &["libpython3.11-stdlib", "python3.11-minimal", "git"],
    &["vim-runtime", "binutils-x86-64-linux-gnu"],
];

/// How often the builds are measured; the middle counts, because others use the machine too.
const ROUNDS: usize = 5;

/// What was measured of one run of a program.
pub(super) struct Cost {
    pub time: Duration,
    /// The most memory that was resident at once, in bytes.
    pub memory: u64,
}

/// Measures a cold build, one with another top layer, and the competition.
pub fn measure() -> Result<Vec<Row>> {
    let mut image = Image::new().layer(image::base_layer());
    for names in LAYERS {
        image = image.layer_file(packages::layer(names)?);
    }
    let command = ["/usr/bin/perl", "-e", "1"];
    let first = image.clone().files(&[("app", b"#!/usr/bin/perl\nprint 1;\n")]).entrypoint(&command);
    let second = image.files(&[("app", b"#!/usr/bin/perl\nprint 2;\n")]).entrypoint(&command);
    let registry = Registry::start()?;
    let (first, second) =
        (registry.push(&first.cached()?, "app:1")?, registry.push(&second.cached()?, "app:2")?);
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let build = |reference: &str, home: &str, name: &str| -> Result<Cost> {
        let mut command = Command::new(machine::isopod());
        command.args(["build", "-o"]).arg(file(name)).arg(reference).env("ISOPOD_HOME", file(home));
        watch(&mut command)
    };
    let (mut cold, mut changed, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        for name in ["home", "cold.elf", "changed.elf"].map(file) {
            remove(&name)?;
        }
        let cost = build(&first, "home", "cold.elf")?;
        memory = memory.max(cost.memory);
        cold.push(cost.time.as_secs_f64());
        changed.push(build(&second, "home", "changed.elf")?.time.as_secs_f64());
    }
    let (cold, changed) = (median(cold), median(changed));
    // With nothing in the cache, and with everything.
    build(&first, "home", "again.elf")?;
    build(&second, "other-home", "from-nothing.elf")?;
    let same = same_bytes(&file("cold.elf"), &file("again.elf"))?
        && same_bytes(&file("changed.elf"), &file("from-nothing.elf"))?;
    let size = std::fs::metadata(file("cold.elf"))?.len();
    let others = competition(&first, folder.path())?.as_secs_f64();
    Ok(vec![
        Row::at_most(
            "Cold build from a local registry, against `skopeo copy` and `umoci unpack`",
            "at most half the time",
            cold / others,
            0.5,
            format!(
                "{cold:.2} s against {others:.2} s for {} MB, {:.2} times",
                size / 1_000_000,
                cold / others
            ),
        ),
        Row::at_most(
            "Memory of that build",
            "below 150 MB",
            memory as f64,
            150e6,
            format!("{} MB", memory / 1_000_000),
        ),
        Row::at_most(
            "Build after a change of a small top layer, against the cold build",
            "below a third of the time",
            changed / cold,
            1.0 / 3.0,
            format!("{changed:.2} s, {:.2} times", changed / cold),
        ),
        Row {
            name: "Two builds of one image",
            bound: "the same bytes",
            measured: if same { "the same bytes" } else { "other bytes" }.to_owned(),
            kept: Some(same),
        },
    ])
}

/// Removes a file or folder, if there is one.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}

/// Copies the image from the registry and unpacks it, as those do who have no Isopod.
fn competition(reference: &str, folder: &Path) -> Result<Duration> {
    let layout = Layout { folder: folder.join("copied") };
    let start = Instant::now();
    let mut skopeo = Command::new("skopeo");
    skopeo.args([
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        &format!("docker://{reference}"),
        &layout.reference(),
    ]);
    succeed(&mut skopeo)?;
    layout.unpack(&folder.join("bundle"))?;
    Ok(start.elapsed())
}

/// Runs a program and watches how much memory it takes.
pub(super) fn watch(command: &mut Command) -> Result<Cost> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    let ended = loop {
        // The high-water mark only grows, so the last value seen is the one that counts.
        if let Ok(text) = std::fs::read_to_string(&status)
            && let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:"))
        {
            memory = line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1024;
        }
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if !ended.success() {
        bail!("{command:?} failed: {ended}");
    }
    Ok(Cost { time: start.elapsed(), memory })
}
