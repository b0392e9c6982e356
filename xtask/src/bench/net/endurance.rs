//! The same load for minutes: does a server get slower, or its machine fuller?

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use isopod_e2e::programs;
use isopod_e2e::server::Server;

use super::guests::Guests;
use super::load::wrk;
use super::nginx;
use crate::bench::table::Row;

/// How long it lasts.
const LENGTH: Duration = Duration::from_mins(10);

/// The loads of a round: connections, the file, whether each request has a connection.
const ROUND: [(u32, &str, bool); 4] =
    [(16, "small", false), (64, "64k", false), (16, "small", true), (8, "1m", false)];

/// Seconds of each.
const SECONDS: u32 = 5;

/// Measures the first minute's and the last minute's rounds, and the memory before and after.
pub fn measure() -> Result<Vec<Row>> {
    let keeper = programs::bytes(&programs::compile("gcc", "keeper.c", &["-O2", "-static"])?)?;
    let image = nginx::image()?.files(&[("keeper", &keeper)]);
    let guests = Guests::on_port(&image, 80, &["/keeper", "7", "/usr/sbin/nginx"])?;
    let mut server = Server::start(&mut guests.ours_with(&["-p", "127.0.0.1::7"])?)?;
    server.get(80, "/small")?;
    let mut rounds = vec![round(&mut server)?];
    let before = free(&mut server)?;
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        rounds.push(round(&mut server)?);
    }
    let after = free(&mut server)?;
    // A minute has three rounds; the very first warms up.
    let mean = |rounds: &[f64]| rounds.iter().sum::<f64>() / rounds.len() as f64;
    let (first, last) = (mean(&rounds[1..4]), mean(&rounds[rounds.len() - 3..]));
    let ratio = last / first;
    let lost = (before - after) / 1e6;
    Ok(vec![
        Row::at_least(
            "nginx under mixed loads for 10 minutes: the last minute's requests",
            "at least 0.95 times the first minute's",
            ratio,
            0.95,
            format!("{last:.0} against {first:.0} in a round, {ratio:.2} times"),
        ),
        Row::at_most(
            "The guest's memory after them",
            "as before, within 1 MB",
            lost,
            1.0,
            format!("{lost:.2} MB less"),
        ),
    ])
}

/// Requests that are answered in a round; no connection may be lost.
fn round(server: &mut Server) -> Result<f64> {
    let mut requests = 0.0;
    for (connections, file, closes) in ROUND {
        requests += wrk(server, connections, file, closes, SECONDS)? * f64::from(SECONDS);
    }
    Ok(requests)
}

/// Bytes that the guest has free.
fn free(server: &mut Server) -> Result<f64> {
    server.ask(7, |stream| {
        stream.write_all(b"m\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemFree:")).context("MemFree")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    })
}
