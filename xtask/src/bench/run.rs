//! How long `isopod run` takes, beside a machine that ends at its first instruction.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use isopod_e2e::programs;

use super::table::{Row, median};
use super::{machine, pvh};

/// Runs of each kind, one after the other in turn.
const RUNS: usize = 20;

/// Measures both.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let hello = format!("elf:{}", machine::hello_program()?.display());
    machine::run_isopod(&home, &["run", "--accel", "tcg", &hello])?;
    let kernel = pvh::end()?;
    let bare = machine::with_kernel(&machine::command_line(&home, &[&hello])?, &kernel);
    let (mut ours, mut theirs, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        machine::run_isopod(&home, &["run", "--accel", "tcg", &hello])?;
        ours.push(milliseconds(start.elapsed()));
        theirs.push(milliseconds(machine::boot(&bare, &[])?.elapsed));
        shares.push(own_share(folder.path(), &home, &hello)?);
    }
    let (ours, theirs, share) = (median(ours), median(theirs), median(shares));
    Ok(vec![
        Row::at_most(
            "`isopod run` of a built hello, against QEMU with a kernel that ends at once",
            "at most 1.3 times",
            ours / theirs,
            1.3,
            format!("{ours:.1} ms against {theirs:.1} ms, {:.2} times", ours / theirs),
        ),
        Row::at_most("Of that, `isopod` itself", "below 8 ms", share, 8.0, format!("at most {share:.1} ms")),
    ])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time of a run that is `isopod`'s own: until QEMU starts, which a program of its name notes before it becomes QEMU,
/// and from the last byte of output to the end. The guest's own end is within that, so the true share is smaller.
fn own_share(folder: &Path, home: &Path, hello: &str) -> Result<f64> {
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs)?;
    let stand_in = programs.join("qemu-system-x86_64");
    if !stand_in.exists() {
        std::fs::copy(programs::compile("gcc", "qemu.c", &["-O2", "-static"])?, &stand_in)?;
    }
    let path = std::env::var("PATH")?;
    let note = folder.join("note");
    let mut command = Command::new(machine::isopod());
    command.args(["run", "--accel", "tcg", hello]).env("ISOPOD_HOME", home).stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", programs.display()));
    command.env("REAL_QEMU", machine::qemu()?).env("QEMU_TIME", &note);
    let start = since_1970()?;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("a pipe")?;
    let mut text = [0; 6];
    output.read_exact(&mut text)?;
    let said = Instant::now();
    child.wait()?;
    let after = said.elapsed();
    let qemu = Duration::from_nanos(std::fs::read_to_string(&note)?.trim().parse()?);
    Ok(milliseconds(qemu.saturating_sub(start) + after))
}

fn since_1970() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}
