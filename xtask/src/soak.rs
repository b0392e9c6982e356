//! What takes too long for every change: the same things many times, at once, and interrupted.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use isopod_e2e::programs;
use isopod_e2e::room::{Room, large_image};

use crate::{process, workspace};

/// How often the questions to the kernel are asked.
const QUESTIONS: u32 = 20;
/// Machines that are booted, and how many at once.
const BOOTS: u32 = 200;
const AT_ONCE: usize = 4;
/// How often builds of one image are started together, how many, and how long they are left alone before some are killed.
const ROUNDS: u32 = 25;
const BUILDS: u32 = 4;
const SPREAD: Duration = Duration::from_millis(1500);

/// Longer than any build here takes.
const LIMIT: Duration = Duration::from_mins(5);

/// A part's name and what runs it.
type Part = (&'static str, fn() -> Result<()>);

const PARTS: [Part; 3] = [("questions", questions), ("boots", boots), ("builds", builds)];

/// What to run.
#[derive(Default, clap::Args)]
pub struct Arguments {
    /// Parts to run; all if none is named
    #[arg(value_parser = PARTS.map(|(name, _)| name))]
    parts: Vec<String>,
}

/// Runs the parts in order; the first that fails ends the run.
pub fn run(arguments: &Arguments) -> Result<()> {
    process::run(workspace::cargo().args(["build", "--quiet", "--package", "isopod"]))?;
    let chosen = |name: &str| arguments.parts.is_empty() || arguments.parts.iter().any(|part| part == name);
    PARTS.into_iter().filter(|(name, _)| chosen(name)).try_for_each(|(_, part)| part())
}

/// All questions to the kernel, again and again: what depends on timing differs at last.
fn questions() -> Result<()> {
    for round in 1..=QUESTIONS {
        println!("soak: questions, {round} of {QUESTIONS}");
        let mut nextest = workspace::cargo();
        nextest.args([
            "nextest",
            "run",
            "--package",
            "isopod-e2e",
            "--test",
            "usertest",
            "--status-level",
            "fail",
        ]);
        process::run(&mut nextest)?;
    }
    Ok(())
}

/// Many machines, several at once, each of which must end with the status it was asked for.
fn boots() -> Result<()> {
    let program = programs::compile("gcc", "end.c", &["-O2", "-static"])?;
    let source = format!("elf:{}", program.display());
    let room = Room::new()?;
    let next = AtomicU32::new(0);
    let boot = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= BOOTS {
                return Ok(());
            }
            let status = number % 256;
            let outcome = room.isopod.run(&["run", &source, "exit", &status.to_string()])?;
            ensure!(
                outcome.status == i32::try_from(status).ok() && outcome.stderr.is_empty(),
                "machine {number} was asked for the status {status}: {outcome:?}"
            );
        }
    };
    println!("soak: {BOOTS} boots");
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(boot)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a boot does not panic"))
    })
}

/// Builds of one image with one cache, started together and killed at random: those that live succeed with the same bytes, and the
/// cache works afterwards.
fn builds() -> Result<()> {
    let source = large_image(40)?.cached()?.reference();
    let room = Room::new()?;
    let whole = room.path("whole.elf");
    room.isopod.run(&["build", "-o", &whole, &source])?.expect_status(0);
    let expected = std::fs::read(&whole)?;
    let mut random = Random(0x1505_0d15_ca1e_0001);
    for round in 1..=ROUNDS {
        println!("soak: builds, {round} of {ROUNDS}");
        // Every other round begins with nothing.
        if round % 2 == 1 {
            std::fs::remove_dir_all(room.path("home"))?;
        }
        let outputs: Vec<_> = (0..BUILDS).map(|number| room.path(&format!("{number}.elf"))).collect();
        let mut builds = Vec::new();
        for output in &outputs {
            let mut command = room.isopod.command(&["build", "-o", output, &source]);
            builds.push(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        let lives = kill_some(&mut builds, &mut random)?;
        for (output, lives) in outputs.iter().zip(lives) {
            let is_there = std::path::Path::new(output).exists();
            ensure!(is_there || !lives, "a build that lived left nothing");
            if is_there {
                ensure!(std::fs::read(output)? == expected, "{output} has other bytes");
                std::fs::remove_file(output)?;
            }
        }
        room.isopod.run(&["build", "-o", &whole, &source])?.expect_status(0);
        ensure!(std::fs::read(&whole)? == expected, "the cache gives other bytes");
        // What is left but the whole one would be a partial file.
        ensure!(room.names()?.len() == 1, "partial files: {:?}", room.names()?);
    }
    // The machine runs what came of it.
    let outcome = room.isopod.run(&["run", "-m", "256m", &source])?;
    outcome.expect_stdout("hello\n").expect_status(0);
    Ok(())
}

/// Kills each build with one chance in two, at a random time; which of them lived to their end.
fn kill_some(builds: &mut [Child], random: &mut Random) -> Result<Vec<bool>> {
    let start = Instant::now();
    let mut doomed: Vec<_> = builds
        .iter()
        .map(|_| (random.below(2) == 0).then(|| SPREAD.mul_f64(f64::from(random.below(1000)) / 1000.0)))
        .collect();
    let mut ended = vec![None; builds.len()];
    while ended.iter().any(Option::is_none) {
        ensure!(start.elapsed() < LIMIT, "a build hangs");
        for ((build, doom), ended) in builds.iter_mut().zip(&mut doomed).zip(&mut ended) {
            if doom.is_some_and(|at| start.elapsed() >= at) {
                build.kill()?;
                *doom = None;
            }
            *ended = ended.or(build.try_wait()?);
        }
        thread::sleep(Duration::from_millis(1));
    }
    let lived = |status: &Option<std::process::ExitStatus>| -> Result<bool> {
        let status = status.context("all have ended")?;
        match status.code() {
            Some(0) => Ok(true),
            // By a signal: ours.
            None => Ok(false),
            Some(_) => bail!("a build failed beside the others: {status}"),
        }
    };
    ended.iter().map(lived).collect()
}

/// A xorshift generator: the same sequence on every run.
struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32) % limit
    }
}
