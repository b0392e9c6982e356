//! nginx with files of several sizes.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use isopod_e2e::image::{self, Image};
use isopod_e2e::packages::NGINX;
use isopod_e2e::server::{Server, connect, get};

use super::guests::{Guests, resident};
use super::load::{SECONDS, compare, wrk};
use crate::bench::table::{Row, median};

/// How often each is started for its first answer.
const STARTS: usize = 3;

/// Time between two clients that ask for the first answer.
const PAUSE: Duration = Duration::from_millis(10);

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

/// An image with nginx and the files that are asked for.
pub fn image() -> Result<Image> {
    let config = "daemon off;\nerror_log /dev/stderr;\nevents { worker_connections 1024; }\nhttp {\naccess_log off;\n\
                  sendfile on;\nkeepalive_requests 1000000;\nserver { listen 80; root /srv; }\n}\n";
    let files = [("etc/nginx/nginx.conf", config.as_bytes()), ("var/log/nginx/.keep", b"")];
    let pages = [("srv/small", 612), ("srv/64k", 64 << 10), ("srv/1m", 1 << 20)];
    let pages: Vec<_> = pages.map(|(name, size)| (name, vec![b'x'; size])).into();
    let pages: Vec<_> = pages.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    Ok(image::debian(&NGINX)?.files(&files).files(&pages))
}

/// Measures the first answer, the loads, and the memory after them.
pub fn measure() -> Result<Vec<Row>> {
    let guests = Guests::on_port(&image()?, 80, &["/usr/sbin/nginx"])?;
    let mut rows = vec![first_answer(&guests)?];
    let mut servers = guests.start()?;
    for server in &mut servers {
        server.get(80, "/small")?;
    }
    for (name, bound, least, connections, file, closes) in LOADS {
        rows.push(compare(name, bound, least, "requests a second", |number| {
            wrk(&mut servers[number], connections, file, closes, SECONDS)
        })?);
    }
    let (ours, theirs) = (resident(&servers[0])?, resident(&servers[1])?);
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

fn first_answer(guests: &Guests) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        ours.push(time_to_answer(&mut guests.ours()?)?);
        theirs.push(time_to_answer(&mut guests.theirs()?)?);
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

/// Seconds from the start of a guest to an answer. A client asks every few milliseconds: one that comes too early may wait long.
fn time_to_answer(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let mut server = Server::start(command)?;
    let address = server.address("80/tcp")?;
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
