//! Fuzz targets, run briefly: each parser that reads what others wrote gets a few seconds of inputs nobody thought of.
//!
//! `libfuzzer-sys` with the compiler's own instrumentation works on stable Rust; `cargo fuzz` would ask for nightly.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use isopod_e2e::programs;

use crate::{process, workspace};

/// The targets in `tests/fuzz/targets`.
const TARGETS: [&str; 5] = ["tar", "manifest", "elf", "erofs", "acpi"];

/// What makes rustc count the edges that an input takes.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Targets to run; all if none is named
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

impl Arguments {
    /// All targets: for as long as every change can afford, or for as long as somebody waits who asked for it.
    pub fn all_targets(long: bool) -> Self {
        Self { targets: Vec::new(), seconds: if long { 60 } else { 5 } }
    }
}

/// Builds the targets and runs each for its time; a crash, a hang or too much memory is an error.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = workspace::target().join("fuzz");
    // The kernel within the builder is not what is fuzzed here: the one that is built already will do.
    let kernel = folder.join(workspace::TARGET).join("kernel-build");
    if !kernel.exists() {
        std::fs::create_dir_all(folder.join(workspace::TARGET))?;
        std::os::unix::fs::symlink(workspace::target().join("kernel-build"), kernel)?;
    }
    let mut build = workspace::cargo();
    build.current_dir(workspace::root().join("tests/fuzz")).env("RUSTFLAGS", FLAGS);
    build.args(["build", "--quiet", "--release", "--target", workspace::TARGET]);
    process::run(build.arg("--target-dir").arg(&folder))?;
    let chosen =
        |target: &&str| arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target);
    for target in TARGETS.into_iter().filter(chosen) {
        println!("fuzz: {target}, {} s", arguments.seconds);
        // The inputs found are kept, so that the next run starts where this one ended.
        let corpus = folder.join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        seed(target, &corpus)?;
        let mut fuzzer = Command::new(folder.join(workspace::TARGET).join("release").join(target));
        fuzzer.arg(&corpus);
        fuzzer
            .arg(format!("-max_total_time={}", arguments.seconds))
            .args(["-timeout=10", "-rss_limit_mb=2048"]);
        fuzzer
            .args(["-verbosity=0", "-print_final_stats=0"])
            .arg(format!("-artifact_prefix={}/", corpus.display()));
        process::output(fuzzer.arg("-max_len=65536"))?;
    }
    Ok(())
}

/// Puts something well-formed among the inputs of a target, from which the fuzzer gets further than from nothing.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    let file = corpus.join("seed");
    if file.exists() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("file"), "content")?;
    std::os::unix::fs::symlink("file", folder.path().join("link"))?;
    std::fs::create_dir(folder.path().join("folder"))?;
    match target {
        "tar" => {
            process::run(Command::new("tar").arg("-C").arg(folder.path()).arg("-cf").arg(&file).arg("."))
        }
        "erofs" => process::output(Command::new("mkfs.erofs").arg(&file).arg(folder.path())).map(drop),
        "elf" => {
            let program = programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?;
            Ok(std::fs::copy(program, file).map(drop)?)
        }
        _ => Ok(()),
    }
}
