//! What a boot costs in instructions and device accesses: the first is the same on every run and every host.

use std::path::Path;

use anyhow::{Context, Result};

use super::machine;
use super::pvh;
use super::table::{Row, grouped};

/// The bytes of a root that is large, and of one that is not.
const LARGE: usize = 500 << 20;
const SMALL: usize = 1 << 20;

/// Runs of what is not the same each time.
const RUNS: usize = 5;

/// Instructions from the PVH entry to the first instruction of the program. Time in which the CPU waits for the disk
/// passes as instructions too, and how much there is depends on the host: the least of some runs has the least of it.
fn instructions(home: &Path, options: &[&str], source: &[&str]) -> Result<u64> {
    let words = machine::command_line(home, &[options, source].concat())?;
    let counts = (0..RUNS).map(|_| machine::instructions_to_program(&words)).collect::<Result<Vec<_>>>()?;
    let least = counts.into_iter().min().context("there were runs")?;
    Ok(least - machine::instructions_to_entry(&words)?)
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
    rows.push(accesses(&home)?);
    Ok(rows)
}

/// Device accesses of a hello on microvm, without those of the firmware. On q35 the firmware's alone differ by thousands
/// from run to run, so that nothing could be said of the kernel's.
fn accesses(home: &Path) -> Result<Row> {
    let hello = format!("elf:{}", machine::hello_program()?.display());
    let words = machine::command_line(home, &["-m", "128M", &hello])?;
    let kernel = pvh::end()?;
    // Waiting for a device or a clock is looking at it again and again, so the number is not the same on every run.
    let count = |words: &[String]| -> Result<Vec<u64>> {
        let mut counts = (0..RUNS).map(|_| machine::device_accesses(words)).collect::<Result<Vec<_>>>()?;
        counts.sort_unstable();
        Ok(counts)
    };
    let (ours, firmware) = (count(&words)?, count(&machine::with_kernel(&words, &kernel))?);
    let (least, most) =
        (ours[0].saturating_sub(firmware[RUNS - 1]), ours[RUNS - 1].saturating_sub(firmware[0]));
    let measured = format!("{least} to {most} from the PVH entry to power-off");
    Ok(Row::figure("Device accesses of a hello, microvm", measured))
}
