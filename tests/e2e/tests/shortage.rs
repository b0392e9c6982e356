//! Memory runs out: what asks for most of it ends or fails, and everything else goes on (design, decision 10).

use anyhow::Result;
use isopod_e2e::isopod::{Isopod, Outcome};
use isopod_e2e::{image, programs};

/// Runs a line of busybox's shell in a guest of 64 MiB, beside the program `shortage`.
fn in_little_memory(line: &str) -> Result<Outcome> {
    let program = programs::bytes(&programs::compile("gcc", "shortage.c", &["-O1", "-static"])?)?;
    let image = image::debian(&["busybox-static"])?.files(&[("shortage", &program)]);
    let reference = image.cached()?.reference();
    Isopod::shared().run(&["run", "-m", "64M", &reference, "/bin/busybox", "sh", "-c", line])
}

/// How often the console says that the program has ended for want of memory; nothing else may have ended otherwise.
fn victims(outcome: &Outcome) -> usize {
    let ends: Vec<_> = outcome.stderr.lines().filter(|line| line.contains(" ends with ")).collect();
    let is_victim = |line: &&str| {
        line.starts_with("isopod: shortage (") && line.contains("ends with SIGKILL: out of memory")
    };
    assert!(ends.iter().all(is_victim), "{}", outcome.stderr);
    ends.len()
}

#[test]
fn a_call_that_needs_a_page_waits_for_it_or_its_process_ends() -> Result<()> {
    let outcome = in_little_memory("/shortage calls")?;
    outcome.expect_stdout("read: signal 9\nstat: signal 9\nsignal: signal 9\n").expect_status(0);
    assert_eq!(victims(&outcome), 3);
    Ok(())
}

#[test]
fn shared_memory_has_no_limit_but_all_memory() -> Result<()> {
    let outcome = in_little_memory("/shortage shared")?;
    outcome.expect_stdout("anonymous: status 0\nmemfd: status 0\nsegment: status 0\nall: signal 9\n");
    assert_eq!(victims(&outcome), 1);
    Ok(())
}

#[test]
fn a_full_disk_in_memory_is_its_writers_alone() -> Result<()> {
    let fill = "busybox dd if=/dev/zero of=/big bs=1M; echo alive; busybox rm /big; busybox dd if=/dev/zero of=/dev/shm/big bs=1M; echo alive";
    let outcome = in_little_memory(fill)?;
    outcome.expect_stdout("alive\nalive\n").expect_status(0);
    let messages = outcome.stderr.lines();
    assert_eq!(messages.filter(|line| line.contains("No space left on device")).count(), 2);
    assert_eq!(victims(&outcome), 0);
    Ok(())
}

#[test]
fn a_process_with_many_files_is_told_and_hurts_nobody() -> Result<()> {
    let outcome = in_little_memory("busybox sleep 1000 & /shortage files; kill $! && echo alive")?;
    outcome.expect_stdout("files: status 0\nalive\n").expect_status(0);
    assert_eq!(victims(&outcome), 0);
    Ok(())
}

#[test]
fn many_processes_with_many_files_hurt_nobody_else() -> Result<()> {
    let line = "busybox sleep 1000 & busybox setsid /shortage files-of-many; kill $! && echo alive";
    let outcome = in_little_memory(line)?;
    outcome.expect_stdout("made\nalive\n").expect_status(0);
    victims(&outcome);
    Ok(())
}
