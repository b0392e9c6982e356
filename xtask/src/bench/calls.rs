//! What system calls cost, in the manner of lmbench: the same program on the same root, here and in a Linux guest.

use std::fs;

use anyhow::{Context, Result, bail};
use isopod_e2e::image::{self, Image, Layer};
use isopod_e2e::programs;

use super::table::{Row, grouped};
use super::{linux, machine};

/// The program's rows: what it calls each, and what the table calls it.
const ROWS: [(&str, &str); 29] = [
    ("null call", "Null call (`getppid`)"),
    ("read a byte", "Read a byte of `/dev/zero`"),
    ("write a byte", "Write a byte to `/dev/null`"),
    ("stat", "stat"),
    ("fstat", "fstat"),
    ("open and close", "open and close"),
    ("select", "select on 100 pipes"),
    ("epoll", "epoll on 100 pipes"),
    ("signal installed", "Signal handler installed"),
    ("signal delivered", "Signal delivered to a handler"),
    ("fork and exit", "fork, exit, wait"),
    ("fork and exec, static", "fork, exec of a static program, wait"),
    ("fork and exec, dynamic", "fork, exec of a dynamic program, wait"),
    ("sh -c true", "fork, exec of `sh -c true`, wait"),
    ("thread", "Thread created and joined"),
    ("context switch, 2 processes", "A byte passed on by a pipe among 2 processes"),
    ("context switch, 16 processes", "A byte passed on by a pipe among 16 processes"),
    ("futex ping-pong", "A turn given by futex to another thread and back"),
    ("pipe latency", "A byte through a pipe and back"),
    ("pipe bandwidth", "1 MiB through a pipe"),
    ("unix socket latency", "A byte through a unix socket and back"),
    ("unix socket bandwidth", "1 MiB through a unix socket"),
    ("page fault, anonymous", "Page fault, anonymous, unmapping included"),
    ("page fault, file", "Page fault, file, unmapping included"),
    ("page fault, copy on write", "Page fault, copy on write"),
    ("mmap and munmap", "mmap and munmap of 64 KiB of a file"),
    ("file created and deleted", "File created and deleted on the overlay"),
    ("tar x", "`tar x` of 10,000 files"),
    ("find", "`find` over 10,000 files, by size"),
];

/// Instructions that a null call may take.
const NULL_CALL: f64 = 200.0;

/// Memory of both guests.
const MEMORY: &str = "512M";

/// Measures all rows in both guests, by instructions and by time, and the memory that processes leave behind.
pub fn measure() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let layout = image()?.cached()?;
    let home = folder.path().join("home");
    let words = |arguments: &[&str]| {
        machine::command_line(&home, &[&["-m", MEMORY, &layout.reference(), "/calls"], arguments].concat())
    };
    let archive = folder.path().join("initramfs");
    fs::write(&archive, linux::archive_of(&layout.unpack(&folder.path().join("bundle"))?)?)?;
    let (ours, theirs) = (words(&[])?, linux::words(&archive, MEMORY, &["/calls"])?);
    let (ours, theirs) = (Costs::of(&ours)?, Costs::of(&theirs)?);
    let mut rows = ROWS.iter().map(|row| compare(*row, &ours, &theirs)).collect::<Result<Vec<_>>>()?;
    rows.push(free_memory(&words(&["--free-memory"])?)?);
    Ok(rows)
}

/// The program, what it runs and unpacks, and a shell.
fn image() -> Result<Image> {
    let packages = ["dash", "libc6", "tar", "findutils", "libacl1", "libselinux1", "libpcre2-8-0"];
    let static_program = |source: &str| -> Result<Vec<u8>> {
        programs::bytes(&programs::compile("gcc", source, &["-O2", "-static"])?)
    };
    let dynamic = programs::bytes(&programs::compile("gcc", "nothing.c", &["-O2"])?)?;
    let data: Vec<u8> = (0..1u32 << 20).flat_map(u32::to_le_bytes).collect();
    Ok(image::debian(&packages)?.files(&[
        ("calls", &static_program("calls")?),
        ("nothing-static", &static_program("nothing.c")?),
        ("nothing-dynamic", &dynamic),
        ("usr/share/calls/data", &data),
        ("usr/share/calls/files.tar", &ten_thousand_files()),
    ]))
}

