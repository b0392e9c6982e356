//! `isopod run` starts a program as its image says, carries its streams, and ends as it ends.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use isopod_e2e::guest::Guest;
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::isopod::{Isopod, Outcome};
use isopod_e2e::programs;

/// An image with the programs `/end` and `/show`.
fn image() -> Result<Image> {
    let compiled = |source| programs::bytes(&programs::compile("gcc", source, &["-O1", "-static"])?);
    let (end, show) = (compiled("end.c")?, compiled("show.c")?);
    Ok(Image::new().layer(base_layer()).files(&[("end", &end), ("show", &show), ("bin/show", &show)]))
}

/// Runs `/end` with these words.
fn end(words: &[&str]) -> Result<Outcome> {
    let reference = image()?.entrypoint(&["/end"]).cached()?.reference();
    Isopod::shared().run(&[&["run", &reference], words].concat())
}

/// Runs `/show` with options before the source.
fn show(image: &Image, options: &[&str], words: &[&str], input: &str) -> Result<Outcome> {
    let reference = image.cached()?.reference();
    Isopod::shared().input(input.as_bytes()).run(&[&["run"], options, &[&reference], words].concat())
}

#[test]
fn every_exit_status_arrives() -> Result<()> {
    // Each of them is a virtual machine; the two halves run side by side.
    let check = |statuses: std::ops::Range<i32>| -> Result<()> {
        for status in statuses {
            end(&["exit", &status.to_string()])?.expect_status(status);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let lower = scope.spawn(|| check(0..128));
        check(128..256)?;
        lower.join().expect("the other half does not panic")
    })
}

#[test]
fn last_thread_gives_the_status() -> Result<()> {
    // By exit(2), as exit_group(2); on Linux so since 5.19 (`synchronize_group_exit`).
    end(&["last", "60", "5"])?.expect_status(5);
    end(&["last", "231", "6"])?.expect_status(6);
    Ok(())
}

#[test]
fn faults_end_with_their_signal_and_a_report() -> Result<()> {
    // `abort` raises SIGABRT, to which PID 1 is immune, and then executes an instruction that faults.
    for (fault, status, name) in [
        ("segv", 139, "SIGSEGV"),
        ("divide", 136, "SIGFPE"),
        ("illegal", 132, "SIGILL"),
        ("abort", 139, "SIGSEGV"),
    ] {
        end(&[fault])?.expect_status(status).expect_stderr_contains(name).expect_stderr_contains("rip");
    }
    Ok(())
}

#[test]
fn first_process_is_immune_to_its_own_signals() -> Result<()> {
    for signal in ["15", "2", "1", "9", "10"] {
        end(&["kill", signal])?.expect_stdout("still here\n").expect_status(3);
    }
    Ok(())
}

#[test]
fn missing_and_unusable_programs() -> Result<()> {
    let image = image()?.layer({
        let mut layer = isopod_e2e::image::Layer::new();
        layer.file("plain", 0o644, b"#!/show\n").file("text", 0o755, b"only text\n");
        // Along PATH, what is missing or may not be executed is passed over; what fails otherwise is not.
        layer.file("usr/bin/hidden", 0o644, b"").file("bin/hidden", 0o755, b"#!/show\n");
        layer.symlink("usr/bin/circle", "circle").file("bin/circle", 0o755, b"#!/show\n");
        layer.finish()
    });
    show(&image, &[], &["/no/such/program"], "")?.expect_status(127);
    show(&image, &[], &["no-such-program"], "")?.expect_status(127);
    show(&image, &[], &["/plain"], "")?.expect_status(126);
    show(&image, &[], &["/text"], "")?.expect_status(126);
    show(&image, &[], &["/etc"], "")?.expect_status(126);
    show(&image, &[], &["hidden"], "")?.expect_status(0);
    show(&image, &[], &["circle"], "")?.expect_status(126);
    Ok(())
}

#[test]
fn what_is_too_much_to_pass_is_refused_as_execve_refuses_it() -> Result<()> {
    let run = |words: Vec<String>, memory: &str| {
        let image = image()?.entrypoint(&["/end", "exit", "7"]).set("Cmd", words);
        show(&image, &["-m", memory], &[], "")
    };
    let empty = |count| vec![String::new(); count];
    // Each takes its NUL and a pointer, of 2 MiB.
    run(empty(200_000), "256M")?.expect_status(7);
    run(empty(240_000), "256M")?.expect_status(125).expect_stderr_contains("command is too long");
    // A single string may have 128 KiB, with its NUL.
    run(vec!["x".repeat((128 << 10) - 1)], "256M")?.expect_status(7);
    run(vec!["x".repeat(128 << 10)], "256M")?
        .expect_status(125)
        .expect_stderr_contains("command is too long");
    // What the machine has no memory to read.
    run(empty(200_000), "16M")?.expect_status(125).expect_stderr_contains("give the VM more with -m");
    Ok(())
}

