//! `--gdb`: the way to the program's first instruction, and what to type there.

use std::io::ErrorKind;
use std::path::Path;

use super::{Failure, say};
use crate::engine::{Debugger, Stopped};
use crate::link::{self, inspect::Needs};
use crate::store::StoreError;

/// The function of the kernel that is called before the program begins.
const HOOK: &str = "isopod_program_begins";

/// A debugger's way to what `kernel` runs, whose program is what `source` has and `needs`, as far as that is known.
pub(super) fn debugger(
    port: u16,
    kernel: &Path,
    source: &str,
    needs: Option<Needs>,
) -> Result<Debugger, Failure> {
    let hook = link::function(kernel, HOOK).map_err(StoreError::io("open", kernel))?.ok_or_else(|| {
        let what = format!("{} was built by an Isopod that knew no --gdb", kernel.display());
        Failure::new(what, "build it again")
    })?;
    let source = source.to_owned();
    let told = move |stopped| tell(port, &source, needs.as_ref(), stopped);
    Debugger::new(port, hook, told).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "another program has it: name another port",
            ErrorKind::PermissionDenied => "ports below 1024 are the superuser's: name one above",
            _ => "name another port",
        };
        Failure::new(format!("cannot wait for a debugger on 127.0.0.1:{port}: {error}"), hint)
    })
}

/// Says where the program stands, and how to get there.
fn tell(port: u16, source: &str, needs: Option<&Needs>, stopped: Stopped) {
    let Stopped { at, entry, cpu } = stopped;
    let mut words = vec!["gdb".to_owned()];
    let mut name = "the program".to_owned();
    if let Some(needs) = needs {
        let path = String::from_utf8_lossy(&needs.program).into_owned();
        let file = file(source, &path);
        match entry.wrapping_sub(needs.entry) {
            0 => words.push(file),
            moved => words.push(format!("-ex 'symbol-file -o {moved:#x} {file}'")),
        }
        name = path;
    }
    words.push(format!("-ex 'target remote :{port}'"));
    if cpu > 1 {
        // Debuggers see the machine's CPUs as threads, and begin with the first.
        words.push(format!("-ex 'thread {cpu}'"));
    }
    let place = if at == entry { "its first instruction" } else { "the first instruction of its loader" };
    say(format_args!("{name} waits at {place}, {at:#x}\nhint: in another terminal: {}", words.join(" ")));
}

/// Where this host has the program of the root, if it is known; otherwise the user must have a copy of it.
fn file(source: &str, path: &str) -> String {
    match source.split_once(':') {
        Some(("elf", file)) => file.to_owned(),
        Some(("rootfs", dir)) => format!("{dir}{path}"),
        _ => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}
