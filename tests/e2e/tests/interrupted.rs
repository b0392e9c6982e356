//! Builds that are ended from outside, while they download and while they write: no partial file, and a cache that works.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use isopod_e2e::registry::Registry;
use isopod_e2e::room::{Room, large_image};
use isopod_e2e::succeed;

/// The signals that end a build, by name and number: Ctrl-C, a polite request, and the end of all.
const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("KILL", 9)];

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_mins(2);

/// Starts to build a source as `app.elf`.
fn start(room: &Room, source: &str) -> Result<Child> {
    let mut command = room.isopod.command(&["build", "-o", &room.path("app.elf"), source]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Ends a build by a signal; whether that is what ended it.
fn end(mut build: Child, (name, number): (&str, i32)) -> Result<bool> {
    succeed(Command::new("kill").args(["-s", name, &build.id().to_string()]))?;
    Ok(build.wait()?.signal() == Some(number))
}

/// After an interrupted build: nothing half written is there, neither the output nor in the cache, and the next one succeeds.
fn expect_recovery(room: &Room, source: &str) -> Result<()> {
    assert!(room.names()?.is_empty(), "partial files: {:?}", room.names()?);
    assert!(room.half_written()?.is_empty(), "left in the cache: {:?}", room.half_written()?);
    let output = room.path("app.elf");
    room.isopod.run(&["build", "-o", &output, source])?.expect_status(0);
    room.isopod.run(&["run", &output, "-m", "256m"])?.expect_stdout("hello\n").expect_status(0);
    fs::remove_file(output)?;
    Ok(())
}

/// A way to a registry on which nothing comes back behind the first bytes of it, and a message when that is so.
fn stalling(registry: &str, after: u64) -> Result<(String, Receiver<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let registry = registry.to_owned();
    let (stalled, has_stalled) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (stalled, registry) = (stalled.clone(), registry.clone());
            thread::spawn(move || -> Result<()> {
                let client = client?;
                let server = TcpStream::connect(registry)?;
                let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                // Whoever is ended by the test breaks the connection, which is no failure of this side.
                std::io::copy(&mut (&server).take(after), &mut &client)?;
                (&client).flush()?;
                stalled.send(())?;
                thread::sleep(LIMIT);
                Ok(())
            });
        }
    });
    Ok((address, has_stalled))
}

#[test]
fn while_downloading() -> Result<()> {
    let registry = Registry::start()?;
    let reference = registry.push(&large_image(20)?.cached()?, "large:latest")?;
    for signal in SIGNALS {
        let room = Room::new()?;
        let (address, has_stalled) = stalling(&registry.address(), 5 << 20)?;
        let build = start(&room, &reference.replace(&registry.address(), &address))?;
        has_stalled.recv_timeout(LIMIT).context("the download did not get far enough")?;
        let cache = fs::canonicalize(room.path("home/cache/tmp")).context("the build has a cache")?;
        assert!(writes(&build, &cache, 0), "nothing was being written");
        ensure!(end(build, signal)?, "the build ended in another way than by SIG{}", signal.0);
        expect_recovery(&room, &reference)?;
    }
    Ok(())
}

/// Whether a build has a file of `folder` open, named or not, of `size` bytes at least.
fn writes(build: &Child, folder: &Path, size: u64) -> bool {
    // Descriptors come and go while they are looked at.
    let open = fs::read_dir(format!("/proc/{}/fd", build.id())).into_iter().flatten().flatten();
    let in_folder = |path: &Path| fs::read_link(path).is_ok_and(|to| to.parent() == Some(folder));
    let mut files = open.map(|entry| entry.path()).filter(|path| in_folder(path));
    files.any(|path| fs::metadata(path).is_ok_and(|about| about.len() >= size))
}

/// Waits until a build has written a part of its output; whether it was seen doing so before its end.
fn is_writing(build: &mut Child, folder: &Path) -> Result<bool> {
    let start = Instant::now();
    while build.try_wait()?.is_none() {
        ensure!(start.elapsed() < LIMIT, "the build hangs");
        if writes(build, folder, 4 << 20) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn while_writing() -> Result<()> {
    let image = large_image(40)?.cached()?.reference();
    for signal in SIGNALS {
        let room = Room::new()?;
        let folder = fs::canonicalize(room.path("")).context("a room has a folder")?;
        // A build that was faster than the eye is repeated.
        let mut caught = false;
        for _ in 0..20 {
            let mut build = start(&room, &image)?;
            caught = is_writing(&mut build, &folder)? && end(build, signal)?;
            if caught {
                break;
            }
            fs::remove_file(room.path("app.elf"))?;
        }
        ensure!(caught, "no build was ended by SIG{} while it wrote", signal.0);
        expect_recovery(&room, &image)?;
    }
    Ok(())
}
