//! Fuzz targets, run briefly: each parser that reads what others wrote gets a few seconds of inputs nobody thought of.
//!
//! `libfuzzer-sys` with the compiler's own instrumentation works on stable Rust; `cargo fuzz` would ask for nightly.

use anyhow::Result;

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
    /// All targets, for as long as every change can afford.
    pub fn brief() -> Self {
        Self { targets: Vec::new(), seconds: 5 }
    }
}

/// Builds the targets and runs each for its time; a crash, a hang or too much memory is an error.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = workspace::target().join("fuzz");
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
        let seeds = workspace::root().join("tests/fuzz/seeds").join(target);
        let mut fuzzer =
            std::process::Command::new(folder.join(workspace::TARGET).join("release").join(target));
        fuzzer.arg(&corpus).args(seeds.is_dir().then_some(&seeds));
        fuzzer
            .arg(format!("-max_total_time={}", arguments.seconds))
            .args(["-timeout=10", "-rss_limit_mb=2048"]);
        fuzzer
            .args(["-verbosity=0", "-print_final_stats=0"])
            .arg(format!("-artifact_prefix={}/", corpus.display()));
        process::run(fuzzer.arg("-max_len=65536"))?;
    }
    Ok(())
}
