//! `CPython`'s own tests of what it asks an operating system for: each ends in a guest as it ends on Linux, and none fails.

use anyhow::Result;
use isopod_e2e::{image, linux, longer};

/// The script that runs them.
const SCRIPT: &[u8] = include_bytes!("../programs/scripts/cpython.py");

/// Runs a module of the tests on Linux and in a guest, within the time that both have for a run.
fn compare(module: &str) -> Result<()> {
    // Up to two minutes each.
    if longer(0, 1) == 0 {
        return Ok(());
    }
    let files = [("cpython.py", SCRIPT), ("etc/hosts", b"127.0.0.1 localhost\n")];
    let image = image::complete(&["python3", "libpython3.11-testsuite"])?.files(&files);
    linux::compare(&image.cached()?, &["-m", "1G"], &["/usr/bin/python3", "/cpython.py", module])?
        .expect_status(0);
    Ok(())
}

#[test]
fn archives_are_written_and_read() -> Result<()> {
    compare("test_zipfile")
}

#[test]
fn children_share_queues_pools_and_memory() -> Result<()> {
    compare("test_multiprocessing_fork")
}

#[test]
fn files_are_locked_and_watched() -> Result<()> {
    compare("test_fcntl")
}

#[test]
fn files_are_mapped() -> Result<()> {
    compare("test_mmap")
}

#[test]
fn files_are_selected() -> Result<()> {
    compare("test_select")
}

#[test]
fn many_files_are_waited_for_by_epoll() -> Result<()> {
    compare("test_epoll")
}

#[test]
fn many_files_are_waited_for_by_any_means() -> Result<()> {
    compare("test_selectors")
}

#[test]
fn processes_are_started_and_spoken_to() -> Result<()> {
    compare("test_subprocess")
}

#[test]
fn signals_are_handled_and_waited_for() -> Result<()> {
    compare("test_signal")
}

#[test]
fn systems_are_asked_for_much() -> Result<()> {
    compare("test_os")
}

#[test]
fn systems_are_asked_for_what_posix_names() -> Result<()> {
    compare("test_posix")
}

#[test]
fn temporary_files_come_and_go() -> Result<()> {
    compare("test_tempfile")
}

#[test]
fn threads_start_wait_and_end() -> Result<()> {
    compare("test_threading")
}

#[test]
fn time_passes() -> Result<()> {
    compare("test_time")
}

#[test]
fn trees_are_copied_and_removed() -> Result<()> {
    compare("test_shutil")
}

#[test]
fn terminals_have_two_ends() -> Result<()> {
    compare("test_pty")
}
