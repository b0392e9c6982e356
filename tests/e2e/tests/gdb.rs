//! `isopod run --gdb`: a debugger of this host takes over at the program's first instruction. And core files, which it opens.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{programs, run_limited, succeed};

/// A port that is free now.
fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

/// The address at which an ELF says that it begins.
fn entry(file: &Path) -> Result<u64> {
    let bytes = programs::bytes(file)?;
    Ok(u64::from_le_bytes(bytes.get(24..32).context("a header")?.try_into()?))
}

/// Runs gdb as the hint of `isopod run --gdb` says, then these commands of its own, and returns what `isopod` said, what gdb said, and how
/// the application ended.
fn debug(options: &[&str], program: &Path, commands: &[&str]) -> Result<(String, String, Option<i32>)> {
    let port = free_port()?;
    let source = format!("elf:{}", program.display());
    let arguments = [&["run", "--gdb", &port], options, &[&source, "one", "two"]].concat();
    let mut guest = Isopod::shared().start_heard(&arguments)?;
    let said = guest.line()?;
    let hint = guest.line()?;
    let line =
        hint.strip_prefix("hint: in another terminal: gdb").with_context(|| format!("{said}\n{hint}"))?;
    let commands: Vec<_> = commands.iter().map(|command| format!(" -ex '{command}'")).collect();
    let commands = commands.concat();
    let mut gdb = Command::new("sh");
    gdb.args(["-c", &format!("exec gdb -nx -batch -ex 'set width 0'{line}{commands} 2>&1")]);
    let finished = run_limited(&mut gdb, b"", Duration::from_mins(2))?;
    Ok((said, String::from_utf8_lossy(&finished.stdout).into_owned(), guest.end()?))
}

#[test]
fn a_static_program_waits_at_its_entry() -> Result<()> {
    let program = programs::compile("gcc", "outside.c", &["-g", "-O0", "-static"])?;
    let entry = entry(&program)?;
    let commands = [
        "info registers rip",
        "break second",
        "continue",
        "print value",
        "set variable value = 5",
        "delete",
        "continue",
    ];
    for options in [&[][..], &["--cpus", "2", "--init"]] {
        let (said, gdb, status) = debug(options, &program, &commands)?;
        assert!(said.ends_with(&format!("waits at its first instruction, {entry:#x}")), "{said}");
        assert!(gdb.contains(&format!("rip            {entry:#x}")), "{gdb}");
        // Three arguments, and the status that the debugger has made of them.
        assert!(gdb.contains("$1 = 3\n"), "{gdb}");
        assert_eq!(status, Some(50), "{gdb}");
    }
    Ok(())
}

#[test]
fn a_dynamic_program_waits_at_its_loaders() -> Result<()> {
    let program = programs::compile("gcc", "outside.c", &["-g", "-O0"])?;
    let interpreter = succeed(
        Command::new("sh")
            .args(["-c", "readelf -l $0 | sed -n 's/.*interpreter: \\(.*\\)\\]/\\1/p'"])
            .arg(&program),
    )?;
    let loader = String::from_utf8(interpreter)?;
    let loader = entry(Path::new(loader.trim()))?;
    let (said, gdb, status) = debug(
        &[],
        &program,
        &["info registers rip", "hbreak second", "continue", "print value", "backtrace", "continue"],
    )?;
    let address = said.split_once("the first instruction of its loader, 0x").with_context(|| said.clone())?.1;
    let address = u64::from_str_radix(address, 16)?;
    assert_eq!(address % 4096, loader % 4096, "{said}");
    assert!(gdb.contains(&format!("rip            {address:#x}")), "{gdb}");
    assert!(gdb.contains("$1 = 3\n") && gdb.contains("in main ("), "{gdb}");
    assert_eq!(status, Some(30), "{gdb}");
    Ok(())
}

#[test]
fn what_cannot_be_debugged_is_said() -> Result<()> {
    let isopod = Isopod::shared();
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    isopod.run(&["run", "--gdb", &port, "elf:/bin/true"])?.expect_refusal("Address already in use");
    isopod.run(&["run", "--gdb", "0", "elf:/bin/true"])?.expect_status(125);
    isopod.run(&["run", "--gdb", "1234", "--print-cmd", "elf:/bin/true"])?.expect_status(125);
    // A program that never begins.
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("bin"))?;
    let source = format!("rootfs:{}", folder.path().display());
    isopod.run(&["run", "--gdb", &free_port()?, &source, "/bin/missing"])?.expect_status(127);
    Ok(())
}

/// What `core.c` writes to standard output and says on standard error, ended in this way.
fn core_of(program: &Path, how: &str, cpus: &str) -> Result<(Vec<u8>, String)> {
    let source = format!("elf:{}", program.display());
    let mut command = Isopod::shared().command(&["run", "--network", "none", "--cpus", cpus, &source, how]);
    let finished = run_limited(&mut command, b"", Duration::from_mins(2))?;
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    Ok((finished.stdout, String::from_utf8_lossy(&finished.stderr).into_owned()))
}

#[test]
fn a_core_file_shows_all_threads_and_their_memory() -> Result<()> {
    let program = programs::compile("gcc", "core.c", &["-g", "-O0", "-static", "-pthread"])?;
    for cpus in ["1", "4"] {
        let (core, said) = core_of(&program, "fault", cpus)?;
        assert!(said.contains("signal 11, core 1, code 3\n"), "{said}");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("core");
        std::fs::write(&file, core)?;
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set width 0"]);
        for command in [
            "info threads",
            "thread apply all backtrace",
            "print marker",
            "print text",
            "frame 2",
            "print here",
            "print $_siginfo.si_signo",
            "print $_siginfo._sifields._sigfault.si_addr",
        ] {
            gdb.args(["-ex", command]);
        }
        let finished = run_limited(gdb.arg(&program).arg(&file), b"", Duration::from_mins(2))?;
        let shown = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert_eq!(shown.matches("in sleeper (").count(), 3, "{shown}");
        for (wanted, times) in [("in deeper (depth=3)", 1), ("$1 = 4711\n", 1), ("\"on the heap\"", 1)] {
            assert_eq!(shown.matches(wanted).count(), times, "{wanted}: {shown}");
        }
        for wanted in ["$3 = 2\n", "$4 = 11\n", "$5 = (void *) 0x10\n"] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
    }
    Ok(())
}

#[test]
fn a_core_file_has_a_limit_and_keeps_secrets() -> Result<()> {
    let program = programs::compile("gcc", "core.c", &["-g", "-O0", "-static", "-pthread"])?;
    let (core, said) = core_of(&program, "limited", "1")?;
    assert!(said.contains("signal 11, core 1, code 3\n"), "{said}");
    assert!(core.starts_with(b"\x7fELF") && core.len() <= 16384, "{} bytes", core.len());
    let (core, said) = core_of(&program, "hidden", "1")?;
    assert!(said.contains("signal 11, core 0, code 2\n") && core.is_empty(), "{said}");
    Ok(())
}
