//! `#!` scripts: `execve(2)`, "Interpreter scripts".

use alloc::vec::Vec;

use isopod_fs::Errno;

/// How much of the first line counts (`BINPRM_BUF_SIZE`).
pub const LINE_MAX: usize = 256;

/// What a script's first line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program to run.
    pub path: Vec<u8>,
    /// Its one argument, which may contain spaces.
    pub argument: Option<Vec<u8>>,
}

/// Reads the first line of a file, of which `start` is the beginning. `None` when it is no script.
pub fn parse(start: &[u8]) -> Option<Result<Interpreter, Errno>> {
    let line = start.get(..start.len().min(LINE_MAX))?.strip_prefix(b"#!")?;
    let end = line.iter().position(|&byte| byte == b'\n' || byte == 0);
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let text = &line[..end.unwrap_or(line.len())];
    let text = text.get(text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len())..)?;
    let name_end = text.iter().position(is_blank).unwrap_or(text.len());
    // A name that goes on beyond the part that counts would be another name.
    let cut = end.is_none() && start.len() >= LINE_MAX && name_end == text.len();
    let ends_with_line = end.is_some_and(|end| line[end] == b'\n');
    if cut || name_end == 0 && ends_with_line {
        return Some(Err(Errno::ENOEXEC));
    }
    // Where the file ends before the name begins, Linux opens an empty name: the working directory, which is no program.
    if name_end == 0 {
        return Some(Err(Errno::EACCES));
    }
    let (path, rest) = text.split_at(name_end);
    let argument = rest.trim_ascii();
    Some(Ok(Interpreter { path: path.to_vec(), argument: (!argument.is_empty()).then(|| argument.to_vec()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let found = parse(line).unwrap().unwrap();
        (found.path, found.argument)
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(parsed(b"#!/bin/sh\necho"), (b"/bin/sh".to_vec(), None));
        assert_eq!(
            parsed(b"#! \t/usr/bin/env  -S a b \nx"),
            (b"/usr/bin/env".to_vec(), Some(b"-S a b".to_vec()))
        );
        assert_eq!(parsed(b"#!/bin/true"), (b"/bin/true".to_vec(), None));
    }

    #[test]
    fn no_name_no_script() {
        assert_eq!(parse(b"#!\n"), Some(Err(Errno::ENOEXEC)));
        assert_eq!(parse(b"#!   "), Some(Err(Errno::EACCES)));
        assert_eq!(parse(&[b"#!".as_slice(), &[b' '; LINE_MAX]].concat()), Some(Err(Errno::ENOEXEC)));
        assert_eq!(parse(b"\x7fELF"), None);
        let mut long = b"#!/".to_vec();
        long.resize(LINE_MAX, b'a');
        assert_eq!(parse(&long), Some(Err(Errno::ENOEXEC)));
    }
}
