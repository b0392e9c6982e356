//! The generated half of `docs/reference`: written from the program's help and the kernel's sources, so that it cannot lie.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

mod cli;
mod manifest;
mod syscalls;

/// What to do.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write nothing; a page that is not up to date is an error
    #[arg(long)]
    check: bool,
}

/// A page's name in `docs/reference` and what writes it.
type Page = (&'static str, fn() -> Result<String>);

const PAGES: [Page; 3] =
    [("cli.md", cli::page), ("manifest.md", manifest::page), ("syscalls.md", syscalls::page)];

/// The line that every generated page begins with.
const NOTICE: &str = "<!-- Written by `cargo xtask docs`; changes made here are lost. -->\n\n";

/// Writes all pages, or checks them.
pub fn run(arguments: &Arguments) -> Result<()> {
    process::run(workspace::cargo().args(["build", "--quiet", "--package", "isopod"]))?;
    let folder = workspace::root().join("docs/reference");
    for (name, page) in PAGES {
        let path = folder.join(name);
        let text = format!("{NOTICE}{}", page().with_context(|| format!("cannot write {name}"))?);
        if !arguments.check {
            fs::write(&path, text)?;
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            bail!("{} is not up to date; `cargo xtask docs` writes it", path.display());
        }
    }
    Ok(())
}

/// Checks all pages.
pub fn check() -> Result<()> {
    run(&Arguments { check: true })
}

/// The text of a source file of the workspace.
fn source(name: &str) -> Result<String> {
    fs::read_to_string(workspace::root().join(Path::new(name))).with_context(|| format!("cannot read {name}"))
}