#[test]
fn what_is_in_the_way_of_a_file_system_is_named() -> Result<()> {
    let mut layer = isopod_e2e::image::Layer::new();
    layer.symlink("proc", "nowhere");
    let outcome = show(&image()?.layer(layer.finish()), &[], &["/end", "exit", "7"], "")?;
    outcome.expect_status(125).expect_stderr_contains("cannot mount /proc: ");
    Ok(())
}

#[test]
fn configuration_of_the_image_is_obeyed() -> Result<()> {
    let image = image()?
        .entrypoint(&["/show", "fixed"])
        .set("Cmd", vec!["default"])
        .set("Env", vec!["PATH=/bin", "FROM_IMAGE=a b"])
        .set("WorkingDir", "/home")
        .set("User", "app");
    let outcome = show(&image, &[], &[], "")?;
    outcome.expect_status(0);
    let mut lines: Vec<_> = outcome.stdout.lines().collect();
    // The order of variables is nobody's promise.
    lines[3..7].sort_unstable();
    let expected = [
        "argument /show",
        "argument fixed",
        "argument default",
        "environment FROM_IMAGE=a b",
        "environment HOME=/home/app",
        "environment HOSTNAME=isopod",
        "environment PATH=/bin",
        "folder /home",
        "identity 1000 1001 pid 1",
        "group 1001",
        "group 2002",
    ];
    assert_eq!(lines, expected);
    Ok(())
}

#[test]
fn options_override_the_image() -> Result<()> {
    let image = image()?.entrypoint(&["/end"]).set("Cmd", vec!["default"]).set("Env", vec!["A=1", "B=2"]);
    let options = ["--entrypoint", "show", "-e", "A=changed", "-e", "C=3", "-u", "7:8", "-w", "/new/folder"];
    let outcome = show(&image, &options, &["-e", "--flag", "-m", "1"], "")?;
    outcome.expect_status(0);
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..5], ["argument show", "argument -e", "argument --flag", "argument -m", "argument 1"]);
    for line in ["environment A=changed", "environment B=2", "environment C=3", "folder /new/folder"] {
        assert!(lines.contains(&line), "{line:?} is missing: {lines:?}");
    }
    assert!(lines.contains(&"identity 7 8 pid 1"), "{lines:?}");
    Ok(())
}

#[test]
fn command_line_replaces_cmd_only() -> Result<()> {
    let image = image()?.entrypoint(&["/show", "fixed"]).set("Cmd", vec!["default"]);
    let outcome = show(&image, &[], &["word", ""], "")?;
    outcome.expect_status(0);
    assert!(outcome.stdout.starts_with("argument /show\nargument fixed\nargument word\nargument \n"));
    Ok(())
}

#[test]
fn streams_are_kept_apart_and_input_arrives() -> Result<()> {
    let image = image()?.entrypoint(&["/show"]);
    let lines = (0..2000).map(|line| format!("line {line} of some length\n")).collect::<Vec<_>>().concat();
    let outcome = show(&image, &["-i"], &[], &lines)?;
    outcome.expect_status(0);
    let prefixed =
        |prefix: &str| lines.lines().map(|line| format!("{prefix} {line}\n")).collect::<Vec<_>>().concat();
    assert!(outcome.stdout.ends_with(&prefixed("out")), "standard output lacks lines");
    assert_eq!(outcome.stderr, prefixed("err"));
    // Without -i the program finds its input at its end.
    let outcome = show(&image, &[], &[], &lines)?;
    outcome.expect_status(0);
    assert!(!outcome.stdout.contains("out "));
    Ok(())
}

#[test]
fn both_machines_and_little_memory() -> Result<()> {
    for machine in ["microvm", "q35"] {
        for memory in ["16M", "512M"] {
            let hello = programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?;
            Isopod::shared()
                .run(&["run", "--machine", machine, "-m", memory, &format!("elf:{}", hello.display())])?
                .expect_stdout("hello\n")
                .expect_status(0);
        }
    }
    Ok(())
}

