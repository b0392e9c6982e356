//! The questions of `usertest`: Linux and the guest give the recorded answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{cache, programs, run_limited};

/// The answers that Linux gave when they were recorded. `ISOPOD_RECORD=1` records them anew.
fn expected() -> Result<String> {
    Ok(fs::read_to_string(cache::workspace().join("tests/usertest/expected.txt"))?)
}

/// Fails with the lines that differ.
fn compare(expected: &str, found: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (expected, found) = (lines(expected), lines(found));
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).cloned().collect();
    let added: Vec<_> = found.iter().filter(|line| !expected.contains(line)).cloned().collect();
    assert!(
        expected == found,
        "{} of {} answers differ\n--- expected\n{}\n--- found\n{}",
        missing.len(),
        expected.len(),
        missing.join("\n"),
        added.join("\n")
    );
}

#[test]
fn linux_gives_the_recorded_answers() -> Result<()> {
    anyhow::ensure!(isopod_e2e::disk::is_root()?, "the questions about owners and devices need root");
    let mut command = Command::new(programs::usertest()?);
    let finished = run_limited(command.env_clear(), b"", Duration::from_mins(2))?;
    assert!(finished.status.success(), "{finished:?}");
    let found = String::from_utf8(finished.stdout)?;
    if std::env::var_os("ISOPOD_RECORD").is_some() {
        fs::write(cache::workspace().join("tests/usertest/expected.txt"), &found)?;
    }
    compare(&expected()?, &found);
    Ok(())
}

#[test]
fn the_guest_gives_the_recorded_answers() -> Result<()> {
    the_guest_answers_on("1")
}

#[test]
fn the_guest_gives_the_recorded_answers_on_four_processors() -> Result<()> {
    the_guest_answers_on("4")
}

/// Each call of the kernel's table is made by a case: `SYS_` and its name stand in one of them.
#[test]
fn every_call_is_asked() -> Result<()> {
    let table = fs::read_to_string(cache::workspace().join("minikernel/linux/src/syscall/table.rs"))?;
    let calls: Vec<&str> = table
        .lines()
        .filter(|line| line.contains(") => "))
        .filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(' ')?;
            number.parse::<u32>().ok()?;
            rest.split_once('(').map(|(name, _)| name)
        })
        .collect();
    assert!(calls.len() > 250, "the table is not read as it is written: {calls:?}");
    let asked = words_below(&cache::workspace().join("tests/usertest/src/cases"))?;
    let missing: Vec<_> = calls.into_iter().filter(|name| !asked.contains(&format!("SYS_{name}"))).collect();
    assert!(missing.is_empty(), "no case in tests/usertest/src/cases makes {missing:?}");
    Ok(())
}

/// The words of all files in a folder.
fn words_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut words = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            words.append(&mut words_below(&path)?);
            continue;
        }
        let text = fs::read_to_string(path)?;
        words.extend(text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
    }
    Ok(words)
}

fn the_guest_answers_on(cpus: &str) -> Result<()> {
    let program = programs::bytes(&programs::usertest()?)?;
    let image = Image::new().layer(base_layer()).files(&[("usertest", &program)]).entrypoint(&["/usertest"]);
    let outcome =
        Isopod::shared().run(&["run", "--network", "none", "--cpus", cpus, &image.cached()?.reference()])?;
    compare(&expected()?, &outcome.stdout);
    outcome.expect_status(0);
    Ok(())
}