/// An archive of as many files of less than a page, a hundred in a folder.
fn ten_thousand_files() -> Vec<u8> {
    let mut archive = Layer::new();
    for folder in 0..100 {
        archive.folder(&format!("folder{folder}"), 0o755);
        for file in 0..100 {
            archive.file(&format!("folder{folder}/file{file}"), 0o644, &[b'x'; 400]);
        }
    }
    archive.finish()
}

/// What a row costs in a guest; nothing where its kernel has no such call.
type Cost = Option<(f64, f64)>;

/// What a guest's rows cost when instructions are counted, and when it runs as fast as it goes: counter and nanoseconds.
struct Costs {
    counted: Vec<(String, Cost)>,
    timed: Vec<(String, Cost)>,
}

impl Costs {
    /// Runs the program both ways.
    fn of(words: &[String]) -> Result<Self> {
        Ok(Self { counted: lines(words, &machine::COUNT)?, timed: lines(words, &[])? })
    }
}

/// The rows that the program prints in this machine.
fn lines(words: &[String], more: &[&str]) -> Result<Vec<(String, Cost)>> {
    let text = String::from_utf8_lossy(&machine::boot(words, more)?.stdout).into_owned();
    let cost = |words: &[&str]| Some((words.get(1)?.parse().ok()?, words.get(2)?.parse().ok()?));
    let rows: Vec<_> = text
        .lines()
        .map(|line| line.trim().split('\t').collect::<Vec<_>>())
        .filter(|words| words.len() > 1)
        .map(|words| (words[0].to_owned(), cost(&words)))
        .collect();
    if rows.len() != ROWS.len() {
        bail!("{} rows instead of {}:\n{text}", rows.len(), ROWS.len());
    }
    Ok(rows)
}

/// The row of the table, the guest's cost beside that of Linux.
fn compare((row, name): (&str, &'static str), ours: &Costs, theirs: &Costs) -> Result<Row> {
    let find = |rows: &[(String, Cost)]| -> Result<Cost> {
        let found = rows.iter().find(|(name, _)| name == row).with_context(|| format!("no row {row:?}"));
        Ok(found?.1)
    };
    let (bound, limit) = if row == "null call" {
        ("at most 200 instructions, and those of Linux", NULL_CALL)
    } else {
        ("at most the instructions of Linux", f64::INFINITY)
    };
    let (Some((count, _)), Some((ticks, time))) = (find(&ours.counted)?, find(&ours.timed)?) else {
        return Ok(Row { name, bound, measured: "not there".to_owned(), kept: Some(false) });
    };
    let missing = || format!("Linux has no {row:?}");
    let (linux_count, _) = find(&theirs.counted)?.with_context(missing)?;
    // Linux finds no clock here that is finer than its own 4 ms. Both guests read the counter of the same processor.
    let (linux_ticks, _) = find(&theirs.timed)?.with_context(missing)?;
    let linux_time = linux_ticks * time / ticks;
    let measured = format!(
        "{} against {} instructions, {:.2} times; {} against {}, {:.2} times",
        grouped(count as u64),
        grouped(linux_count as u64),
        count / linux_count,
        time_of(time),
        time_of(linux_time),
        time / linux_time
    );
    Ok(Row::at_most(name, bound, count, linux_count.min(limit), measured))
}

/// A time in a unit that suits it.
fn time_of(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e4 => format!("{nanoseconds:.0} ns"),
        ..1e7 => format!("{:.0} µs", nanoseconds / 1e3),
        _ => format!("{:.0} ms", nanoseconds / 1e6),
    }
}

/// What 20,000 processes that came and went took of the free memory.
fn free_memory(words: &[String]) -> Result<Row> {
    let text = String::from_utf8(machine::boot(words, &[])?.stdout)?;
    let figures = text.trim().strip_prefix("free memory\t").and_then(|rest| rest.split_once('\t'));
    let (before, after) = figures.with_context(|| format!("no figures in {text:?}"))?;
    let taken = before.parse::<u64>()?.saturating_sub(after.parse()?);
    let measured = format!("{} bytes less", grouped(taken));
    let name = "Free memory after 20,000 times fork, exec, wait";
    Ok(Row::at_most(name, "as before, but for one page", taken as f64, 4096.0, measured))
}
