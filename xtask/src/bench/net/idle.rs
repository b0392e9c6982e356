//! Many connections on which nothing happens.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::server::Server;
use isopod_e2e::{programs, run_limited};

use super::guests::Guests;
use super::wire::Wire;
use crate::bench::table::Row;

/// How many there are.
const CONNECTIONS: &str = "10000";

/// Longer than it takes to make them.
const LIMIT: Duration = Duration::from_mins(5);

/// Measures what connecting takes with few and with many, and the memory of one.
pub fn measure() -> Result<Vec<Row>> {
    let keeper = programs::bytes(&programs::compile("gcc", "keeper.c", &["-O2", "-static"])?)?;
    let image = Image::new().layer(base_layer()).files(&[("keeper", &keeper)]);
    let guests = Guests::on_wires(&image, &["/keeper", "7"])?;
    let server = Server::start(&mut guests.ours()?)?;
    let mut clients = Command::new(programs::compile("gcc", "idle.c", &["-O2", "-static"])?);
    clients.args([Wire::GUEST, "7", CONNECTIONS]);
    let finished = run_limited(&mut guests.beside(0, clients), b"", LIMIT)?;
    if !finished.status.success() {
        let said = String::from_utf8_lossy(&finished.stderr).into_owned();
        bail!("connections cannot be made: {said}\nthe guest said\n{}", server.log());
    }
    let text = String::from_utf8(finished.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [early, late, bytes] = figures[..].try_into().ok().context("three figures")?;
    let ratio = late / early;
    let (early, late) = (early / 1e3, late / 1e3);
    Ok(vec![
        Row::at_most(
            "Connecting the next of 10,000 idle connections, over TAP",
            "at most 1.2 times the first",
            ratio,
            1.2,
            format!("{late:.0} us against {early:.0} us, {ratio:.2} times"),
        ),
        Row::at_most(
            "The guest's memory for each of them",
            "less than 4 KB",
            bytes,
            4000.0,
            format!("{bytes:.0} bytes"),
        ),
    ])
}
