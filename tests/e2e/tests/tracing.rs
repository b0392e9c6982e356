//! strace and gdb in the guest do as they do on Linux, and `--trace` prints what strace prints.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::image::{self, Image};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{cache, packages, programs, run_limited};

/// strace and what it needs, and what it traces.
const STRACE: [&str; 6] = ["strace", "busybox-static", "libc6", "libunwind8", "liblzma5", "libgcc-s1"];

/// gdb, with as few libraries as there are for it. In layers, as their names are those of files.
const GDB: [&[&str]; 3] = [
    &[
        "gdb-minimal",
        "libc6",
        "libdebuginfod1",
        "libexpat1",
        "libgcc-s1",
        "libgmp10",
        "libipt2",
        "liblzma5",
        "libreadline8",
        "libstdc++6",
        "libtinfo6",
        "libxxhash0",
        "libzstd1",
        "zlib1g",
    ],
    &[
        "libcurl3-gnutls",
        "libelf1",
        "libdw1",
        "libbz2-1.0",
        "libbrotli1",
        "libcom-err2",
        "libffi8",
        "libgnutls30",
        "libgssapi-krb5-2",
        "libhogweed6",
    ],
    &[
        "libidn2-0",
        "libk5crypto3",
        "libkeyutils1",
        "libkrb5-3",
        "libkrb5support0",
        "libldap-2.5-0",
        "libnettle8",
        "libnghttp2-14",
        "libp11-kit0",
        "libpsl5",
        "librtmp1",
        "libsasl2-2",
        "libssh2-1",
        "libssl3",
        "libtasn1-6",
        "libunistring2",
    ],
];

/// Runs `command` here and `image` in a guest, and compares what they print, but for ids and addresses.
fn compare(command: &mut Command, image: &Image) -> Result<()> {
    let here = run_limited(command, b"", Duration::from_mins(1))?;
    let there = Isopod::shared().run(&["run", &image.cached()?.reference()])?;
    let (expected, found) = (plain(&String::from_utf8_lossy(&here.stdout)), plain(&there.stdout));
    let differences: Vec<_> =
        expected.lines().zip(found.lines()).filter(|(here, there)| here != there).collect();
    let errors = &there.stderr;
    assert!(expected == found, "{differences:#?}\n--- Linux\n{expected}\n--- guest\n{found}\n{errors}");
    there.expect_status(here.status.code().unwrap_or(-1));
    Ok(())
}

