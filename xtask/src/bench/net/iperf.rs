//! Bulk transfers over a TAP device, by iperf3.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use isopod_e2e::image;
use isopod_e2e::run_limited;

use super::guests::Guests;
use super::load::{SECONDS, compare};
use super::wire::Wire;
use crate::bench::table::Row;

const PACKAGES: [&str; 5] = ["iperf3", "libiperf0", "libc6", "libsctp1", "libssl3"];

/// A load: the row's name, the streams, and whether the guest sends.
const LOADS: [(&str, &str, bool); 4] = [
    ("iperf3 over TAP, into the guest, 1 stream", "1", false),
    ("The same, 4 streams", "4", false),
    ("iperf3 over TAP, out of the guest, 1 stream", "1", true),
    ("The same, 4 streams, out of the guest", "4", true),
];

/// How long a guest may take to listen.
const LIMIT: Duration = Duration::from_mins(1);

/// Measures the loads.
pub fn measure() -> Result<Vec<Row>> {
    let guests = Guests::on_wires(&image::debian(&PACKAGES)?, &["/usr/bin/iperf3", "-s"])?;
    let servers = guests.start()?;
    for (number, server) in servers.iter().enumerate() {
        let start = Instant::now();
        while transfer(&guests, number, "1", false, 1).is_err() {
            if start.elapsed() > LIMIT {
                bail!("iperf3 does not answer; the guest said\n{}", server.log());
            }
        }
    }
    let rows = LOADS.map(|(name, streams, out)| {
        let load = |number: usize| transfer(&guests, number, streams, out, SECONDS);
        compare(name, "at least the Linux guest's rate", 1.0, "Mbit/s", load)
    });
    rows.into_iter().collect()
}

/// Megabits a second that arrived.
fn transfer(guests: &Guests, number: usize, streams: &str, out: bool, seconds: u32) -> Result<f64> {
    let mut iperf = Command::new("iperf3");
    iperf.args(["-c", Wire::GUEST, "-f", "m", "-P", streams, "-t", &seconds.to_string()]);
    iperf.args(out.then_some("-R"));
    let mut command = guests.beside(number, iperf);
    let limit = Duration::from_secs(u64::from(seconds) + 10);
    let text = String::from_utf8_lossy(&run_limited(&mut command, b"", limit)?.stdout).into_owned();
    // The last is the sum of all streams: `[SUM]   0.00-3.00   sec  1.2 MBytes  3.4 Mbits/sec   receiver`.
    let line = text.lines().rfind(|line| line.ends_with("receiver"));
    let rate = line.and_then(|line| line.split_whitespace().rev().nth(2)?.parse().ok());
    rate.with_context(|| format!("no figure in {text:?}"))
}
