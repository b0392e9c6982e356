//! The command line of `isopod`: one file per verb. Only this room prints.

mod build;
mod disk;
mod failure;
mod gdb;
mod network;
mod options;
mod progress;
mod run;
mod values;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub(crate) use build::{create, write};
pub(crate) use failure::Failure;
pub(crate) use network::NetworkOptions;
pub(crate) use options::{MachineOptions, SessionOptions};
pub(crate) use progress::Bars;
pub(crate) use run::{Application, Boot, Wishes, start};
pub(crate) use values::memory;

/// Exit status of every error that is Isopod's own, as Docker has it.
const OWN_ERROR: u8 = 125;

/// Turns a container image into a virtual machine of its own.
///
/// Isopod pulls an image, merges its layers into one read-only root and joins that with a small guest kernel. `run` boots it in QEMU
/// as `docker run` would start a container: standard streams, signals and the exit status are the application's. `build` writes one
/// file that QEMU, Cloud Hypervisor and Firecracker boot without Isopod.
#[derive(Debug, Parser)]
#[command(name = "isopod", version, max_term_width = 100, after_help = AFTER, after_long_help = LONG_AFTER)]
struct Isopod {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Build(build::Build),
}

/// What both the short and the long help end with.
macro_rules! sources {
    () => {
        "\
Sources:
  debian:12, ghcr.io/owner/name@sha256:..  an image in a registry
  localhost:5000/app                       plain HTTP for loopback hosts, or with --insecure
  oci:DIR[:NAME], oci-archive:FILE[:NAME]  an OCI image layout, as skopeo and buildah write it
  docker-archive:FILE[:NAME]               what docker save writes
  rootfs:DIR                               a directory that holds a root file system
  elf:FILE                                 a program of this host, with its libraries"
    };
}

const AFTER: &str = sources!();

const LONG_AFTER: &str = concat!(
    sources!(),
    "

Exit status:
  0-255  the application's own
  128+n  a signal n ended the application
  127    the program was not found
  126    the program cannot be executed
  125    an error of Isopod's

Environment:
  ISOPOD_HOME         keeps images and state, in place of the XDG directories
  DOCKER_CONFIG       the directory of Docker's config.json, for credentials
  REGISTRY_AUTH_FILE  credentials as podman and skopeo keep them

Examples:
  isopod run debian:12 cat /etc/os-release
  isopod run -i -m 64m alpine sh -c 'read name; echo hello $name'
  isopod build -o web.elf localhost:5000/web -- --port 8080
  isopod run web.elf"
);

/// The command line's description, for help and reference pages.
pub fn command() -> clap::Command {
    Isopod::command()
}

/// Runs `isopod` with the arguments `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    finish(match Isopod::try_parse_from(args) {
        Ok(Isopod { verb: Verb::Run(run) }) => run.execute(),
        Ok(Isopod { verb: Verb::Build(build) }) => build.execute().map(|()| 0),
        Err(error) => return usage(&error),
    })
}

/// The exit status of a finished verb; a failure is printed.
pub(crate) fn finish(result: Result<u8, Failure>) -> ExitCode {
    ExitCode::from(result.unwrap_or_else(|failure| {
        failure.print();
        OWN_ERROR
    }))
}

/// Tells the user something, on standard error. Nobody may be listening: that is no reason to fail, nor to panic as `eprintln` does.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "isopod: {text}");
}

/// Prints help, the version, or what is wrong with the arguments.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever asked for help and closed the pipe has seen enough of it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    say(format_args!("{}", text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
    ExitCode::from(OWN_ERROR)
}
