//! `--init`: the kernel is process 1, and the application its child.

use anyhow::Result;
use isopod_e2e::image::{self, Layout};
use isopod_e2e::isopod::{Isopod, Outcome};

/// An image that runs a line of busybox's shell.
fn shell(line: &str) -> Result<Layout> {
    image::debian(&["busybox-static"])?.entrypoint(&["/bin/busybox", "sh", "-c", line]).cached()
}

fn run(options: &[&str], line: &str) -> Result<Outcome> {
    Isopod::shared().run(&[&["run"], options, &[&shell(line)?.reference()]].concat())
}

#[test]
fn the_application_is_process_2_and_its_status_the_machines() -> Result<()> {
    let line = "echo $$ $PPID; cat /proc/1/comm /proc/1/cmdline; readlink /proc/1/exe || echo no file; \
                grep -E '^(State|PPid|Threads|VmRSS)' /proc/1/status; ls /proc/1/fd; kill -9 1; \
                ps -o pid,args | sed -n 2p; exit 7";
    let expected = "2 1\nisopod-init\nno file\nState:\tS (sleeping)\nPPid:\t0\nVmRSS:\t       0 kB\nThreads:\t1\n\
                    \u{20}   1 [isopod-init]\n";
    run(&["--init"], line)?.expect_stdout(expected).expect_status(7);
    run(&["--init"], "kill -9 $$")?.expect_status(137);
    run(&["--init"], "exec /no/such/program")?.expect_status(127);
    run(&[], "echo $$")?.expect_stdout("1\n").expect_status(0);
    Ok(())
}

#[test]
fn orphans_are_taken_in_and_leave_no_zombies() -> Result<()> {
    // The child of a subshell that has ended; its parent is process 1 until it is gone for good.
    let line = "(sleep 0.3 & echo $! > /orphan); read orphan < /orphan; grep PPid /proc/$orphan/status; \
                while test -d /proc/$orphan; do sleep 0.1; done; echo gone";
    run(&["--init"], line)?.expect_stdout("PPid:\t1\ngone\n").expect_status(0);
    Ok(())
}

#[test]
fn signals_are_passed_on() -> Result<()> {
    let line = "trap 'echo got; exit 5' TERM; kill -TERM 1; while true; do sleep 0.1; done";
    run(&["--init"], line)?.expect_stdout("got\n").expect_status(5);
    // The user's, through the stop signal; without a handler it ends the application, which is not process 1.
    let reference = shell("echo waiting; exec sleep 100")?.reference();
    let mut guest = Isopod::shared().start(&["run", "--init", &reference])?;
    assert_eq!(guest.line()?, "waiting");
    guest.signal("TERM")?;
    assert_eq!(guest.end()?, Some(128 + 15));
    Ok(())
}

#[test]
fn a_linked_file_keeps_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.elf").display().to_string();
    let reference = shell("echo $$")?.reference();
    Isopod::shared().run(&["build", "--init", "-o", &file, &reference])?.expect_status(0);
    Isopod::shared().run(&["run", &file])?.expect_stdout("2\n").expect_status(0);
    Ok(())
}