#[test]
fn trace_names_the_calls() -> Result<()> {
    let image = image()?.entrypoint(&["/end"]);
    show(&image, &["--trace"], &["exit", "4"], "")?.expect_status(4).expect_stderr_contains("exit_group(4)");
    Ok(())
}

/// Starts `/end` with a word and waits until it says that it waits.
fn start(image: &Image, word: &str) -> Result<Guest> {
    let reference = image.cached()?.reference();
    let mut guest = Isopod::shared().start(&["run", &reference, word])?;
    assert_eq!(guest.line()?, "waiting");
    Ok(guest)
}

#[test]
fn signals_of_the_user_become_the_stop_signal() -> Result<()> {
    let image = image()?.entrypoint(&["/end"]);
    // The image's stop signal, whichever signal the user sent; SIGTERM is the default.
    for (configured, sent, number) in
        [("SIGQUIT", "TERM", 3), ("SIGUSR1", "INT", 10), ("", "HUP", 15), ("2", "TERM", 2)]
    {
        let image =
            if configured.is_empty() { image.clone() } else { image.clone().set("StopSignal", configured) };
        let mut guest = start(&image, "wait")?;
        guest.signal(sent)?;
        assert_eq!(guest.line()?, format!("signal {number}"));
        assert_eq!(guest.end()?, Some(40 + number), "{configured} {sent}");
    }
    Ok(())
}

#[test]
fn stop_signal_without_a_handler_ends_the_program() -> Result<()> {
    let mut guest = start(&image()?.entrypoint(&["/end"]), "plain")?;
    guest.signal("TERM")?;
    assert_eq!(guest.end()?, Some(128 + 15));
    Ok(())
}

#[test]
fn second_signal_kills() -> Result<()> {
    let mut guest = start(&image()?.entrypoint(&["/end"]), "stubborn")?;
    guest.signal("TERM")?;
    std::thread::sleep(Duration::from_millis(300));
    assert!(guest.runs()?, "one signal was enough");
    guest.signal("INT")?;
    assert_eq!(guest.end()?, Some(128 + 9));
    Ok(())
}

#[test]
fn machine_dies_with_isopod() -> Result<()> {
    let mut guest = start(&image()?.entrypoint(&["/end"]), "stubborn")?;
    let children = guest.children()?;
    assert!(!children.is_empty(), "the machine is no direct child");
    guest.signal("KILL")?;
    guest.end()?;
    let start = Instant::now();
    while children.iter().any(|id| std::path::Path::new(&format!("/proc/{id}")).exists()) {
        assert!(start.elapsed() < Duration::from_secs(10), "the machine outlives isopod");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn printed_command_runs_by_hand() -> Result<()> {
    let hello = programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?;
    let outcome = Isopod::shared().run(&[
        "run",
        "--print-cmd",
        "--accel",
        "tcg",
        &format!("elf:{}", hello.display()),
    ])?;
    outcome.expect_status(0);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&outcome.stdout);
    let finished = isopod_e2e::run_limited(&mut shell, b"", Duration::from_mins(1))?;
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(text.contains("hello"), "the command {} prints {text:?}", outcome.stdout);
    Ok(())
}

#[test]
fn linked_file_runs_alone_and_through_isopod() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.elf");
    let (file, reference) = (file.to_str().context("a path of letters")?, image()?.cached()?.reference());
    let isopod = Isopod::shared();
    isopod.run(&["build", "-o", file, &reference, "--", "/end", "exit", "33"])?.expect_status(0);
    isopod.run(&["run", file])?.expect_status(33);
    // A VMM that knows nothing of Isopod boots the same file.
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-M",
        "microvm",
        "-accel",
        "tcg",
        "-m",
        "64M",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
    ]);
    qemu.args(["-display", "none", "-serial", "stdio", "-kernel", file]);
    let finished = isopod_e2e::run_limited(&mut qemu, b"", Duration::from_mins(1))?;
    assert!(finished.status.success(), "{finished:?}");
    Ok(())
}

#[test]
fn two_builds_give_the_same_bytes() -> Result<()> {
    let reference = image()?.cached()?.reference();
    let build = || -> Result<Vec<u8>> {
        // A cache of its own each time, so that everything is made anew.
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("app.elf");
        let name = file.to_str().context("a path of letters")?;
        Isopod::with_home(&folder.path().join("home"))
            .run(&["build", "-o", name, &reference, "--", "/end", "exit", "0"])?
            .expect_status(0);
        Ok(std::fs::read(&file)?)
    };
    assert!(build()? == build()?, "the two files differ");
    Ok(())
}
