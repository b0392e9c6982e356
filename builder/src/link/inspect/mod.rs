//! Will the application's program start? Follows what `execve(2)` and the dynamic loader would do, on files that nobody runs:
//! `#!` lines to their interpreters, the program to its loader, and every object to the libraries it needs.
//!
//! Files are hostile: sizes and counts that a real program never reaches are errors, and nothing panics.

mod elf;
mod error;
mod files;
mod libraries;

pub use error::InspectError;
pub use files::{Entry, Files, Host, ReadAt};

use elf::Object;
use libraries::Search;

/// The longest `#!` line that Linux reads, in bytes (`BINPRM_BUF_SIZE`).
const SCRIPT_LINE: usize = 256;

/// How many interpreters Linux follows from script to script (`exec_binprm` in fs/exec.c).
const SCRIPTS_MAX: usize = 5;

/// Everything a program needs to start.
#[derive(Debug, PartialEq, Eq)]
pub struct Needs {
    /// The program that `execve(2)` would start in the end: of a script, its interpreter.
    pub program: Vec<u8>,
    /// Where that begins, as its file says (`e_entry`).
    pub entry: u64,
    /// The scripts on the way to it, the first first.
    pub scripts: Vec<Vec<u8>>,
    /// The dynamic loader; `None` for a static program.
    pub loader: Option<Vec<u8>>,
    /// The shared libraries, each path as the loader would find it, by the name it is asked for.
    pub libraries: Vec<Library>,
}

/// A shared library that a program needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// The name in `DT_NEEDED`.
    pub name: Vec<u8>,
    /// Where the loader finds it.
    pub path: Vec<u8>,
    /// Whether it is in a directory that the loader searches by itself.
    pub in_default_directory: bool,
}

/// Looks at what starting `args` with the environment `env` would take. A name without a slash is looked for in `PATH`.
///
/// # Errors
/// An [`InspectError`] that names the file and what it lacks.
pub fn inspect(
    files: &dyn Files,
    args: &[Vec<u8>],
    env: &[Vec<u8>],
    dir: &[u8],
) -> Result<Needs, InspectError> {
    let name = args.first().map_or(&b""[..], Vec::as_slice);
    let mut path = find_program(files, name, env, dir)?;
    let mut scripts = Vec::new();
    loop {
        let entry = open(files, &path)?;
        if let Some(interpreter) = script_interpreter(&entry)? {
            if scripts.len() == SCRIPTS_MAX {
                return Err(InspectError::TooManyScripts { path });
            }
            if files.open(&interpreter).is_err() {
                return Err(InspectError::MissingInterpreter { path, interpreter });
            }
            scripts.push(std::mem::replace(&mut path, interpreter));
            continue;
        }
        let object = Object::read(&entry, &path)?;
        let entry_point = object.entry;
        let Some(loader) = object.interpreter.clone() else {
            return Ok(Needs {
                program: path,
                entry: entry_point,
                scripts,
                loader: None,
                libraries: Vec::new(),
            });
        };
        let Ok(loader_entry) = files.open(&loader) else {
            return Err(InspectError::MissingLoader { path, loader });
        };
        Object::read(&loader_entry, &loader)?;
        let libraries = Search::new(files, env, &loader).closure(object, &path, &entry)?;
        return Ok(Needs { program: path, entry: entry_point, scripts, loader: Some(loader), libraries });
    }
}

/// As `execvp(3)` does: the first match in `PATH` that is an executable file.
fn find_program(
    files: &dyn Files,
    name: &[u8],
    env: &[Vec<u8>],
    dir: &[u8],
) -> Result<Vec<u8>, InspectError> {
    let not_found = || InspectError::NotFound { program: name.to_vec() };
    if name.contains(&b'/') {
        let path = join(dir, name);
        return match files.open(&path) {
            Ok(entry) if entry.is_executable() => Ok(path),
            Ok(_) => Err(InspectError::NotExecutable { path }),
            Err(_) => Err(not_found()),
        };
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix(b"PATH=")).unwrap_or_default();
    let mut candidates = path.split(|byte| *byte == b':').map(|at| join(&join(dir, at), name));
    let is_program = |path: &Vec<u8>| files.open(path).is_ok_and(|entry| entry.is_executable());
    candidates.find(is_program).filter(|_| !name.is_empty()).ok_or_else(not_found)
}

fn open(files: &dyn Files, path: &[u8]) -> Result<Entry, InspectError> {
    files.open(path).map_err(|error| InspectError::Io { path: path.to_vec(), error })
}

/// The program in the `#!` line, if the file starts with one.
fn script_interpreter(entry: &Entry) -> Result<Option<Vec<u8>>, InspectError> {
    let head = entry.read(0, SCRIPT_LINE)?;
    let Some(line) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = line.split(blank).find(|word| !word.is_empty()).unwrap_or_default();
    // A carriage return from another system's editor is part of the name, here as in Linux: a classic reason to fail.
    Ok(Some(word.to_vec()))
}

/// `path` seen from the directory `dir`.
fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { [dir, b"/", path].concat() }
}

/// The directory of a path.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&b"."[..], |slash| &path[..slash])
}

#[cfg(test)]
mod tests;
