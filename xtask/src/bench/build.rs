//! How long a build takes, beside the tools that others use for the same, and how much memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use isopod_e2e::image::{self, Image, Layout};
use isopod_e2e::registry::Registry;
use isopod_e2e::{packages, succeed};

use super::machine;
use super::table::Row;

/// Packages that make an image of more than 200 MB, a layer for each line.
const LAYERS: [&[&str]; 4] = [
    &["libc6", "libcrypt1", "perl-modules-5.36", "perl-base", "libperl5.36"],
    &["gcc-12", "cpp-12", "libgcc-12-dev"],
    &["libpython3.11-stdlib", "python3.11-minimal", "git"],
    &["vim-runtime", "binutils-x86-64-linux-gnu"],
];

/// What was measured of one run of a program.
struct Cost {
    time: Duration,
    /// The most memory that was resident at once, in bytes.
    memory: u64,
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
    let home = folder.path().join("home");
    let build = |reference: &str, home: &Path, name: &str| -> Result<Cost> {
        let file = folder.path().join(name);
        let mut command = Command::new(machine::isopod());
        command.args(["build", "-o"]).arg(&file).arg(reference).env("ISOPOD_HOME", home);
        watch(&mut command)
    };
    let cold = build(&first, &home, "cold.elf")?;
    let changed = build(&second, &home, "changed.elf")?;
    build(&first, &folder.path().join("other-home"), "again.elf")?;
    let same =
        std::fs::read(folder.path().join("cold.elf"))? == std::fs::read(folder.path().join("again.elf"))?;
    let size = std::fs::metadata(folder.path().join("cold.elf"))?.len();
    let others = competition(&first, folder.path())?;
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    Ok(vec![
        Row::at_most(
            "Cold build from a local registry, against `skopeo copy` and `umoci unpack`",
            "at most half the time",
            ratio(cold.time, others),
            0.5,
            format!(
                "{:.2} s against {:.2} s for {} MB, {:.2} times",
                cold.time.as_secs_f64(),
                others.as_secs_f64(),
                size / 1_000_000,
                ratio(cold.time, others)
            ),
        ),
        Row::at_most(
            "Memory of that build",
            "below 150 MB",
            cold.memory as f64,
            150e6,
            format!("{} MB", cold.memory / 1_000_000),
        ),
        Row::at_most(
            "Build after a change of a small top layer, against the cold build",
            "below a third of the time",
            ratio(changed.time, cold.time),
            1.0 / 3.0,
            format!("{:.2} s, {:.2} times", changed.time.as_secs_f64(), ratio(changed.time, cold.time)),
        ),
        Row {
            name: "Two builds of one image",
            bound: "the same bytes",
            measured: if same { "the same bytes" } else { "other bytes" }.to_owned(),
            kept: Some(same),
        },
    ])
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
fn watch(command: &mut Command) -> Result<Cost> {
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
