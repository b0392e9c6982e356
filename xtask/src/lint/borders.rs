//! Unsafe code stands where the design puts it, and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The places that may hold unsafe code, relative to the workspace's root.
const ALLOWED: [&str; 4] =
    ["minikernel/hal/", "runtime-lib/src/ffi.rs", "tests/usertest/", "builder/src/engine/child.rs"];

/// Crates whose root must forbid unsafe code by itself, so that the compiler keeps the border too.
const FORBIDDING: [&str; 8] = [
    "manifest/src/lib.rs",
    "minikernel/drivers/src/lib.rs",
    "minikernel/fs/src/lib.rs",
    "minikernel/linux/src/lib.rs",
    "minikernel/net/src/lib.rs",
    "minikernel/src/main.rs",
    "packed/src/lib.rs",
    "xtask/src/main.rs",
];

/// Checks every Rust file of the workspace.
pub fn check() -> Result<()> {
    let root = workspace::root();
    for file in FORBIDDING {
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
        if !text.contains("forbid(unsafe_code)") {
            bail!("{file} lacks `#![forbid(unsafe_code)]`");
        }
    }
    let mut found = Vec::new();
    for file in rust_files(root)? {
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        if ALLOWED.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let lines = text.lines().enumerate().filter(|(_, line)| mentions_unsafe(line));
        found.extend(lines.map(|(index, line)| format!("{name}:{}: {}", index + 1, line.trim())));
    }
    if !found.is_empty() {
        bail!("unsafe code outside {}:\n{}", ALLOWED.join(", "), found.join("\n"));
    }
    Ok(())
}

/// Whether a line of code uses the keyword `unsafe`; comments and strings do not count.
fn mentions_unsafe(line: &str) -> bool {
    let mut code = String::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            continue;
        }
        if let Some(comment) = part.find("//") {
            code.push_str(&part[..comment]);
            break;
        }
        code.push_str(part);
    }
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

/// Every Rust file below `directory`, without build results and hidden folders.
fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::mentions_unsafe;

    #[test]
    fn finds_the_keyword_in_code_only() {
        assert!(mentions_unsafe("    unsafe { *pointer }"));
        assert!(mentions_unsafe("#[unsafe(no_mangle)]"));
        assert!(mentions_unsafe(&format!("print({0}safe{0}); unsafe {{}}", '"')));
        assert!(!mentions_unsafe("#![forbid(unsafe_code)]"));
        assert!(!mentions_unsafe("// an unsafe block"));
        assert!(!mentions_unsafe(&format!("print({0}unsafe{0});", '"')));
    }
}
