//! Things made once: `target/e2e` holds them, and processes that want the same thing wait for the first to make it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::succeed;

/// The root folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/e2e stands in the workspace")
}

/// The folder for everything that cargo builds: cargo itself knows, whether a variable or a configuration file names it.
pub fn target() -> PathBuf {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    let ask = || -> Result<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(workspace());
        let metadata: serde_json::Value = serde_json::from_slice(&succeed(&mut cargo)?)?;
        Ok(metadata["target_directory"].as_str().context("cargo names no target directory")?.into())
    };
    let named = || std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    TARGET.get_or_init(|| named().unwrap_or_else(|| ask().expect("cargo can be asked"))).clone()
}

/// The file or folder `name` in the cache, made by `make` if it is not there. `make` gets a path beside it to write to;
/// the name appears only when it is complete.
pub fn once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = target().join("e2e").join(name);
    if path.exists() {
        return Ok(path);
    }
    let parent = path.parent().context("a name below the cache")?;
    fs::create_dir_all(parent)?;
    let lock = File::create(path.with_added_extension("lock"))?;
    lock.lock()?;
    if !path.exists() {
        let partial = path.with_added_extension("partial");
        remove(&partial)?;
        make(&partial).with_context(|| format!("cannot make {name}"))?;
        fs::rename(&partial, &path).with_context(|| format!("{name} was not made"))?;
    }
    Ok(path)
}

/// Removes a file or folder, if there is one.
fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

/// A short name for content, so that what is made from other content gets another name.
pub fn key(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    hex(&hash.finalize())[..16].to_owned()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
