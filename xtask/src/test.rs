//! Everything that must be green before a change lands.

use std::time::Instant;

use anyhow::Result;

use crate::{docs, fuzz, lint, models, process, setup, soak, workspace};

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Leave out lint
    #[arg(long)]
    no_lint: bool,
    /// Run what takes long, too: more of what is random, many boots, and builds that are killed beside each other
    #[arg(long)]
    all: bool,
}

/// One part of the run.
type Part = (&'static str, fn(&Arguments) -> Result<()>);

/// Runs all parts in order; the first that fails ends the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure()?;
    let mut parts: Vec<Part> = Vec::new();
    if !arguments.no_lint {
        parts.push(("lint", |_| lint::run()));
    }
    parts.push(("unit tests", |_| unit_tests()));
    parts.push(("doc tests", |_| doc_tests()));
    parts.push(("generated documentation", |_| docs::check()));
    parts.push(("models of several processors", |_| models::run()));
    parts.push(("fuzz targets", |arguments| fuzz::run(&fuzz::Arguments::all_targets(arguments.all))));
    parts.push(("end-to-end tests", end_to_end_tests));
    if arguments.all {
        parts.push(("soak", |_| soak::run(&soak::Arguments::default())));
    }
    let mut times = Vec::new();
    for (name, part) in parts {
        let start = Instant::now();
        part(arguments)?;
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
    }
    println!("test: all green ({})", times.join(", "));
    Ok(())
}

/// The tests beside the code, each in a process of its own.
fn unit_tests() -> Result<()> {
    let arguments = ["nextest", "run", "--workspace", "--exclude", "isopod-e2e", "--no-fail-fast"];
    process::run(workspace::cargo().args(arguments))
}

/// The tests that boot virtual machines through the program `isopod`.
fn end_to_end_tests(arguments: &Arguments) -> Result<()> {
    process::run(workspace::cargo().args(["build", "--package", "isopod"]))?;
    let mut tests = workspace::cargo();
    tests.args(["nextest", "run", "--package", "isopod-e2e", "--no-fail-fast"]);
    if arguments.all {
        // Those that say that they take long, and more of what is random.
        tests.args(["--run-ignored", "all"]).env("ISOPOD_TEST_ALL", "1");
    }
    process::run(&mut tests)
}

/// Examples in the documentation, which nextest cannot run.
fn doc_tests() -> Result<()> {
    process::run(workspace::cargo().args(["test", "--quiet", "--workspace", "--doc"]))
}
