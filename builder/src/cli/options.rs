//! Options that several verbs share.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use isopod_manifest::Network;

use super::Failure;
use super::values::{self, AccelName, MachineName, PullName};
use crate::engine::{Acceleration, Machine};
use crate::link::{Overrides, Session};
use crate::prepare::Pull;
use crate::source::{self, Platform};

/// How a source is found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source options")]
pub(crate) struct SourceOptions {
    /// Which image of several to take; the guest runs linux/amd64
    #[arg(long, value_name = "OS/ARCH", default_value_t)]
    platform: Platform,
    /// Speak plain HTTP to the registry
    ///
    /// Registries on loopback addresses get plain HTTP without it.
    #[arg(long)]
    insecure: bool,
    /// When to ask the registry what a tag stands for; otherwise build asks always, run when the image is missing
    #[arg(long, value_name = "WHEN", value_enum)]
    pull: Option<PullName>,
}

impl SourceOptions {
    pub fn options(&self) -> source::Options {
        source::Options { platform: self.platform.clone(), insecure: self.insecure, offline: false }
    }

    /// Refuses a platform for what is none of several: it would be ignored without a word.
    pub fn check(&self, source: &str, is_image: bool) -> Result<(), Failure> {
        if is_image || self.platform == Platform::default() {
            return Ok(());
        }
        Err(Failure::new(
            format!("--platform {} chooses among images, and {source} is none", self.platform),
            "leave it out: the guest runs linux/amd64",
        ))
    }

    pub fn pull(&self, default: Pull) -> Pull {
        self.pull.map_or(default, Pull::from)
    }
}

/// What the user says instead of the image.
#[derive(Debug, Args)]
#[command(next_help_heading = "Application options")]
pub(crate) struct OverrideOptions {
    /// Set an environment variable; KEY alone passes on yours
    #[arg(short, long = "env", value_name = "KEY[=VALUE]", value_parser = values::variable)]
    env: Vec<(String, Option<String>)>,
    /// Set the variables in a file of KEY=VALUE lines
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Start this program in place of the image's entrypoint; '' for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Ask the application to end with this signal
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
}

impl OverrideOptions {
    /// With `command` in place of the image's, unless it is empty.
    pub fn overrides(&self, command: Vec<String>) -> Result<Overrides, Failure> {
        let mut env = Vec::new();
        for file in &self.env_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| {
                let what = format!("cannot read {}: {error}", file.display());
                Failure::new(what, "name a text file that is there and that you may read")
            })?;
            env.extend(env_lines(&text).map_err(|line| {
                let what = format!("{} has a line that is no variable: {line}", file.display());
                Failure::new(what, "each line is KEY=VALUE, or KEY for the value of yours".to_owned())
            })?);
        }
        // What stands on the command line counts more than what a file says.
        env.extend(self.env.iter().cloned());
        Ok(Overrides {
            command,
            entrypoint: self.entrypoint.clone(),
            env,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            stop_signal: self.stop_signal.clone(),
        })
    }
}

/// The variables of an environment file, or its first line that is none.
fn env_lines(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| values::variable(line).map_err(|_| line.to_owned())).collect()
}

/// How the application meets its user.
#[derive(Debug, Args)]
#[command(next_help_heading = "Application options")]
pub(crate) struct SessionOptions {
    /// Pass standard input to the application
    #[arg(short, long)]
    interactive: bool,
    /// Give the application a terminal: yours
    #[arg(short, long)]
    tty: bool,
    /// The machine's name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Print each system call to standard error, as strace does
    #[arg(long)]
    trace: bool,
    /// Start the application as process 2, under an init that passes on signals and reaps orphans
    ///
    /// The kernel is that init itself: the image needs no program for it.
    #[arg(long)]
    init: bool,
}

impl SessionOptions {
    pub fn session(&self) -> Result<Session, Failure> {
        if self.tty && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Err(Failure::new(
                "--tty needs a terminal, but standard input or output is none",
                "leave out -t where input or output is a pipe or a file".to_owned(),
            ));
        }
        Ok(Session {
            hostname: self.hostname.clone(),
            stdin: self.interactive,
            terminal: self.tty,
            trace: self.trace,
            init: self.init,
            network: Network::default(),
        })
    }
}

/// The machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine options")]
pub(crate) struct MachineOptions {
    /// Memory of the machine: 64m, 1g
    #[arg(short, long, value_name = "SIZE", value_parser = values::memory)]
    memory: Option<u64>,
    /// CPUs of the machine, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// The kind of machine
    #[arg(long, value_enum, default_value = "microvm")]
    machine: MachineName,
    /// What runs the guest's instructions
    #[arg(long, value_enum, default_value = "auto")]
    accel: AccelName,
    /// Print the command that starts the machine, and do not start it
    ///
    /// The command can be run by hand. Its console is the terminal, as plain text; Ctrl-A X ends it. The file that it names, with the
    /// application's arguments and environment, is kept for a week.
    #[arg(long)]
    pub print_cmd: bool,
    /// Wait at the program's first instruction for a debugger, on this port of 127.0.0.1
    ///
    /// What to type into gdb is printed when the program stands there. The program lies where it always does, as under any debugger.
    #[arg(long, value_name = "PORT", conflicts_with = "print_cmd", value_parser = clap::value_parser!(u16).range(1..))]
    pub gdb: Option<u16>,
}

/// Memory of a machine for which nobody asked for another size, in bytes.
const MEMORY: u64 = 512 << 20;

impl MachineOptions {
    /// In bytes; `default` is the application's own wish.
    pub fn memory(&self, default: Option<u64>) -> u64 {
        self.memory.or(default).unwrap_or(MEMORY)
    }

    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    pub fn machine(&self) -> Machine {
        self.machine.into()
    }

    pub fn acceleration(&self) -> Acceleration {
        self.accel.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_have_comments_and_name_their_bad_lines() {
        let good = env_lines("# comment\n\n  A=1 \nB==\n").unwrap();
        assert_eq!(good, [("A".to_owned(), Some("1 ".to_owned())), ("B".to_owned(), Some("=".to_owned()))]);
        assert_eq!(env_lines("A=1\n=2\n"), Err("=2".to_owned()));
    }
}
