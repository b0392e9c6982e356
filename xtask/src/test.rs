//! Everything that must be green before a change lands.

use std::time::Instant;

use anyhow::Result;

use crate::{docs, fuzz, lint, process, setup, workspace};

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Leave out lint
    #[arg(long)]
    no_lint: bool,
}

/// One part of the run.
type Part = (&'static str, fn() -> Result<()>);

/// Runs all parts in order; the first that fails ends the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    if setup::is_needed() {
        setup::run()?;
    }
    let mut parts: Vec<Part> = Vec::new();
    if !arguments.no_lint {
        parts.push(("lint", lint::run));
    }
    parts.push(("unit tests", unit_tests));
    parts.push(("doc tests", doc_tests));
    parts.push(("generated documentation", docs::check));
    parts.push(("fuzz targets", || fuzz::run(&fuzz::Arguments::brief())));
    parts.push(("end-to-end tests", end_to_end_tests));
    let mut times = Vec::new();
    for (name, part) in parts {
        let start = Instant::now();
        part()?;
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
fn end_to_end_tests() -> Result<()> {
    process::run(workspace::cargo().args(["build", "--package", "isopod"]))?;
    process::run(workspace::cargo().args(["nextest", "run", "--package", "isopod-e2e", "--no-fail-fast"]))
}

/// Examples in the documentation, which nextest cannot run.
fn doc_tests() -> Result<()> {
    process::run(workspace::cargo().args(["test", "--quiet", "--workspace", "--doc"]))
}
