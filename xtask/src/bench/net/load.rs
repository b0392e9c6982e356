//! Loads that clients put on a guest.

use std::io::{Read as _, Write as _};
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::server::Server;
use isopod_e2e::succeed;

use crate::bench::table::Row;

/// How often each load is put on each of the two, in turn; the best counts.
const ROUNDS: usize = 3;

/// Seconds that a load lasts.
pub const SECONDS: u32 = 3;

/// Puts a load on ours and on the Linux guest, in turn: `load` of 0, and of 1.
pub fn compare(
    name: &'static str,
    bound: &'static str,
    least: f64,
    unit: &str,
    mut load: impl FnMut(usize) -> Result<f64>,
) -> Result<Row> {
    let (mut best, mut linux_best) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        best = best.max(load(0)?);
        linux_best = linux_best.max(load(1)?);
    }
    let ratio = best / linux_best;
    let measured = format!("{best:.0} against {linux_best:.0} {unit}, {ratio:.2} times");
    let row = Row::at_least(name, bound, ratio, least, measured);
    eprintln!("{row}");
    Ok(row)
}

/// Requests a second by HTTP.
pub fn wrk(server: &mut Server, connections: u32, file: &str, closes: bool, seconds: u32) -> Result<f64> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-d", &format!("{seconds}s"), "-c", &connections.to_string()]);
    wrk.args(closes.then_some(["-H", "Connection: close"]).into_iter().flatten());
    let text = succeed(wrk.arg(format!("http://{}/{file}", server.address("80/tcp")?)))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    // `Socket errors: connect 0, read 0, write 0, timeout 3`: what waited for seconds on a busy machine was not lost.
    let errors = text.lines().find_map(|line| line.trim().strip_prefix("Socket errors:"));
    let lost = errors.is_some_and(|errors| !errors.contains("connect 0, read 0, write 0"));
    anyhow::ensure!(!lost && !text.contains("Non-2xx"), "requests failed:\n{text}");
    let figure = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    figure.filter(|figure| *figure > 0.0).with_context(|| format!("no answers: {text}"))
}

/// Requests a second of redis's own benchmark.
pub fn redis(server: &mut Server, test: &str, pipeline: &str, requests: &str) -> Result<f64> {
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
