//! Programs that are cut, damaged or made to do harm: Linux refuses or kills them, and so does the guest, whose kernel lives on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::elf::{BASE, Elf, INTERP, STACK, STATUS, Segment};
use isopod_e2e::image::{Image, Layer, base_layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{programs, run_limited};

/// What comes of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// execve(2) fails with this error, on Linux and in the guest.
    Error(&'static str),
    /// Linux finds out only when the old program is gone already, and kills the process with SIGSEGV; the guest's execve(2) still fails.
    Late,
    /// The program runs, and this is its status as a shell tells it.
    Status(i32),
}
use End::{Error, Late, Status};

/// A name, a file, and what comes of it.
type Case = (&'static str, Vec<u8>, End);

/// The program with one thing changed.
fn changed(change: impl FnOnce(&mut Elf)) -> Vec<u8> {
    let mut elf = Elf::program();
    change(&mut elf);
    elf.bytes()
}

/// The program with its segment of code changed.
fn code(change: impl FnOnce(&mut Segment)) -> Vec<u8> {
    changed(|elf| change(&mut elf.segments[0]))
}

/// The program with its segment of zeros changed.
fn zeros(change: impl FnOnce(&mut Segment)) -> Vec<u8> {
    changed(|elf| change(&mut elf.segments[1]))
}

/// The program with an interpreter, and its header for that changed.
fn interpreter(path: &[u8], change: impl FnOnce(&mut Segment)) -> Vec<u8> {
    let mut elf = Elf::with_interpreter(path);
    change(&mut elf.segments[0]);
    elf.bytes()
}

/// The program, cut.
fn cut(length: usize) -> Vec<u8> {
    let mut bytes = Elf::program().bytes();
    bytes.truncate(length);
    bytes
}

fn headers() -> Vec<Case> {
    vec![
        ("cut-in-magic", cut(3), Error("ENOEXEC")),
        ("cut-after-identification", cut(16), Error("ENOEXEC")),
        ("cut-in-header", cut(63), Error("ENOEXEC")),
        ("cut-after-header", cut(64), Error("ENOEXEC")),
        ("cut-in-program-header", cut(64 + 55), Error("ENOEXEC")),
        ("cut-in-second-header", cut(64 + 57), Error("ENOEXEC")),
        ("object-file", changed(|elf| elf.kind = 1), Error("ENOEXEC")),
        ("core-file", changed(|elf| elf.kind = 4), Error("ENOEXEC")),
        ("other-machine", changed(|elf| elf.machine = 183), Error("ENOEXEC")),
        ("magic-alone", b"\x7fELF".to_vec(), Error("ENOEXEC")),
        ("no-headers", changed(|elf| elf.headers_count = Some(0)), Error("ENOEXEC")),
        ("all-headers", changed(|elf| elf.headers_count = Some(0xffff)), Error("ENOEXEC")),
        ("most-headers", changed(|elf| elf.headers_count = Some(1170)), Error("ENOEXEC")),
        ("headers-of-no-size", changed(|elf| elf.header_size = 0), Error("ENOEXEC")),
        ("headers-of-odd-size", changed(|elf| elf.header_size = 57), Error("ENOEXEC")),
        ("headers-beyond-file", changed(|elf| elf.headers_offset = 1 << 20), Error("ENOEXEC")),
        (
            "headers-at-the-end-of-offsets",
            changed(|elf| elf.headers_offset = u64::MAX >> 1),
            Error("ENOEXEC"),
        ),
        ("headers-at-negative-offset", changed(|elf| elf.headers_offset = u64::MAX), Error("ENOEXEC")),
        ("headers-that-wrap", changed(|elf| elf.headers_offset = u64::MAX - 100), Error("ENOEXEC")),
        ("headers-over-header", changed(|elf| elf.headers_offset = 0), Late),
    ]
}

fn segments() -> Vec<Case> {
    vec![
        ("nothing-to-load", changed(|elf| elf.segments.truncate(0)), Error("ENOEXEC")),
        (
            "no-bytes-to-load",
            changed(|elf| elf.segments.iter_mut().for_each(|s| (s.file_size, s.memory_size) = (0, 0))),
            Late,
        ),
        ("more-file-than-memory", code(|segment| segment.file_size += 1), Late),
        (
            "huge-in-file",
            code(|segment| (segment.file_size, segment.memory_size) = (1 << 46, 1 << 46)),
            Status(STATUS),
        ),
        (
            "all-of-a-file",
            code(|segment| (segment.file_size, segment.memory_size) = (u64::MAX, u64::MAX)),
            Late,
        ),
        ("huge-in-memory", zeros(|segment| segment.memory_size = 1 << 46), Late),
        ("as-large-as-user-space", zeros(|segment| segment.memory_size = 1 << 47), Late),
        ("all-of-memory", zeros(|segment| segment.memory_size = u64::MAX), Late),
        ("wraps-in-memory", zeros(|segment| segment.memory_size = u64::MAX - BASE), Late),
        ("in-kernel-space", code(|segment| segment.address = 0xffff_ffff_8000_0000), Late),
        ("at-no-address", code(|segment| segment.address = 0x8000_0000_0000), Late),
        ("at-last-page", zeros(|segment| segment.address = 0x7fff_ffff_f000), Late),
        ("beyond-offsets", code(|segment| segment.offset = u64::MAX << 12), Late),
        ("at-end-of-offsets", code(|segment| segment.offset = u64::MAX >> 1 & !4095), Late),
        ("offset-does-not-fit-address", code(|segment| segment.offset = 1), Late),
        ("descending", changed(|elf| elf.segments.reverse()), Status(STATUS)),
        ("overlapping", zeros(|segment| segment.address = BASE), Status(139)),
        ("no-alignment", code(|segment| segment.alignment = 0), Status(STATUS)),
        ("odd-alignment", code(|segment| segment.alignment = 3), Status(STATUS)),
        ("largest-alignment", code(|segment| segment.alignment = 1 << 63), Status(STATUS)),
        (
            "relocatable-with-largest-alignment",
            changed(|elf| {
                elf.kind = 3;
                elf.segments[0].alignment = 1 << 63;
            }),
            Status(STATUS),
        ),
        (
            "relocatable-with-large-alignment",
            changed(|elf| {
                elf.kind = 3;
                elf.segments[0].alignment = 1 << 40;
            }),
            Status(STATUS),
        ),
        (
            "relocatable-and-huge",
            changed(|elf| {
                elf.kind = 3;
                elf.segments[1].memory_size = 1 << 46;
            }),
            Late,
        ),
        (
            "relocatable-at-end",
            changed(|elf| {
                elf.kind = 3;
                elf.segments[0].address = 0x7fff_ffff_e000;
                elf.segments[1].address = 0x7fff_ffff_f000;
            }),
            Late,
        ),
        ("beyond-file", code(|segment| segment.offset = 1 << 20), Status(135)),
        ("cut-before-code", cut(64 + 2 * 56), Status(139)),
        ("not-executable", code(|segment| segment.flags = 4), Status(139)),
        ("no-access", code(|segment| segment.flags = 0), Status(139)),
        ("unknown-headers", changed(|elf| elf.segments[1].kind = 0x1234_5678), Status(STATUS)),
        (
            "executable-stack",
            changed(|elf| elf.segments[1] = Segment { kind: STACK, flags: 7, ..elf.segments[1] }),
            Status(STATUS),
        ),
        ("entry-nowhere", changed(|elf| elf.entry = 0x1000), Status(139)),
        ("entry-in-kernel", changed(|elf| elf.entry = 0xffff_ffff_8000_0000), Status(139)),
        ("entry-at-no-address", changed(|elf| elf.entry = 0x8000_0000_0000), Status(139)),
        ("entry-in-no-half", changed(|elf| elf.entry = 1 << 63), Status(139)),
        ("other-class", changed(|elf| elf.ident[4] = 1), Status(STATUS)),
        ("other-order", changed(|elf| elf.ident[5] = 2), Status(STATUS)),
        ("other-version", changed(|elf| elf.ident[6] = 0), Status(STATUS)),
    ]
}

fn interpreters() -> Vec<Case> {
    vec![
        ("interpreter-unfinished", interpreter(b"text", |_| ()), Error("ENOEXEC")),
        ("interpreter-empty", interpreter(b"\0", |_| ()), Error("ENOEXEC")),
        ("interpreter-of-two-nuls", interpreter(b"\0\0", |_| ()), Error("EACCES")),
        (
            "interpreter-of-no-bytes",
            interpreter(b"text\0", |segment| segment.file_size = 0),
            Error("ENOEXEC"),
        ),
        ("interpreter-too-long", interpreter(&[b'x'; 5000], |_| ()), Error("ENOEXEC")),
        ("interpreter-beyond-file", interpreter(b"text\0", |segment| segment.offset = 1 << 20), Error("EIO")),
        (
            "interpreter-half-beyond-file",
            interpreter(b"text\0", |segment| segment.file_size = 40),
            Error("EIO"),
        ),
        (
            "interpreter-at-no-offset",
            interpreter(b"text\0", |segment| segment.offset = u64::MAX),
            Error("EINVAL"),
        ),
        ("interpreter-missing", interpreter(b"no-such-file\0", |_| ()), Error("ENOENT")),
        ("interpreter-is-folder", interpreter(b"/\0", |_| ()), Error("EACCES")),
        ("interpreter-is-no-folder", interpreter(b"text/x\0", |_| ()), Error("ENOTDIR")),
        ("interpreter-is-text", interpreter(b"text\0", |_| ()), Error("EIO")),
        ("interpreter-is-long-text", interpreter(b"long-text\0", |_| ()), Error("ELIBBAD")),
        ("interpreter-is-cut", interpreter(b"cut-after-header\0", |_| ()), Error("ELIBBAD")),
        ("interpreter-is-cut-in-header", interpreter(b"cut-in-header\0", |_| ()), Error("EIO")),
        ("interpreter-of-other-machine", interpreter(b"other-machine\0", |_| ()), Error("ELIBBAD")),
        ("interpreter-of-nothing", interpreter(b"nothing-to-load\0", |_| ()), Error("ELIBBAD")),
        ("interpreter-not-executable", interpreter(b"plain\0", |_| ()), Error("EACCES")),
        ("interpreter-is-itself", interpreter(b"interpreter-is-itself\0", |_| ()), Status(STATUS)),
        ("interpreter-lies", interpreter(b"huge-in-memory\0", |_| ()), Late),
        (
            "second-interpreter",
            changed(|elf| {
                *elf = Elf::with_interpreter(b"text\0");
                elf.segments[2] = Segment { kind: INTERP, offset: u64::MAX, ..elf.segments[2] };
            }),
            Error("EIO"),
        ),
        ("script-of-itself", b"#!script-of-itself\n".to_vec(), Error("ELOOP")),
        ("script-of-damaged", b"#!cut-after-header\n".to_vec(), Error("ENOEXEC")),
        ("script-of-folder", b"#!/\n".to_vec(), Error("EACCES")),
        ("script-of-long-name", [&b"#!"[..], &[b'x'; 300]].concat(), Error("ENOEXEC")),
        ("script-with-nul", b"#!te\0xt\n".to_vec(), Error("ENOENT")),
        ("script-of-nothing", b"#!".to_vec(), Error("EACCES")),
        ("script-of-blanks", b"#! \t ".to_vec(), Error("EACCES")),
        ("script-of-many-blanks", [&b"#!"[..], &[b' '; 300]].concat(), Error("ENOEXEC")),
        ("script-of-nul", b"#!\0text\n".to_vec(), Error("EACCES")),
        ("text", b"only text\n".to_vec(), Error("ENOEXEC")),
        ("long-text", [b'x'; 5000].to_vec(), Error("ENOEXEC")),
        ("nothing", Vec::new(), Error("ENOEXEC")),
        ("binary-zeros", vec![0; 5000], Error("ENOEXEC")),
    ]
}

fn cases() -> Vec<Case> {
    [headers(), segments(), interpreters()].concat()
}

/// The program that executes others.
fn execs() -> Result<std::path::PathBuf> {
    programs::compile("gcc", "execs.c", &["-O1", "-static"])
}

/// What `execs` prints of each file.
fn answers(output: &str) -> BTreeMap<&str, &str> {
    output.lines().filter_map(|line| line.split_once(' ')).collect()
}

/// Whether Linux would say so of a program that ends like that.
fn is_answer_of_linux(end: End, answer: &str) -> bool {
    match end {
        Error(name) => answer == name,
        Late => answer == "signal 11",
        Status(status) => {
            answer == format!("status {status}") || answer == format!("signal {}", status - 128)
        }
    }
}

/// Fails with all cases whose answer is not the one expected.
fn compare(found: &BTreeMap<&str, &str>, cases: &[Case], is_right: impl Fn(End, &str) -> bool) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(name, _, end)| (name, end, found.get(name).copied().unwrap_or("no answer")))
        .filter(|(_, end, answer)| !is_right(**end, answer))
        .map(|(name, end, answer)| format!("{name}: {end:?} was expected, but: {answer}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An image with the hostile programs in `/elf`, and one that executes them.
fn image() -> Result<Image> {
    let mut layer = Layer::new();
    layer.folder("elf", 0o755).file("elf/plain", 0o644, &Elf::program().bytes());
    for (name, bytes, _) in cases() {
        layer.file(&format!("elf/{name}"), 0o755, &bytes);
    }
    let execs = programs::bytes(&execs()?)?;
    Ok(Image::new()
        .layer(base_layer())
        .files(&[("execs", &execs)])
        .layer(layer.finish())
        .set("WorkingDir", "/elf"))
}

/// The paths of cases in the guest.
fn paths(cases: &[Case]) -> Vec<String> {
    cases.iter().map(|(name, ..)| format!("/elf/{name}")).collect()
}

#[test]
fn linux_refuses_or_kills_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("plain"), Elf::program().bytes())?;
    let mut command = Command::new(execs()?);
    for (name, bytes, _) in cases() {
        let path = folder.path().join(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        command.arg(path);
    }
    let finished = run_limited(command.current_dir(folder.path()), b"", Duration::from_mins(1))?;
    let output = String::from_utf8(finished.stdout)?;
    compare(&answers(&output), &cases(), is_answer_of_linux);
    Ok(())
}

#[test]
fn guest_does_the_same() -> Result<()> {
    let reference = image()?.cached()?.reference();
    let (cases, paths) = (cases(), paths(&cases()));
    let words: Vec<&str> =
        ["run", &reference, "/execs"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let outcome = Isopod::shared().run(&words)?;
    compare(&answers(&outcome.stdout), &cases, |end, answer| match end {
        Late => answer.starts_with('E'),
        end => is_answer_of_linux(end, answer),
    });
    outcome.expect_status(0);
    Ok(())
}

#[test]
fn none_of_those_refused_can_be_the_first_process() -> Result<()> {
    let reference = image()?.cached()?.reference();
    let refused: Vec<_> = cases().into_iter().filter(|(.., end)| !matches!(end, Status(_))).collect();
    for path in paths(&refused) {
        let outcome = Isopod::shared().run(&["run", &reference, &path])?;
        // Some are found out before a machine is started, and some by the guest.
        outcome.expect_failure(&[125, 126, 127], &path).expect_stdout("");
    }
    Ok(())
}
