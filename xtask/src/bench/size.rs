//! How large the kernel is.

use std::path::Path;

use anyhow::{Context, Result};

use super::machine;
use super::table::{Row, grouped};
use crate::workspace;

/// Measures the kernel's file, as hypervisors load it, without its symbols; and how much of it is packed.
pub fn measure() -> Result<Vec<Row>> {
    let home = tempfile::tempdir()?;
    let hello = format!("elf:{}", machine::hello_program()?.display());
    let words = machine::command_line(home.path(), &[&hello])?;
    let kernel = words.iter().position(|word| word == "-kernel").and_then(|place| words.get(place + 1));
    let kernel = Path::new(kernel.context("the machine has a kernel")?);
    let size = kernel.metadata()?.len() - workspace::section(kernel, ".isopod.symbols")?;
    let packed = workspace::section(kernel, ".isopod.packed")?;
    let code = workspace::section(&workspace::kernel(), ".packed")?;
    Ok(vec![
        Row::at_most(
            "Kernel, stripped",
            "at most 1 MB",
            size as f64,
            1e6,
            format!("{} bytes", grouped(size)),
        ),
        Row::figure(
            "Of that, code that is unpacked page by page when it is first reached",
            format!("{} bytes for {}", grouped(packed), grouped(code)),
        ),
    ])
}
