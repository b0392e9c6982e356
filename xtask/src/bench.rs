//! The promises of `SPECIFICATION.md`, measured.

use anyhow::Result;

use crate::{process, setup, workspace};

mod boot;
mod build;
mod calls;
mod linux;
mod machine;
mod net;
mod newc;
mod pvh;
mod run;
mod scale;
mod size;
mod table;

use table::Row;

/// What to measure.
#[derive(clap::Args)]
pub struct Arguments {
    /// Parts to measure; all but `linux`, `calls`, `scale` and `net` if none is named
    #[arg(value_parser = PARTS.map(|(name, _)| name))]
    parts: Vec<String>,
    /// Measure what is set beside a Linux guest too (`linux`, `calls`, `scale`, `net`), which takes minutes
    #[arg(long)]
    linux: bool,
    /// Write the results into SPECIFICATION.md
    #[arg(long)]
    record: bool,
}

/// A part's name and what measures it.
type Part = (&'static str, fn() -> Result<Vec<Row>>);

const PARTS: [Part; 8] = [
    ("size", size::measure),
    ("boot", boot::measure),
    ("linux", linux::measure),
    ("run", run::measure),
    ("build", build::measure),
    ("calls", calls::measure),
    ("scale", scale::measure),
    ("net", net::measure),
];

/// Measures, prints the table, and records it if asked to.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure()?;
    process::run(workspace::cargo().args(["build", "--release", "--quiet", "--package", "isopod"]))?;
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        let named = arguments.parts.iter().any(|part| part == name);
        let by_default = arguments.parts.is_empty()
            && (arguments.linux || !["linux", "calls", "scale", "net"].contains(&name));
        if named || by_default {
            println!("bench: {name}");
            let measured = measure()?;
            for row in &measured {
                println!("{row}");
            }
            rows.extend(measured);
        }
    }
    if arguments.record {
        table::record(&workspace::root().join("SPECIFICATION.md"), &rows)?;
    }
    table::judge(&rows)
}
