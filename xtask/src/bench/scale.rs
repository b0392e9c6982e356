//! What a second processor is worth: the same two processes, here and in a Linux guest.

use std::fs;

use anyhow::{Context, Result};
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::programs;

use super::table::Row;
use super::{linux, machine};

/// How often both guests are started, one after the other.
const ROUNDS: usize = 3;
/// How well it must do beside Linux.
const LEAST: f64 = 0.95;

/// Measures how two processes on two processors fare against one process.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let program = programs::bytes(&programs::compile("gcc", "scale.c", &["-O2", "-static"])?)?;
    let layout = Image::new().layer(base_layer()).files(&[("scale", &program)]).cached()?;
    let home = folder.path().join("home");
    // Debian's kernel finds a second processor where ACPI lists it, and hangs on a microvm that has ACPI.
    let ours = ["--machine", "q35", "--cpus", "2", &layout.reference(), "/scale"];
    let ours = machine::command_line(&home, &ours)?;
    let archive = folder.path().join("initramfs");
    fs::write(&archive, linux::archive_of(&layout.unpack(&folder.path().join("bundle"))?)?)?;
    let theirs = linux::words(&archive, "512M", &["/scale"])?;
    let q35 = |word: &String| if word.starts_with("microvm") { "q35".to_owned() } else { word.clone() };
    let theirs: Vec<String> = theirs.iter().map(q35).collect();
    let (mut best, mut linux_best) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        best = best.max(scale(&ours, &[])?);
        linux_best = linux_best.max(scale(&theirs, &["-smp", "2"])?);
    }
    let ratio = best / linux_best;
    Ok(vec![Row {
        name: "Two processes on two processors, against one",
        bound: "at least 0.95 times as well as Linux",
        measured: format!("{best:.2} times as much against {linux_best:.2}, {ratio:.2} times"),
        kept: Some(ratio >= LEAST),
    }])
}

/// What the program prints in this machine.
fn scale(words: &[String], more: &[&str]) -> Result<f64> {
    let text = String::from_utf8_lossy(&machine::boot(words, more)?.stdout).into_owned();
    let figure = text.lines().find_map(|line| line.trim().strip_prefix("scale\t")?.parse().ok());
    figure.with_context(|| format!("no figure in {text:?}"))
}
