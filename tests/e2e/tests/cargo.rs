//! `cargo isopod` builds a Rust package and boots it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use isopod_e2e::server::Server;
use isopod_e2e::{Finished, cache, run_limited};

/// The command `cargo isopod` with these words, in the workspace.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(cache::target().join("debug/cargo-isopod"));
    command.arg("isopod").args(words).current_dir(cache::workspace());
    command.env("ISOPOD_HOME", cache::target().join("e2e/home"));
    command
}

/// What it does.
fn cargo_isopod(words: &[&str]) -> Result<Finished> {
    run_limited(&mut command(words), b"", Duration::from_mins(5))
}

#[test]
fn example_runs_with_what_its_package_asks_for() -> Result<()> {
    // The greeting is a variable of the package's metadata, the name a file that it adds.
    let finished = cargo_isopod(&["run", "-p", "hello"])?;
    let name = std::fs::read_to_string(cache::workspace().join("examples/hello/name"))?;
    assert_eq!(
        String::from_utf8_lossy(&finished.stdout),
        format!("Hello, {}!\n", name.trim()),
        "{finished:?}"
    );
    assert!(finished.status.success(), "{finished:?}");
    let finished = cargo_isopod(&["run", "-p", "hello", "--", "Ada", "Grace"])?;
    assert_eq!(String::from_utf8_lossy(&finished.stdout), "Hello, Ada and Grace!\n", "{finished:?}");
    Ok(())
}

#[test]
fn example_builds_into_a_file_that_boots() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hello.elf");
    let finished =
        cargo_isopod(&["build", "-p", "hello", "-o", file.to_str().context("a path of letters")?])?;
    assert!(finished.status.success(), "{finished:?}");
    let file = file.to_str().context("a path of letters")?;
    let outcome = isopod_e2e::isopod::Isopod::shared().run(&["run", file])?;
    outcome.expect_status(0);
    assert!(outcome.stdout.starts_with("Hello, "), "{outcome:?}");
    Ok(())
}

#[test]
fn example_serves_on_a_port_of_this_host() -> Result<()> {
    let mut server = Server::start(&mut command(&["run", "-p", "web", "--publish", "127.0.0.1::8080"]))?;
    let page = std::fs::read(cache::workspace().join("examples/web/srv/index.html"))?;
    assert_eq!(server.get(8080, "/index.html")?.body, page);
    Ok(())
}

#[test]
fn package_that_is_not_there() -> Result<()> {
    let finished = cargo_isopod(&["run", "-p", "no-such-package"])?;
    let message = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert_eq!(finished.status.code(), Some(125), "{message}");
    assert!(message.contains("no-such-package") && message.contains("hint: "), "{message}");
    Ok(())
}
