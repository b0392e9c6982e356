//! What a boot costs in instructions and device accesses: the first is the same on every run and every host.

use std::path::Path;

use anyhow::Result;

use super::machine::{self, boot};
use super::pvh;
use super::table::{Row, grouped};

/// The bytes of a root that is large, and of one that is not.
const LARGE: usize = 500 << 20;
const SMALL: usize = 1 << 20;

/// Runs of what is not the same each time.
const RUNS: usize = 5;

/// Instructions from the PVH entry to the first instruction of the program.
fn instructions(home: &Path, options: &[&str], source: &[&str]) -> Result<u64> {
    let words = machine::command_line(home, &[options, source].concat())?;
    Ok(machine::instructions_to_program(&words)? - machine::instructions_to_entry(&words)?)
}

/// How far the larger of two counts is above the smaller, as a share of it.
fn spread(a: u64, b: u64) -> f64 {
    a.max(b) as f64 / a.min(b) as f64 - 1.0
}

/// Measures boots on both machines, with little and much memory, with a small and a large root.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let program = machine::counter_program()?;
    let source = format!("elf:{}", program.display());
    let count = |options: &[&str]| instructions(&home, options, &[&source]);
    let microvm = count(&["-m", "128M"])?;
    let large_memory = count(&["-m", "8G"])?;
    let q35 = count(&["--machine", "q35", "-m", "128M"])?;
    let with_root = |name: &str, size: usize| -> Result<u64> {
        let root = folder.path().join(name);
        std::fs::create_dir(&root)?;
        std::fs::copy(&program, root.join("counter"))?;
        // No two pages are alike, so that nothing can be left out.
        let content: Vec<u8> = (0..size as u64 / 8)
            .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        std::fs::write(root.join("content"), content)?;
        instructions(&home, &["-m", "128M"], &[&format!("rootfs:{}", root.display()), "/counter"])
    };
    let (small_root, large_root) = (with_root("small", SMALL)?, with_root("large", LARGE)?);
    let hello = format!("elf:{}", machine::hello_program()?.display());
    let mut rows = vec![
        Row::at_most(
            "PVH entry to the first instruction of a static hello, microvm",
            "at most 300,000 instructions",
            microvm as f64,
            300e3,
            format!("{} instructions", grouped(microvm)),
        ),
        Row::figure("The same on q35", format!("{} instructions", grouped(q35))),
        Row::at_most(
            "The same with 8 GiB of memory, against 128 MiB",
            "within 5 %",
            spread(microvm, large_memory),
            0.05,
            format!("{} instructions, {:.2} %", grouped(large_memory), spread(microvm, large_memory) * 100.0),
        ),
        Row::at_most(
            "The same with a root of 500 MB, against 1 MB",
            "within 5 %",
            spread(small_root, large_root),
            0.05,
            format!(
                "{} and {} instructions, {:.2} %",
                grouped(large_root),
                grouped(small_root),
                spread(small_root, large_root) * 100.0
            ),
        ),
    ];
    for (name, machine) in
        [("Device accesses of a hello, microvm", "microvm"), ("Device accesses of a hello, q35", "q35")]
    {
        let words = machine::command_line(&home, &["--machine", machine, "-m", "128M", &hello])?;
        let kernel = folder.path().join("end.elf");
        pvh::write(&kernel, &pvh::END)?;
        let bare = machine::with_kernel(&words, &kernel);
        boot(&bare, &[])?;
        // Waiting for a device or a clock is looking at it again and again, so the number is not the same on every run.
        let counts =
            (0..RUNS).map(|_| Ok(machine::device_accesses(&words)? - machine::device_accesses(&bare)?));
        let mut counts = counts.collect::<Result<Vec<_>>>()?;
        counts.sort_unstable();
        let (least, most) = (counts[0], counts[RUNS - 1]);
        rows.push(Row::figure(name, format!("{least} to {most} from the PVH entry to power-off")));
    }
    Ok(rows)
}
