//! What a network does that nobody wishes for: a link that loses frames, floods, peers that do not read, and frames that make no sense. The machine
//! answers meanwhile and afterwards, and its memory is free again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::server::connect;
use isopod_e2e::{cache, disk, image, programs, run_limited};

/// What the peers say when the machine has stood it.
const STOOD: &str = "\
a link that loses, repeats and reorders
a flood of first segments
more connections than a queue has room for
peers that do not read
frames that make no sense
its memory is free again
";

/// In a network of its own, where `/sys` tells of its devices.
const ENTER: &str = r#"mount -t sysfs sysfs /sys && exec "$@""#;

fn stands(options: &[&str]) -> Result<()> {
    let programs = cache::workspace().join("tests/e2e/programs/faults");
    let server = fs::read(programs.join("server.py"))?;
    let reference = image::debian(&PYTHON)?.files(&[("server.py", &server)]).cached()?.reference();
    let network = ["-m", "128M", "--network", "tap=tap0", "--ip", "10.1.0.2/24", "--gateway", "10.1.0.1"];
    let command = [&reference, "/usr/bin/python3.11", "/server.py"];
    let isopod = Isopod::shared().command(&[&["run"], &network[..], options, &command].concat());
    let mut peers = Command::new("unshare");
    // Without root, as the root of a user namespace.
    peers.arg(if disk::is_root()? { "-mn" } else { "-rmn" });
    peers.args(["sh", "-c", ENTER, "sh", "python3"]).arg(programs.join("peer.py"));
    peers.arg(isopod.get_program()).args(isopod.get_args());
    peers.envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let finished = run_limited(&mut peers, b"", Duration::from_mins(10)).context("the machine hangs")?;
    let (out, err) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
    assert!(out == STOOD && finished.status.success(), "{out}\n{err}");
    Ok(())
}

#[test]
#[ignore = "takes up to two minutes"]
fn a_machine_stands_what_its_network_does() -> Result<()> {
    stands(&[])
}

#[test]
#[ignore = "takes up to two minutes"]
fn a_pc_with_several_processors_stands_what_its_network_does() -> Result<()> {
    stands(&["--machine", "q35", "--cpus", "2"])
}

/// The QEMU that would be found without this one, with a monitor at `$MONITOR`.
const QEMU: &str = r#"#!/bin/sh
PATH=$REST
exec "${0##*/}" "$@" -qmp "unix:$MONITOR,server=on,wait=off"
"#;

/// QEMU's monitor (its documentation, "QEMU Machine Protocol Specification").
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn at(path: &str) -> Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let mut monitor = Self(BufReader::new(stream));
        monitor.0.read_line(&mut String::new())?;
        monitor.command(r#"{"execute": "qmp_capabilities"}"#)?;
        Ok(monitor)
    }

    /// Gives a command, and waits until it has been carried out.
    fn command(&mut self, command: &str) -> Result<()> {
        self.0.get_mut().write_all(command.as_bytes())?;
        let mut answer = String::new();
        // Events may come between.
        while !answer.contains("\"return\"") {
            answer.clear();
            if self.0.read_line(&mut answer)? == 0 || answer.contains("\"error\"") {
                bail!("{command}: {answer}");
            }
        }
        Ok(())
    }

    fn set_link(&mut self, up: bool) -> Result<()> {
        self.command(&format!(r#"{{"execute": "set_link", "arguments": {{"name": "net0", "up": {up}}}}}"#))
    }
}

/// A connection survives that the link is lost while both ends send, and programs are told.
fn flaps(options: &[&str]) -> Result<()> {
    let program = programs::compile("gcc", "flap.c", &["-O1", "-static", "-Wall", "-Wextra", "-Werror"])?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("qemu-system-x86_64"), QEMU)?;
    fs::set_permissions(path("qemu-system-x86_64"), fs::Permissions::from_mode(0o755))?;
    let rest = std::env::var("PATH")?;
    let isopod = Isopod::shared()
        .variable("PATH", &format!("{}:{rest}", folder.path().display()))
        .variable("REST", &rest)
        .variable("MONITOR", &path("monitor"));
    let source = format!("elf:{}", program.display());
    let mut guest = isopod.serve(&[&["run", "-p", "127.0.0.1::8080"], options, &[&source]].concat())?;
    assert_eq!(guest.line("ready: ")?, "ready: carrier 1, up");
    let mut monitor = Monitor::at(&path("monitor"))?;
    let mut stream = connect(guest.address("8080/tcp")?)?;
    let (before, meanwhile) = (vec![b'a'; 50_000], vec![b'b'; 20_000]);
    let mut received = vec![0; before.len()];
    stream.write_all(&before)?;
    stream.read_exact(&mut received)?;
    assert!(received == before);
    for time in 1..=3 {
        monitor.set_link(false)?;
        let lost = "running 0, lower up 0, state 2, carrier 0; /sys: carrier 0, down";
        let word = format!("down {time}: ");
        assert_eq!(guest.line(&word)?, word + lost);
        stream.write_all(&meanwhile)?;
        monitor.set_link(true)?;
        let back = "running 1, lower up 1, state 6, carrier 1; /sys: carrier 1, up";
        let word = format!("up {time}: ");
        assert_eq!(guest.line(&word)?, word + back);
        received.resize(4 + meanwhile.len(), 0);
        stream.read_exact(&mut received)?;
        assert!(received[..4] == *b"lost" && received[4..] == meanwhile);
    }
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(stream.read(&mut received)?, 0);
    let said = guest.end()?;
    assert!(said.contains("110000 bytes went back"), "{said}");
    Ok(())
}

#[test]
fn a_connection_survives_a_flapping_link() -> Result<()> {
    flaps(&[])
}

#[test]
fn a_connection_of_a_pc_survives_a_flapping_link() -> Result<()> {
    flaps(&["--machine", "q35"])
}
