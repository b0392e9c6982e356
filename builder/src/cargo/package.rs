//! Which program of which package, and its build.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cargo_metadata::{Message, Metadata, MetadataCommand, Package, TargetKind};
use clap::Args;

use super::metadata::Settings;
use crate::cli::Failure;

/// What is to be built, in cargo's own words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Package options")]
pub(super) struct Selection {
    /// The package, where the workspace has several
    #[arg(short, long, value_name = "PKG")]
    package: Option<String>,
    /// The binary, where the package has several
    #[arg(long, value_name = "NAME", conflicts_with = "example")]
    bin: Option<String>,
    /// An example in place of a binary
    #[arg(long, value_name = "NAME")]
    example: Option<String>,
    /// Build with optimizations
    #[arg(long, conflicts_with = "profile")]
    release: bool,
    /// Build with this profile
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Build for this target; x86_64-unknown-linux-musl gives a static program
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Features to activate
    #[arg(short = 'F', long, value_name = "FEATURES")]
    features: Vec<String>,
    /// Activate all features
    #[arg(long)]
    all_features: bool,
    /// Do not activate the default feature
    #[arg(long)]
    no_default_features: bool,
    /// Path to Cargo.toml
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,
}

/// A program that was built.
#[derive(Debug)]
pub(super) struct Built {
    /// The executable.
    pub program: PathBuf,
    /// What its package asks for.
    pub settings: Settings,
    /// The package's directory.
    pub directory: PathBuf,
}

/// A binary or an example.
struct Program<'a> {
    flag: &'static str,
    name: &'a str,
}

impl Selection {
    /// Builds what is selected. Cargo's own messages go to standard error.
    pub fn build(&self) -> Result<Built, Failure> {
        let metadata = self.metadata()?;
        let package = self.package(&metadata)?;
        let program = self.program(package)?;
        let settings = Settings::of(package)?;
        let executable = self.compile(package, &program)?;
        let directory = package.manifest_path.parent().map(|dir| dir.as_std_path().to_owned());
        Ok(Built { program: executable, settings, directory: directory.unwrap_or_default() })
    }

    fn metadata(&self) -> Result<Metadata, Failure> {
        let mut command = MetadataCommand::new();
        command.no_deps();
        if let Some(path) = &self.manifest_path {
            command.manifest_path(path);
        }
        command.exec().map_err(|error| {
            let text = error.to_string();
            let text = text.trim().trim_start_matches("`cargo metadata` exited with an error: error: ");
            Failure::new(
                text,
                "call it in a package's directory, or name one with --manifest-path".to_owned(),
            )
        })
    }

    fn package<'a>(&self, metadata: &'a Metadata) -> Result<&'a Package, Failure> {
        let members = metadata.workspace_packages();
        let names = || list(members.iter().map(|package| package.name.as_str()));
        if let Some(name) = &self.package {
            let found = members.iter().find(|package| package.name.as_str() == name);
            return found.copied().ok_or_else(|| {
                Failure::new(format!("the workspace has no package `{name}`"), format!("it has {}", names()))
            });
        }
        match (self.package_here(&members), &members[..]) {
            (Some(package), _) => Ok(package),
            (None, [only]) => Ok(only),
            (None, _) => Err(Failure::new(
                "which package of the workspace is meant?",
                format!("say it with -p: {}", names()),
            )),
        }
    }

    /// The package whose directory this is, or the one whose manifest was named: what cargo takes without `-p`.
    fn package_here<'a>(&self, members: &[&'a Package]) -> Option<&'a Package> {
        let manifest = if let Some(path) = &self.manifest_path {
            path.canonicalize().ok()?
        } else {
            let here = std::env::current_dir().ok()?;
            here.ancestors().map(|directory| directory.join("Cargo.toml")).find(|path| path.is_file())?
        };
        members.iter().copied().find(|package| package.manifest_path.as_std_path() == manifest)
    }

    fn program<'a>(&self, package: &'a Package) -> Result<Program<'a>, Failure> {
        let of_kind = |kind: &TargetKind| -> Vec<&'a str> {
            let targets = package.targets.iter().filter(|target| target.kind.contains(kind));
            targets.map(|target| target.name.as_str()).collect()
        };
        let (flag, asked, names) = match (&self.example, &self.bin) {
            (Some(name), _) => ("--example", Some(name), of_kind(&TargetKind::Example)),
            (None, name) => {
                ("--bin", name.as_ref().or(package.default_run.as_ref()), of_kind(&TargetKind::Bin))
            }
        };
        let name = &package.name;
        match (asked, &names[..]) {
            (Some(asked), _) => match names.iter().find(|name| *name == asked) {
                Some(found) => Ok(Program { flag, name: found }),
                None => Err(Failure::new(
                    format!("the package {name} has no {} `{asked}`", &flag[2..]),
                    match &names[..] {
                        [] => "it has none: choose another package with -p".to_owned(),
                        names => format!("it has {}", list(names.iter().copied())),
                    },
                )),
            },
            (None, [only]) => Ok(Program { flag, name: only }),
            (None, []) => Err(Failure::new(
                format!("the package {name} has no binary"),
                "choose an example with --example, or another package with -p".to_owned(),
            )),
            (None, _) => Err(Failure::new(
                format!("which program of the package {name} is meant?"),
                format!("say it with --bin: {}", list(names.iter().copied())),
            )),
        }
    }

    fn compile(&self, package: &Package, program: &Program<'_>) -> Result<PathBuf, Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(&cargo);
        command.args(["build", "--message-format=json-render-diagnostics"]);
        command.arg("--manifest-path").arg(&package.manifest_path);
        command.args(["--package", package.name.as_str(), program.flag, program.name]);
        command.args(self.release.then_some("--release"));
        command.args(self.all_features.then_some("--all-features"));
        command.args(self.no_default_features.then_some("--no-default-features"));
        for (flag, value) in [("--profile", &self.profile), ("--target", &self.target)] {
            command.args(value.iter().flat_map(|value| [flag, value]));
        }
        command.args(self.features.iter().flat_map(|features| ["--features", features]));

        let failed = |error: std::io::Error| {
            Failure::new(
                format!("cannot run {}: {error}", cargo.display()),
                "install cargo, or name it in CARGO",
            )
        };
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut executable = None;
        for message in
            child.stdout.take().into_iter().flat_map(|out| Message::parse_stream(BufReader::new(out)))
        {
            if let Message::CompilerArtifact(artifact) = message.map_err(failed)?
                && artifact.target.name == program.name
            {
                executable = artifact.executable.or(executable);
            }
        }
        if !child.wait().map_err(failed)?.success() {
            return Err(Failure::new("the program does not build", "see cargo's messages above"));
        }
        let built = executable.map(cargo_metadata::camino::Utf8PathBuf::into_std_path_buf);
        built.ok_or_else(|| {
            let hint = "choose another with --bin or --example";
            Failure::new(format!("cargo built no executable for {}", program.name), hint)
        })
    }
}

/// Names as a sentence has them.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
