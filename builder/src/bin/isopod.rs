//! `isopod`: turns a container image into a virtual machine of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    isopod::cli::main(std::env::args_os())
}
