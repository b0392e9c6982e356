//! Development tasks of Isopod, started as `cargo xtask TASK`.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "figures for people: more than 52 bits are noise to them")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod boot_code;
mod demo;
mod docs;
mod fuzz;
mod lint;
mod models;
mod process;
mod setup;
mod soak;
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
    /// Install what development needs: QEMU, compilers, the tools that make test images, cargo-deny, cargo-nextest
    Setup(setup::Arguments),
    /// Check format, lints, dependencies, the border of unsafe code, and the kernel's instructions
    Lint,
    /// Make an image, build it, boot it, and show what each step cost
    Demo(demo::Arguments),
    /// Measure the promises of SPECIFICATION.md
    Bench(bench::Arguments),
    /// Write down which functions a boot runs: only these lie in the kernel's file as they are
    BootCode,
    /// Write the generated pages of docs/reference
    Docs(docs::Arguments),
    /// Feed each parser inputs nobody thought of, for some seconds
    Fuzz(fuzz::Arguments),
    /// Try every order in which several processors can do what wakes and waits in the kernel
    Models,
    /// Do the same many times, at once, and interrupted: a part of what `test --all` runs
    Soak(soak::Arguments),
    /// Run everything that must be green: setup if something is missing, lint, unit, fuzz and end-to-end tests
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Lint => lint::run(),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::BootCode => boot_code::run(),
        Task::Docs(arguments) => docs::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Models => models::run(),
        Task::Soak(arguments) => soak::run(&arguments),
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
