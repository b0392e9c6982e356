//! Models of what several processors do at once: the kernel's own wake-ups, with every interleaving that the memory model allows tried by
//! [loom](https://docs.rs/loom).

use anyhow::Result;

use crate::{process, workspace};

/// Builds the kernel's crates for loom and runs the modules named `models`, each test in a process of its own: statics are shared within one.
pub fn run() -> Result<()> {
    let mut tests = workspace::cargo();
    tests.env("RUSTFLAGS", "--cfg loom").args(["nextest", "run", "--release", "--lib"]);
    tests.args(["--package", "isopod-hal", "--package", "isopod-linux"]);
    tests.arg("--target-dir").arg(workspace::target().join("loom"));
    process::run(tests.args(["-E", "test(/::models::/)"]))
}
