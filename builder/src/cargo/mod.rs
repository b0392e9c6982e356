//! `cargo isopod`: builds a package's program and runs it in a virtual machine, or links it into an image.

mod metadata;
mod package;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::cli::{self, Application, Boot, Failure, MachineOptions, NetworkOptions, SessionOptions, Wishes};
use crate::disk::Form;
use crate::link::{self, Overrides, Session};
use crate::prepare::{Prepared, Program};
use crate::source::Reference;
use crate::store::Store;
use metadata::Settings;
use package::{Built, Selection};

/// Run a cargo package in a virtual machine of its own
///
/// Builds a program of the package as `cargo build` does, makes a root of it with its loader, its libraries and what the package asks
/// for, and boots that.
#[derive(Debug, Parser)]
#[command(name = "cargo-isopod", bin_name = "cargo isopod", version, max_term_width = 100, after_long_help = SETTINGS)]
struct CargoIsopod {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<Run>),
    Build(Box<Build>),
}

const SETTINGS: &str = r#"Settings in Cargo.toml, all optional:
  [package.metadata.isopod]
  args = ["--port", "8080"]                       # unless arguments follow --
  env = { LEVEL = "info" }
  files = { "/etc/app.conf" = "conf/app.conf" }   # from the package's directory
  memory = "64m"                                  # unless -m is given"#;

/// Build the program and run it in a virtual machine
///
/// The exit status is the program's.
#[derive(Debug, Args)]
// -p names a package, as it does for cargo.
#[command(mut_arg("publish", |publish| publish.short(None)))]
struct Run {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    session: SessionOptions,
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    network: NetworkOptions,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<String>,
}

/// Build the program and link it into one file that hypervisors boot directly
#[derive(Debug, Args)]
struct Build {
    #[command(flatten)]
    selection: Selection,
    /// The file to write; otherwise beside the program, with .elf behind its name
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<String>,
}

/// The command line's description, for help and reference pages.
pub fn command() -> clap::Command {
    CargoIsopod::command()
}

/// Runs `cargo isopod` with the arguments `args`, the program's name first. Cargo puts the word `isopod` behind it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = args.into_iter().enumerate().filter(|(index, arg)| !(*index == 1 && arg == "isopod"));
    cli::finish(match CargoIsopod::try_parse_from(args.map(|(_, arg)| arg)) {
        Ok(CargoIsopod { verb: Verb::Run(run) }) => run.execute(),
        Ok(CargoIsopod { verb: Verb::Build(build) }) => build.execute().map(|()| 0),
        Err(error) => return cli::usage(&error),
    })
}

impl Run {
    fn execute(self) -> Result<u8, Failure> {
        let session = self.session.session()?;
        let store = Store::open()?;
        let built = self.selection.build()?;
        let root = prepared(&built, self.args, &store)?.keep(&store)?;
        let manifest = link::manifest(&root.info, &session)?;
        let application = Application { info: root.info, boot: Boot::Disk(root.image) };
        let wishes = Wishes { machine: &self.machine, network: &self.network, memory: built.settings.memory };
        cli::start(&application, manifest, &wishes, &store)
    }
}

impl Build {
    fn execute(self) -> Result<(), Failure> {
        let store = Store::open()?;
        let built = self.selection.build()?;
        let path = self.output.unwrap_or_else(|| {
            let mut name = built.program.clone().into_os_string();
            name.push(".elf");
            name.into()
        });
        let output = cli::create(&path)?;
        let prepared = prepared(&built, self.args, &store)?;
        cli::write(&prepared, &Session::default(), Form::Elf, output, &path, &store)
    }
}

/// The root of what was built, with `args` in place of the package's unless they are empty.
fn prepared(built: &Built, args: Vec<String>, store: &Store) -> Result<Prepared, Failure> {
    let Settings { args: own_args, env, files, .. } = &built.settings;
    let mut program = Program::find(&built.program)?;
    for (to, from) in files {
        program.add(&built.directory.join(from), to)?;
    }
    let env = env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let command = if args.is_empty() { own_args.clone() } else { args };
    Overrides { command, env, ..Overrides::default() }.apply(&mut program.config)?;
    Ok(program.prepare(&Reference::Elf(built.program.clone()), store)?)
}
