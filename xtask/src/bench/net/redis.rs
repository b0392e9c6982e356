//! redis, one request at a time on each connection and many.

use anyhow::Result;
use isopod_e2e::image;
use isopod_e2e::packages::REDIS;

use super::guests::Guests;
use super::load::{compare, redis};
use crate::bench::table::Row;

/// A load: the row's name, its promise, the least ratio, the command, how many requests are on their way at once, and how many in all.
type Load = (&'static str, &'static str, f64, &'static str, &'static str, &'static str);

const LOADS: [Load; 4] = [
    ("redis, GET, 16 connections", "at least 2.6 times the Linux guest", 2.6, "get", "1", "50000"),
    ("redis, SET, 16 connections", "at least 2.6 times the Linux guest", 2.6, "set", "1", "50000"),
    (
        "redis, GET, 16 at once on each connection",
        "at least 1.5 times the Linux guest",
        1.5,
        "get",
        "16",
        "200000",
    ),
    (
        "redis, SET, 16 at once on each connection",
        "at least 1.5 times the Linux guest",
        1.5,
        "set",
        "16",
        "200000",
    ),
];

/// Measures the loads.
pub fn measure() -> Result<Vec<Row>> {
    let command = ["/usr/bin/redis-server", "--save", "", "--protected-mode", "no"];
    let guests = Guests::on_port(&image::debian(&REDIS)?, 6379, &command)?;
    let mut servers = guests.start()?;
    let rows = LOADS.map(|(name, bound, least, test, pipeline, requests)| {
        let load = |number: usize| redis(&mut servers[number], test, pipeline, requests);
        compare(name, bound, least, "requests a second", load)
    });
    rows.into_iter().collect()
}
