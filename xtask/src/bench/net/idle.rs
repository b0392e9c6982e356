//! Many connections on which nothing happens.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::server::Server;
use isopod_e2e::{programs, run_limited};

use super::guests::Guests;
use super::wire::Wire;
use crate::bench::machine;
use crate::bench::table::{Row, grouped};

/// How many there are.
const CONNECTIONS: &str = "10000";

/// Longer than it takes to make them.
const LIMIT: Duration = Duration::from_mins(5);

/// Memory of the guest that has both ends of all of them.
const MEMORY: &str = "512M";
/// How often they are made there; the least growth counts, as what looks at the clock does so now more often and now less.
const ROUNDS: usize = 3;

/// Measures what connecting takes with few and with many, and the memory of one.
pub fn measure() -> Result<Vec<Row>> {
    let counted = (0..ROUNDS).map(|_| counted()).collect::<Result<Vec<_>>>()?;
    let growth = |&(first, last): &(f64, f64)| last / first;
    let (first, last) = counted
        .into_iter()
        .min_by(|one, other| growth(one).total_cmp(&growth(other)))
        .context("there is a round")?;
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
    let (ratio, slower) = (last / first, late / early);
    let (first, last) = (grouped(first as u64), grouped(last as u64));
    let (early, late) = (early / 1e3, late / 1e3);
    Ok(vec![
        Row::at_most(
            "Connecting the next of 10,000 idle connections",
            "at most 1.2 times the first",
            ratio,
            1.2,
            format!(
                "{last} against {first} instructions, {ratio:.2} times; over TAP {late:.0} us against {early:.0} us, {slower:.2} times"
            ),
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

/// The instructions for one of the first tenth and for one of the last, where one machine has both ends, so that nothing is waited for.
fn counted() -> Result<(f64, f64)> {
    let program = programs::bytes(&programs::compile("gcc", "connections.c", &["-O2", "-static"])?)?;
    let layout = Image::new().layer(base_layer()).files(&[("connections", &program)]).cached()?;
    let folder = tempfile::tempdir()?;
    let run = ["-m", MEMORY, &layout.reference(), "/connections", CONNECTIONS];
    let words = machine::command_line(&folder.path().join("home"), &run)?;
    let text = String::from_utf8_lossy(&machine::boot(&words, &machine::COUNT)?.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, last] = figures[..].try_into().ok().with_context(|| format!("no figures in {text:?}"))?;
    Ok((first, last))
}
