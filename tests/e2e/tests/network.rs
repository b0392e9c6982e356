//! The network as programs and language libraries use it.

use std::fs;

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, image};

/// What the script prints on Linux.
const PYTHON_OUTPUT: &str = "\
page b'a small page\\n'
large 2097152 True
missing 404
posted b'987654321098'
kept alive 260
closed 111
page b'a small page\\n'
large 2097152 True
missing 404
posted b'987654321098'
kept alive 260
closed 111
localhost 127.0.0.1 True
streams 50
datagram b'margatad'
nobody 111
refused 111
call 1024
children 40 [0, 0, 0, 0]
sent 2097152
received 2097152 True
events ['0x2005'] []
events [] []
info 104
";

#[test]
fn python_serves_itself_over_loopback() -> Result<()> {
    python_serves_itself("1")
}

#[test]
fn python_serves_itself_over_loopback_on_four_processors() -> Result<()> {
    python_serves_itself("4")
}

fn python_serves_itself(cpus: &str) -> Result<()> {
    let script = fs::read(cache::workspace().join("tests/e2e/programs/network.py"))?;
    let image = image::debian(&PYTHON)?.files(&[("network.py", &script)]);
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&["run", "-m", "128M", "--cpus", cpus, &reference, "/usr/bin/python3.11", "/network.py"])?
        .expect_stdout(PYTHON_OUTPUT)
        .expect_status(0);
    Ok(())
}
