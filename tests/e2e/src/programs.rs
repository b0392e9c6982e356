//! Small programs, compiled on this machine to be put into images.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, succeed};

/// Compiles a source of `tests/e2e/programs` with `compiler` and these flags, or a folder of C sources there.
pub fn compile(compiler: &str, source: &str, flags: &[&str]) -> Result<PathBuf> {
    let path = cache::workspace().join("tests/e2e/programs").join(source);
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
    }
    let contents = files.iter().map(|file| bytes(file)).collect::<Result<Vec<_>>>()?;
    let key = cache::key([compiler.as_bytes(), flags.join(" ").as_bytes(), &contents.concat()]);
    files.retain(|file| file.extension().is_none_or(|extension| extension != "h"));
    cache::once(&format!("programs/{source}-{key}"), |program| {
        succeed(Command::new(compiler).args(flags).arg("-o").arg(program).args(&files)).map(drop)
    })
}

/// The program `usertest` of this workspace, linked statically.
pub fn usertest() -> Result<PathBuf> {
    rust(&["--package", "usertest"], "usertest", "target-feature=+crt-static")
}

/// The server on tokio and hyper, linked statically.
pub fn hyper() -> Result<PathBuf> {
    rust(&["--package", "hyper-server"], "hyper-server", "target-feature=+crt-static")
}

/// Builds a Rust program of this workspace with a code-generation option, in a folder of its own.
fn rust(selection: &[&str], name: &str, option: &str) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let folder = cache::target().join("e2e/rust");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .args(selection);
    cargo.env("RUSTFLAGS", format!("-C {option}")).current_dir(cache::workspace());
    succeed(&mut cargo)?;
    Ok(folder.join(TARGET).join("debug").join(name))
}

/// The bytes of a program's file.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