/// What a tracer prints, without ids of processes, the addresses of memory, and the number of blanks between columns.
fn plain(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut before = "";
        let mut words = Vec::new();
        for word in line.split_whitespace() {
            let is_id = ["(LWP", "LWP", "(process", "[pid"].contains(&before);
            let is_address = word.starts_with("0x7f") || word.starts_with("0x55") || word.starts_with("0x56");
            words.push(if is_id || is_address { "ID" } else { word });
            before = word;
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

#[test]
fn strace_sees_what_it_sees_on_linux() -> Result<()> {
    // Calls that every kernel answers alike, without SIGCHLD, which may come before a wait or behind it; a file for each process, as the order between them is nobody's.
    let calls =
        "execve,vfork,fork,wait4,kill,rt_sigaction,rt_sigprocmask,write,exit_group,dup2,pipe,pause,alarm";
    let program = "trap 'echo caught' USR1; kill -USR1 $$; busybox true; x=$(busybox echo sub); echo $x; \
                   busybox sh -c 'kill -TERM $$'; busybox sh -c 'kill -KILL $$'; (exit 4); exit 3";
    let script = format!(
        "cd $(mktemp -d) && env -i PATH=$PATH strace -ff -qq -e signal=!SIGCHLD -e trace={calls} -o t busybox sh -c {}; echo status $?; \
         for file in $(ls t.* | sort -t. -k2 -n); do echo file; \
         sed -E 's#^execve\\(\"[^\"]*/busybox\"#execve(\"busybox\"#; s/0x[0-9a-f]+|si_pid=[0-9]+|si_[us]time=[0-9]+/X/g; s/^((wait4|v?fork).* = )[0-9]+$/\\1N/; \
         s/kill\\([0-9]+/kill(N/' $file; done",
        quoted(program)
    );
    let image = image::debian(&STRACE)?;
    let mut layer = image::Layer::new();
    for name in ["sh", "mktemp", "sort", "ls", "sed", "env"] {
        layer.symlink(&format!("bin/{name}"), "busybox");
    }
    let image = image.layer(layer.finish()).entrypoint(&["/bin/sh", "-c", &script]);
    let busybox = packages::program("busybox-static", "bin/busybox")?;
    let mut here = Command::new(&busybox);
    let folder = busybox.parent().expect("a program lies in a folder").display();
    here.env("PATH", format!("{folder}:{}", std::env::var("PATH")?));
    compare(here.args(["sh", "-c", &script]), &image)
}

/// A word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What is printed of each thread, in the order in which they begin, without what differs from one run to another.
fn threads(text: &str, thread: impl Fn(&str) -> Option<(u32, &str)>) -> Vec<Vec<String>> {
    let mut order = Vec::new();
    let mut lines: HashMap<u32, Vec<String>> = HashMap::new();
    let mut unfinished: HashMap<u32, String> = HashMap::new();
    for (id, line) in text.lines().filter_map(thread) {
        if !order.contains(&id) {
            order.push(id);
        }
        let mut line = line.to_owned();
        if let Some(begin) = line.strip_suffix(" <unfinished ...>") {
            unfinished.insert(id, begin.to_owned());
            continue;
        }
        if let Some((_, rest)) = line.split_once(" resumed>") {
            line = unfinished.remove(&id).expect("a call that goes on has begun") + rest;
        }
        lines.entry(id).or_default().push(masked(&line));
    }
    order.iter().map(|id| lines.remove(id).unwrap_or_default()).collect()
}

/// Without addresses, numbers of processes and the width of columns.
fn masked(line: &str) -> String {
    /// Calls that return or take numbers of processes.
    const PROCESSES: [&str; 6] = ["clone", "clone3", "wait4", "getpid", "gettid", "set_tid_address"];
    let (mut line, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(|sign: char| sign.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let length =
            number.find(|sign: char| !sign.is_ascii_hexdigit() && sign != 'x').unwrap_or(number.len());
        line += before;
        let is_process = ["si_pid=", "si_utime=", "si_stime="].iter().any(|field| line.ends_with(field));
        let is_address = number.starts_with("0x") && length > 6;
        line += if is_process || is_address { "N" } else { &number[..length] };
        rest = &number[length..];
    }
    line += rest;
    let Some((call, result)) = line.rsplit_once(" = ") else { return line };
    let mut call = call.trim_end();
    let name = call.split('(').next().unwrap_or_default();
    let is_id = PROCESSES.contains(&name) && result.parse::<u32>().is_ok_and(|id| id > 0);
    // strace also tells what clone3 has written.
    let written = call.split_once(" => ").and_then(|(_, rest)| rest.split_once(']'));
    let before =
        written.map(|(_, rest)| format!("{}{}", call.split(" => ").next().unwrap_or_default(), &rest[1..]));
    call = before.as_deref().unwrap_or(call);
    let call =
        if name == "tgkill" { format!("tgkill {:?}", call.rsplit(", ").next()) } else { call.to_owned() };
    format!("{call} = {}", if is_id { "N" } else { result })
}

#[test]
fn a_trace_reads_as_that_of_strace() -> Result<()> {
    let program = programs::compile("gcc", "traced.c", &["-static", "-O1", "-w"])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&file).arg(&program);
    let here = run_limited(&mut strace, b"", Duration::from_mins(1))?;
    let expected = std::fs::read_to_string(&file)?;
    let expected = threads(&expected, |line| {
        let (id, rest) = line.split_once(' ')?;
        Some((id.parse().ok()?, rest.trim_start()))
    });
    for machine in ["microvm", "q35"] {
        let reference = format!("elf:{}", program.display());
        let there = Isopod::shared().run(&["run", "--machine", machine, "--trace", &reference])?;
        there.expect_status(here.status.code().unwrap_or(-1));
        let found = threads(&there.stderr, |line| {
            let (id, rest) = line.strip_prefix("[pid ")?.split_once("] ")?;
            Some((id.trim_start().parse().ok()?, rest))
        });
        assert_eq!(expected.len(), found.len(), "{}", there.stderr);
        for (expected, found) in expected.iter().zip(&found) {
            // How a program is started, and from where, is another matter.
            let own = |lines: &[String]| {
                let begin = lines.iter().position(|line| line.contains("\"begin\"")).unwrap_or(0);
                // Whether a futex is waited for is chance.
                let others = ["readlink(\"/proc", "getrandom(", "futex("];
                let is_own = |line: &&String| others.iter().all(|other| !line.starts_with(other));
                lines[begin..].iter().filter(is_own).cloned().collect::<Vec<_>>()
            };
            let (expected, found) = (own(expected), own(found));
            let different: Vec<_> =
                expected.iter().zip(&found).filter(|(here, there)| here != there).collect();
            assert!(expected == found, "{different:#?}\n{}", there.stderr);
        }
    }
    Ok(())
}

#[test]
fn gdb_debugs_a_program_with_threads() -> Result<()> {
    let source = cache::workspace().join("tests/e2e/programs/debugged.c");
    let script = cache::workspace().join("tests/e2e/programs/debugged.gdb");
    let program = programs::compile("gcc", "debugged.c", &["-g", "-O0", "-static"])?;
    let [script_name, name] = [&script, &program].map(|path| path.display().to_string());
    let words = ["gdb", "-nx", "-batch", "-x", &script_name, &name];
    // At the same places as here.
    let mut image = image::debian(GDB[0])?;
    for names in &GDB[1..] {
        image = image.layer_file(packages::layer(names)?);
    }
    for path in [&source, &script, &program] {
        let inside = path.strip_prefix(Path::new("/"))?.display().to_string();
        image = image.files(&[(&inside, &programs::bytes(path)?)]);
    }
    let mut here = Command::new("gdb");
    compare(here.args(&words[1..]).current_dir("/"), &image.entrypoint(&words))
}
