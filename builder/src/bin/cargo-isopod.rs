//! `cargo isopod`: runs a cargo package in a virtual machine of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    isopod::cargo::main(std::env::args_os())
}
