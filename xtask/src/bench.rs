//! The promises of `SPECIFICATION.md`, measured.

use anyhow::Result;

use crate::{process, setup, workspace};

mod boot;
mod build;
mod calls;
mod formats;
mod linux;
pub mod machine;
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
    /// Parts to measure; the first five if none is named
    #[arg(value_parser = PARTS.map(|(name, _)| name))]
    parts: Vec<String>,
    /// Measure all parts, which takes most of an hour
    #[arg(long)]
    all: bool,
    /// Write the results into SPECIFICATION.md
    #[arg(long)]
    record: bool,
}

/// A part's name and what measures it.
type Part = (&'static str, fn() -> Result<Vec<Row>>);

/// How many of them are measured if none is named: what needs no Linux guest beside it.
const BY_DEFAULT: usize = 5;

const PARTS: [Part; 13] = [
    ("size", size::measure),
    ("boot", boot::measure),
    ("run", run::measure),
    ("build", build::measure),
    ("formats", formats::measure),
    ("linux", linux::measure),
    ("calls", calls::measure),
    ("scale", scale::measure),
    ("nginx", net::nginx::measure),
    ("redis", net::redis::measure),
    ("iperf", net::iperf::measure),
    ("idle", net::idle::measure),
    ("endurance", net::endurance::measure),
];

/// Measures, prints the table, and records it if asked to.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure()?;
    process::run(workspace::cargo().args(["build", "--release", "--quiet", "--package", "isopod"]))?;
    let mut rows = Vec::new();
    for (number, (name, measure)) in PARTS.into_iter().enumerate() {
        let named = arguments.parts.iter().any(|part| part == name);
        let by_default = arguments.parts.is_empty() && (arguments.all || number < BY_DEFAULT);
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
