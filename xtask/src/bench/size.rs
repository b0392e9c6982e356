//! How large the kernel is.

use std::process::Command;

use anyhow::Result;

use super::table::{Row, grouped};
use crate::{process, workspace};

/// Measures the kernel's file without its symbols.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let stripped = folder.path().join("kernel");
    process::run(Command::new("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(workspace::kernel()))?;
    let size = std::fs::metadata(stripped)?.len();
    let measured = format!("{} bytes", grouped(size));
    Ok(vec![Row::at_most("Kernel, stripped", "at most 1 MB", size as f64, 1e6, measured)])
}
