//! Fuzz targets, run briefly: each parser that reads what others wrote gets a few seconds of inputs nobody thought of.
//!
//! `libfuzzer-sys` with the compiler's own instrumentation works on stable Rust; `cargo fuzz` would ask for nightly.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use isopod_e2e::programs;

use crate::{process, workspace};

/// The targets in `tests/fuzz/targets`.
const TARGETS: [&str; 10] =
    ["tar", "manifest", "channel", "elf", "program", "erofs", "acpi", "gpt", "tcp", "frames"];

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
    let binary = |name: &str| folder.join(workspace::TARGET).join("release").join(name);
    let corpus = folder.join("corpus");
    seed(&corpus)?;
    process::output(Command::new(binary("seeds")).env("ISOPOD_CORPUS", &corpus))?;
    let chosen =
        |target: &&str| arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target);
    for target in TARGETS.into_iter().filter(chosen) {
        println!("fuzz: {target}, {} s", arguments.seconds);
        // The inputs found are kept, so that the next run starts where this one ended.
        let corpus = corpus.join(target);
        let mut fuzzer = Command::new(binary(target));
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

/// Puts what other tools make among the inputs of the targets; `tests/fuzz/seeds` adds what our own code makes, and sees that each gets far.
fn seed(corpus: &Path) -> Result<()> {
    for target in TARGETS {
        std::fs::create_dir_all(corpus.join(target))?;
    }
    let place = |target: &str, name: &str| corpus.join(target).join(format!("seed-{name}"));
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("file"), "content")?;
    std::os::unix::fs::symlink("file", folder.path().join("link"))?;
    std::fs::create_dir(folder.path().join("folder"))?;
    for number in 0..20 {
        std::fs::write(folder.path().join(format!("folder/{number}")), "x".repeat(number * 100))?;
    }
    for format in ["ustar", "pax", "gnu"] {
        let mut tar = Command::new("tar");
        tar.arg(format!("--format={format}")).arg("-cf").arg(place("tar", format));
        process::run(tar.arg("-C").arg(folder.path()).arg("."))?;
    }
    let layouts: [(&str, &[&str]); 3] =
        [("inline", &[]), ("chunks", &["--chunksize=4096"]), ("extended", &["-Eforce-inode-extended"])];
    for (name, options) in layouts {
        let mut mkfs = Command::new("mkfs.erofs");
        process::output(mkfs.args(options).arg(place("erofs", name)).arg(folder.path()))?;
    }
    let programs: [(&str, &[&str]); 4] = [
        ("static", &["-static"]),
        ("pie", &["-static-pie", "-fPIE"]),
        ("dynamic", &["-pie", "-fPIE", "-Wl,--dynamic-linker=/interpreter"]),
        ("unaligned", &["-static", "-Wl,-n"]),
    ];
    for (name, flags) in programs {
        let program = programs::compile("gcc", "hello.S", &[flags, &["-nostdlib", "-s"]].concat())?;
        std::fs::copy(&program, place("program", name))?;
        if name != "dynamic" {
            std::fs::copy(&program, place("elf", name))?;
        }
    }
    Ok(())
}
