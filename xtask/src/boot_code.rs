//! Writes `minikernel/boot.ld`: the functions that a boot runs, as patterns for the linker. They lie in the kernel's file as they are, all others
//! packed.
//!
//! QEMU tells which code it meets for the first time. What of the kernel's rooms is met before the first instruction of a program is a boot's; what
//! of the language's libraries is met at all stays too, as unpacking may need it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::machine;
use crate::{process, setup, workspace};

/// Where the linker puts a static program that says nothing of it.
const PROGRAM: Range<u64> = 0x40_0000..0x50_0000;

/// The parts of names that tell the rooms all of which is kept as it is (`minikernel/link.ld`).
const WHOLE: [&str; 2] = ["isopod_hal", "isopod_packed"];

/// The parts of names that tell the kernel's other rooms.
const ROOMS: [&str; 6] =
    ["isopod_manifest", "isopod_drivers", "isopod_fs", "isopod_net", "isopod_linux", "isopod_kernel"];

/// Functions by their address; equal ones share theirs.
type Functions = BTreeMap<u64, Vec<String>>;

/// Boots a small program in the ways whose cost SPECIFICATION.md promises, and writes down what ran.
pub fn run() -> Result<()> {
    setup::ensure()?;
    process::run(workspace::cargo().args(["build", "--release", "--quiet", "--package", "isopod"]))?;
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let counter = machine::counter_program()?;
    let program = format!("elf:{}", counter.display());
    let linked = folder.path().join("linked").display().to_string();
    machine::run_isopod(&home, &["build", "-o", &linked, &program])?;
    let root = folder.path().join("root");
    fs::create_dir(&root)?;
    fs::copy(&counter, root.join("counter"))?;
    fs::write(root.join("content"), vec![1; 1 << 20])?;
    let root = format!("rootfs:{}", root.display());

    let functions = functions(&workspace::kernel())?;
    let mut ran = BTreeSet::new();
    // Other processors start before they can take an exception, so what they run until then must be there.
    let boots: [&[&str]; 7] = [
        &[&program],
        &["--network", "none", &program],
        &["--cpus", "2", &program],
        &[&root, "/counter"],
        &["--machine", "q35", &program],
        &["--machine", "q35", &root, "/counter"],
        &[&linked],
    ];
    for boot in boots {
        let log = folder.path().join("log");
        let mut words = machine::command_line(&home, boot)?;
        // The kernel as the linker left it, of which nothing is packed; in the linked file it is, and what unpacks is seen, too.
        if boot != [&linked]
            && let Some(place) = words.iter().position(|word| word == "-kernel")
        {
            words[place + 1] = workspace::kernel().display().to_string();
        }
        let log_name = log.to_str().context("a path of letters")?;
        // Time that passes by instructions: what runs before the program does not depend on the host.
        machine::boot(&words, &[&machine::COUNT[..], &["-d", "in_asm", "-D", log_name]].concat())?;
        collect(&log, &functions, &mut ran)?;
    }
    let mut script = "/* What a boot runs. Written by `cargo xtask boot-code`. */\n".to_owned();
    for name in &ran {
        // What the compiler takes for cold lies in `.text.unlikely.NAME`.
        script.extend(["*(.text.*", name, "*)\n"]);
    }
    fs::write(workspace::root().join("minikernel/boot.ld"), script)?;
    println!("boot-code: {} functions", ran.len());
    Ok(())
}

/// Adds the names of the functions that QEMU's log tells of.
fn collect(log: &Path, functions: &Functions, ran: &mut BTreeSet<String>) -> Result<()> {
    let mut booting = true;
    for line in BufReader::new(fs::File::open(log)?).lines() {
        let line = line?;
        let address = line.strip_prefix("0x").and_then(|rest| rest.split_once(':'));
        let Some(address) = address.and_then(|(address, _)| u64::from_str_radix(address, 16).ok()) else {
            continue;
        };
        booting &= !PROGRAM.contains(&address);
        let found = functions.range(..=address).next_back().into_iter().flat_map(|(_, names)| names);
        let stays = |name: &&String| booting || !ROOMS.iter().any(|room| name.contains(room));
        ran.extend(found.filter(stays).map(|name| without_hash(name).to_owned()));
    }
    Ok(())
}

/// The functions of the kernel that may be packed.
fn functions(kernel: &Path) -> Result<Functions> {
    let table = process::output(Command::new("nm").arg("--defined-only").arg(kernel))?;
    let mut functions = Functions::new();
    for line in String::from_utf8_lossy(&table).lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [address, "t" | "T", name] = words[..] {
            let address = u64::from_str_radix(address, 16)?;
            let names = functions.entry(address).or_default();
            if name.starts_with("_ZN") && !WHOLE.iter().any(|room| name.contains(room)) {
                names.push(name.to_owned());
            }
        }
    }
    Ok(functions)
}

/// A name of rustc's without what changes with each change of the code: `17h`, sixteen digits and `E` at its end.
fn without_hash(name: &str) -> &str {
    const LENGTH: usize = "17h".len() + 16 + "E".len();
    let cut = name.len().checked_sub(LENGTH).filter(|cut| name[*cut..].starts_with("17h"));
    cut.map_or(name, |cut| &name[..cut])
}

#[cfg(test)]
mod tests {
    use super::without_hash;

    #[test]
    fn names_stay_when_their_hash_changes() {
        let name = "_ZN10isopod_net4icmp3sum17h0123456789abcdefE";
        assert_eq!(without_hash(name), "_ZN10isopod_net4icmp3sum");
        assert_eq!(without_hash("memcpy"), "memcpy");
    }
}
