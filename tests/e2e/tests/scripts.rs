//! Scripts as images have them, and the tools and languages they use: in a guest they print what they print on Linux.

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{image, linux};

/// Runs a script of `tests/e2e/programs/scripts` by an interpreter in an image of these packages, on Linux and in a guest. Both end with this status.
fn compare(interpreter: &str, script: &str, packages: &[&str], memory: &str, status: i32) -> Result<()> {
    let path = isopod_e2e::cache::workspace().join("tests/e2e/programs/scripts").join(script);
    let image = image::complete(packages)?.files(&[(script, &std::fs::read(path)?)]);
    let command = [interpreter, &format!("/{script}")];
    linux::compare(&image.cached()?, &["-m", memory], &command)?.expect_status(status);
    Ok(())
}

#[test]
fn bash_has_its_pipelines_traps_jobs_and_coprocesses() -> Result<()> {
    compare("/bin/bash", "bash.sh", &["bash", "findutils", "diffutils", "procps", "sed"], "256M", 3)
}

#[test]
fn entrypoints_drop_their_privileges() -> Result<()> {
    compare(
        "/bin/sh",
        "entrypoint.sh",
        &["bash", "findutils", "gosu", "grep", "mawk", "util-linux"],
        "256M",
        0,
    )
}

#[test]
fn nginx_begins_with_hooks_and_templates() -> Result<()> {
    let packages = ["findutils", "gettext-base", "grep", "libc-bin", "mawk", "nginx", "sed", "socat"];
    compare("/bin/sh", "nginx.sh", &packages, "256M", 0)
}

#[test]
fn tools_do_their_work() -> Result<()> {
    let packages = [
        "bash",
        "busybox-static",
        "diffutils",
        "findutils",
        "gawk",
        "grep",
        "gzip",
        "sed",
        "tar",
        "xz-utils",
    ];
    compare("/bin/bash", "tools.sh", &packages, "512M", 0)
}

#[test]
#[ignore = "takes a minute"]
fn a_program_is_compiled_and_kept_in_git_and_interpreters_run() -> Result<()> {
    let packages = ["gcc", "git", "grep", "libc6-dev", "lua5.4", "make", "perl", "ruby", "sed"];
    compare("/bin/sh", "languages.sh", &packages, "1G", 0)
}

#[test]
#[ignore = "takes a minute"]
fn python_has_processes_threads_loops_and_foreign_functions() -> Result<()> {
    compare("/usr/bin/python3", "python.py", &["python3", "procps"], "512M", 0)
}

#[test]
fn processes_and_threads_share_databases() -> Result<()> {
    compare("/usr/bin/python3", "sqlite.py", &["python3"], "512M", 0)
}

/// What `observers.sh` prints in a guest with two processors.
const OBSERVED: &str = include_str!("../programs/scripts/observers.txt");

#[test]
fn observers_see_processes_and_the_machine_as_they_are() -> Result<()> {
    let packages = ["grep", "lsof", "mount", "ncurses-base", "procps", "psmisc", "sed", "util-linux"];
    let script = include_bytes!("../programs/scripts/observers.sh");
    let image = image::complete(&[&["bash"], &packages[..]].concat())?.files(&[("observers.sh", script)]);
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&["run", "--cpus", "2", "-m", "512M", &reference, "/bin/bash", "/observers.sh"])?
        .expect_stdout(OBSERVED)
        .expect_status(0);
    Ok(())
}
