//! What others made: files opened without waiting for anybody, and text shown without obeying it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. To open anything else could wait for ever (a pipe) or do something (a device).
///
/// # Errors
/// `InvalidInput` for what is there and no regular file; what open(2) says.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // A pipe that came since is not waited for.
    File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// A text on one line, with everything escaped that a terminal would obey or hide: control characters, line ends, and what changes the
/// order of the characters around it (Unicode's format characters).
pub(crate) fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    // Rust escapes quotes and backslashes, too, which are harmless.
    for part in text.split_inclusive(['\'', '"', '\\']) {
        let plain = part.trim_end_matches(['\'', '"', '\\']);
        line.extend(plain.escape_debug());
        line.push_str(&part[plain.len()..]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_escaped() {
        for harmless in ["it's \"a\" C:\\path, näïve 日本語 e\u{301} 🐳", "", "\\\\''\""] {
            assert_eq!(visible(harmless), harmless);
        }
        for (text, shown) in [
            ("a\nb\tc\u{1b}[31m", "a\\nb\\tc\\u{1b}[31m"),
            ("exe.\u{202e}fdp\u{2066}\u{2069}", "exe.\\u{202e}fdp\\u{2066}\\u{2069}"),
            ("a\u{200b}b\u{feff}\u{9b}\u{2028}", "a\\u{200b}b\\u{feff}\\u{9b}\\u{2028}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [&*pipe, dir.path(), Path::new("/dev/null")] {
            assert_eq!(open_regular(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        open_regular(&dir.path().join("file")).unwrap();
    }
}
