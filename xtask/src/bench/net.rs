//! Servers of ours and of a Linux guest with the same image, asked by the same clients on this machine.
//!
//! Both are started by `isopod run`: for the Linux guest a program takes QEMU's place that exchanges the kernel and what is loaded with it, and
//! has the firmware list the devices in ACPI, where Debian's kernel looks for them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use isopod_e2e::image::{self, Image, Layout};
use isopod_e2e::packages::{NGINX, REDIS};
use isopod_e2e::server::{Server, connect, get};
use isopod_e2e::succeed;
use tempfile::TempDir;

use super::table::{Row, median};
use super::{linux, machine};

/// How often each load is put on each of the two, in turn; the best counts.
const ROUNDS: usize = 3;

/// How long a load lasts.
const LOAD: &str = "3s";

/// How often each is started for its first answer.
const STARTS: usize = 3;

/// Time between two clients that ask for the first answer.
const PAUSE: Duration = Duration::from_millis(10);

/// Stands for QEMU; the program, the kernel, the archive and the kernel's line are its environment.
const STAND_IN: &str = r#"#!/bin/sh
for word; do
    shift
    case $before in -kernel) word=$LINUX_KERNEL;; -initrd) word=$LINUX_ARCHIVE;; esac
    case $word in microvm,acpi=off*) word=microvm,acpi=on${word#microvm,acpi=off};; esac
    set -- "$@" "$word"
    before=$word
done
exec "$REAL_QEMU" "$@" -append "$LINUX_LINE"
"#;

/// A load of `wrk`'s: the row's name, its promise, the least ratio, the connections, the file, and whether each request has a connection.
type Load = (&'static str, &'static str, f64, u32, &'static str, bool);

const LOADS: [Load; 5] = [
    (
        "nginx, a file of 612 bytes, 16 connections",
        "at least 1.8 times the Linux guest",
        1.8,
        16,
        "small",
        false,
    ),
    ("The same, 256 connections", "at least 1.2 times the Linux guest", 1.2, 256, "small", false),
    (
        "The same, 16 clients, a connection for each request",
        "at least 1.2 times the Linux guest",
        1.2,
        16,
        "small",
        true,
    ),
    ("nginx, a file of 64 KB, 16 connections", "at least 1.2 times the Linux guest", 1.2, 16, "64k", false),
    ("nginx, a file of 1 MB, 16 connections", "at least 1.2 times the Linux guest", 1.2, 16, "1m", false),
];

/// Measures all of it.
pub fn measure() -> Result<Vec<Row>> {
    let mut rows = nginx()?;
    rows.extend(redis()?);
    Ok(rows)
}

fn nginx() -> Result<Vec<Row>> {
    let config = "daemon off;\nerror_log /dev/stderr;\nevents { worker_connections 1024; }\nhttp {\naccess_log off;\n\
                  sendfile on;\nkeepalive_requests 1000000;\nserver { listen 80; root /srv; }\n}\n";
    let files = [("etc/nginx/nginx.conf", config.as_bytes()), ("var/log/nginx/.keep", b"")];
    let pages = [("srv/small", 612), ("srv/64k", 64 << 10), ("srv/1m", 1 << 20)];
    let pages: Vec<_> = pages.map(|(name, size)| (name, vec![b'x'; size])).into();
    let pages: Vec<_> = pages.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    let image = image::debian(&NGINX)?.files(&files).files(&pages);
    let guests = Guests::new(&image, 80, &["/usr/sbin/nginx"])?;
    let mut rows = vec![guests.first_answer()?];
    let [mut ours, mut theirs] = guests.start()?;
    for server in [&mut ours, &mut theirs] {
        server.get(80, "/small")?;
    }
    for (name, bound, least, connections, file, closes) in LOADS {
        let load = |server: &mut Server| wrk(server, connections, file, closes);
        rows.push(compare(name, bound, least, "requests", [&mut ours, &mut theirs], load)?);
    }
    let (ours, theirs) = (resident(&ours)?, resident(&theirs)?);
    let ratio = ours / theirs;
    rows.push(Row::at_most(
        "Resident memory of QEMU that has run nginx under these loads",
        "at most 0.4 times the Linux guest's",
        ratio,
        0.4,
        format!("{ours:.0} MB against {theirs:.0} MB, {ratio:.2} times"),
    ));
    Ok(rows)
}

fn redis() -> Result<Vec<Row>> {
    let command = ["/usr/bin/redis-server", "--save", "", "--protected-mode", "no"];
    let guests = Guests::new(&image::debian(&REDIS)?, 6379, &command)?;
    let [mut ours, mut theirs] = guests.start()?;
    let mut rows = Vec::new();
    for (name, bound, least, test, pipeline, requests) in [
        ("redis, GET, 16 connections", "at least 2.6 times the Linux guest", 2.6, "get", "1", "20000"),
        ("redis, SET, 16 connections", "at least 2.6 times the Linux guest", 2.6, "set", "1", "20000"),
        (
            "redis, GET, 16 at once on each connection",
            "at least 1.5 times the Linux guest",
            1.5,
            "get",
            "16",
            "100000",
        ),
        (
            "redis, SET, 16 at once on each connection",
            "at least 1.5 times the Linux guest",
            1.5,
            "set",
            "16",
            "100000",
        ),
    ] {
        let load = |server: &mut Server| redis_benchmark(server, test, pipeline, requests);
        rows.push(compare(name, bound, least, "requests", [&mut ours, &mut theirs], load)?);
    }
    Ok(rows)
}

/// The same image in both guests.
struct Guests {
    folder: TempDir,
    layout: Layout,
    port: u16,
    command: Vec<String>,
}

impl Guests {
    fn new(image: &Image, port: u16, command: &[&str]) -> Result<Self> {
        let (folder, layout) = (tempfile::tempdir()?, image.cached()?);
        let archive = linux::archive_of(&layout.unpack(&folder.path().join("bundle"))?)?;
        fs::write(folder.path().join("archive"), archive)?;
        fs::create_dir(folder.path().join("programs"))?;
        let stand_in = folder.path().join("programs/qemu-system-x86_64");
        fs::write(&stand_in, STAND_IN)?;
        succeed(Command::new("chmod").arg("+x").arg(&stand_in))?;
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        let guests = Self { folder, layout, port, command: words };
        // The root is made once, and not while time is taken.
        let reference = guests.layout.reference();
        let print = [&["run", "--accel", "tcg", "--print-cmd", &reference], command].concat();
        machine::run_isopod(&guests.home(), &print)?;
        Ok(guests)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The command that starts ours.
    fn ours(&self) -> Command {
        let mut command = Command::new(machine::isopod());
        command.env("ISOPOD_HOME", self.home());
        command.args(["run", "--accel", "tcg", "-p", &format!("127.0.0.1::{}", self.port)]);
        command.arg(self.layout.reference()).args(&self.command);
        command
    }

    /// The command that starts the Linux guest.
    fn theirs(&self) -> Result<Command> {
        let mut command = self.ours();
        let path = std::env::var("PATH")?;
        let words: Vec<_> = self.command.iter().map(String::as_str).collect();
        command.env("REAL_QEMU", machine::qemu()?);
        command.env("PATH", format!("{}:{path}", self.folder.path().join("programs").display()));
        let line = format!("tsc_early_khz={} {}", tsc_khz()?, linux::line(&words));
        command.env("LINUX_KERNEL", linux::kernel()?).env("LINUX_LINE", line);
        command.env("LINUX_ARCHIVE", self.folder.path().join("archive"));
        Ok(command)
    }

    fn start(&self) -> Result<[Server; 2]> {
        Ok([Server::start(&mut self.ours())?, Server::start(&mut self.theirs()?)?])
    }

    fn first_answer(&self) -> Result<Row> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            ours.push(time_to_answer(&mut self.ours(), self.port)?);
            theirs.push(time_to_answer(&mut self.theirs()?, self.port)?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        Ok(Row::at_most(
            "From the start to the first HTTP answer of nginx",
            "at most 0.15 times the Linux guest's time",
            ratio,
            0.15,
            format!("{ours:.2} s against {theirs:.2} s, {ratio:.2} times"),
        ))
    }
}

/// The rate of the guests' time-stamp counter, which is this host's under emulation. Debian's kernel measures it with the PIT, and hangs where
/// that fails because the host is busy (`tsc_early_khz` in the kernel's `kernel-parameters.txt`).
fn tsc_khz() -> Result<u64> {
    let about = fs::read_to_string("/proc/cpuinfo")?;
    let line = about.lines().find(|line| line.starts_with("cpu MHz")).context("a CPU's rate")?;
    let megahertz: f64 = line.rsplit(':').next().unwrap_or_default().trim().parse()?;
    Ok((megahertz * 1000.0) as u64)
}

/// Seconds from the start of a guest to an answer. A client asks every few milliseconds: one that comes too early may wait long.
fn time_to_answer(command: &mut Command, port: u16) -> Result<f64> {
    let start = Instant::now();
    let mut server = Server::start(command)?;
    let address = server.address(&format!("{port}/tcp"))?;
    let (sender, answer) = mpsc::channel();
    loop {
        let sender = sender.clone();
        thread::spawn(move || {
            let answered = connect(address).and_then(|mut stream| get(&mut stream, "/small"));
            if answered.is_ok() {
                // The first counts, and those behind it find nobody.
                let _ = sender.send(start.elapsed());
            }
        });
        match answer.recv_timeout(PAUSE) {
            Ok(time) => return Ok(time.as_secs_f64()),
            Err(_) if start.elapsed() > Duration::from_mins(1) => {
                anyhow::bail!("no answer within a minute; the guest said\n{}", server.log())
            }
            Err(_) => {}
        }
    }
}

/// Puts a load on both, in turn.
fn compare(
    name: &'static str,
    bound: &'static str,
    least: f64,
    unit: &str,
    [ours, theirs]: [&mut Server; 2],
    load: impl Fn(&mut Server) -> Result<f64>,
) -> Result<Row> {
    let (mut best, mut linux_best) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        best = best.max(load(ours)?);
        linux_best = linux_best.max(load(theirs)?);
    }
    let ratio = best / linux_best;
    let measured = format!("{best:.0} against {linux_best:.0} {unit} a second, {ratio:.2} times");
    Ok(Row::at_least(name, bound, ratio, least, measured))
}

/// Requests a second by HTTP.
fn wrk(server: &mut Server, connections: u32, file: &str, closes: bool) -> Result<f64> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-d", LOAD, "-c", &connections.to_string()]);
    wrk.args(closes.then_some(["-H", "Connection: close"]).into_iter().flatten());
    let text = succeed(wrk.arg(format!("http://{}/{file}", server.address("80/tcp")?)))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    anyhow::ensure!(!text.contains("Non-2xx"), "requests failed:\n{text}");
    let figure = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    figure.with_context(|| format!("no figure in {text:?}"))
}

/// Requests a second of redis's own benchmark.
fn redis_benchmark(server: &mut Server, test: &str, pipeline: &str, requests: &str) -> Result<f64> {
    server.ask(6379, |stream| {
        let mut answer = [0; 7];
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut answer)?;
        anyhow::ensure!(answer == *b"+PONG\r\n", "redis is not ready: {answer:?}");
        Ok(())
    })?;
    let address = server.address("6379/tcp")?;
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["--csv", "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    benchmark.args(["-c", "16", "-t", test, "-P", pipeline, "-n", requests]);
    let text = String::from_utf8_lossy(&succeed(&mut benchmark)?).into_owned();
    let name = format!("\"{}\",\"", test.to_uppercase());
    let figure = text.lines().find_map(|line| line.strip_prefix(&name)?.split('"').next()?.parse().ok());
    figure.with_context(|| format!("no figure in {text:?}"))
}

/// Memory that QEMU holds, in megabytes.
fn resident(server: &Server) -> Result<f64> {
    let qemu = server.children()?.into_iter().next().context("isopod has started QEMU")?;
    let status = fs::read_to_string(Path::new("/proc").join(qemu).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
