//! What a network does that nobody wishes for: a link that loses frames, floods, peers that do not read, and frames that make no sense. The machine
//! answers meanwhile and afterwards, and its memory is free again.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, disk, image, longer, run_limited};

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
    // Up to two minutes each.
    if longer(0, 1) == 0 {
        return Ok(());
    }
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
fn a_machine_stands_what_its_network_does() -> Result<()> {
    stands(&[])
}

#[test]
fn a_pc_with_several_processors_stands_what_its_network_does() -> Result<()> {
    stands(&["--machine", "q35", "--cpus", "2"])
}
