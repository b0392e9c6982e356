//! `cli.md`: what the programs say about themselves.

use std::process::Command;

use anyhow::Result;

use crate::{process, workspace};

/// The programs and their verbs, in the order of the page.
const COMMANDS: [&[&str]; 6] = [
    &["isopod"],
    &["isopod", "run"],
    &["isopod", "build"],
    &["cargo-isopod", "isopod"],
    &["cargo-isopod", "isopod", "run"],
    &["cargo-isopod", "isopod", "build"],
];

/// The page.
pub fn page() -> Result<String> {
    let mut sections = vec!["# The command line\n".to_owned()];
    for words in COMMANDS {
        let (program, verbs) = words.split_first().expect("a command has a program");
        let help = process::output(
            Command::new(workspace::target().join("debug").join(program)).args(verbs).arg("--help"),
        )?;
        let title = words.join(" ").replace("cargo-isopod isopod", "cargo isopod");
        let lines: Vec<_> = std::str::from_utf8(&help)?.trim_end().lines().map(str::trim_end).collect();
        sections.push(format!("\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n")));
    }
    Ok(sections.concat())
}
