//! Development tasks of Isopod, started as `cargo xtask TASK`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod lint;
mod process;
mod setup;
mod test;
mod workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of Isopod")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what development needs: QEMU, the tools that make test images, cargo-deny, cargo-nextest
    Setup,
    /// Check format, lints, dependencies, the border of unsafe code, and the kernel's instructions
    Lint,
    /// Run everything that must be green: setup if something is missing, lint, unit, fuzz and end-to-end tests
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Lint => lint::run(),
        Task::Test(arguments) => test::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
