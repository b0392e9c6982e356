//! `CPython`'s own tests of what it asks an operating system for: each ends in a guest as it ends on Linux, and none fails.

use std::fs;
use std::process::Command;

use anyhow::Result;
use isopod_e2e::image::{self, Image, Layer};
use isopod_e2e::{linux, packages, succeed};

/// The script that runs them.
const SCRIPT: &[u8] = include_bytes!("../programs/scripts/cpython.py");

/// The image that they are in.
fn image() -> Result<Image> {
    let files = [("cpython.py", SCRIPT), ("etc/hosts", b"127.0.0.1 localhost isopod\n")];
    Ok(image::complete(&["python3", "libpython3.11-testsuite", "netbase"])?.files(&files))
}

/// Runs modules of the tests on Linux and in a guest, within the time that both have for a run.
fn compare_in(image: &Image, modules: &[&str]) -> Result<()> {
    let command = [&["/usr/bin/python3", "/cpython.py"], modules].concat();
    linux::compare(&image.cached()?, &["-m", "1G"], &command)?.expect_status(0);
    Ok(())
}

/// As [`compare_in`], for those that Debian has packaged.
fn compare_all(modules: &[&str]) -> Result<()> {
    compare_in(&image()?, modules)
}

/// Runs one of them.
fn compare(module: &str) -> Result<()> {
    compare_all(&[module])
}

#[test]
#[ignore = "takes up to two minutes"]
fn addresses_of_pages_are_opened() -> Result<()> {
    compare("test_urllib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn addresses_of_pages_are_opened_through_handlers() -> Result<()> {
    compare("test_urllib2")
}

#[test]
#[ignore = "takes up to two minutes"]
fn archives_are_written_and_read() -> Result<()> {
    compare("test_zipfile")
}

#[test]
#[ignore = "takes up to two minutes"]
fn channels_are_watched() -> Result<()> {
    compare("test_asyncore")
}

#[test]
#[ignore = "takes up to two minutes"]
fn children_share_queues_pools_and_memory() -> Result<()> {
    compare("test_multiprocessing_fork")
}

#[test]
#[ignore = "takes up to two minutes"]
fn connections_are_encrypted() -> Result<()> {
    compare("test_ssl")
}

#[test]
#[ignore = "takes up to two minutes"]
fn databases_are_kept_in_files() -> Result<()> {
    // Debian's package of the tests leaves these out, its source package has them.
    let folder = tempfile::tempdir()?;
    let mut tar = Command::new("sh");
    tar.args([
        "-ec",
        "tar -C \"$1\" --strip-components=4 --wildcards -xf \"$2\"/*.orig.tar.* '*/Lib/test/test_sqlite3/*'",
        "sh",
    ]);
    succeed(tar.arg(folder.path()).arg(packages::source("python3.11")?))?;
    let mut layer = Layer::new();
    for file in fs::read_dir(&folder)? {
        let file = file?;
        let name = file.file_name();
        layer.file(
            &format!("usr/lib/python3.11/test/test_sqlite3/{}", name.display()),
            0o644,
            &fs::read(file.path())?,
        );
    }
    compare_in(&image()?.layer(layer.finish()), &["test_sqlite3"])
}

/// Runs parts of `test_asyncio`.
fn compare_event_loops<const N: usize>(parts: [&str; N]) -> Result<()> {
    let modules = parts.map(|part| format!("test_asyncio.test_{part}"));
    compare_all(&modules.each_ref().map(String::as_str))
}

#[test]
#[ignore = "takes up to two minutes"]
fn event_loops_carry_protocols() -> Result<()> {
    compare_event_loops([
        "buffered_proto",
        "proactor_events",
        "protocols",
        "selector_events",
        "sslproto",
        "transports",
    ])
}

#[test]
#[ignore = "takes up to two minutes"]
fn event_loops_run_tasks() -> Result<()> {
    compare_event_loops([
        "base_events",
        "context",
        "futures",
        "futures2",
        "pep492",
        "runners",
        "taskgroups",
        "tasks",
    ])
}

#[test]
#[ignore = "takes up to two minutes"]
fn event_loops_serve_and_connect() -> Result<()> {
    // Those parts that ask the operating system.
    compare_event_loops([
        "events",
        "sendfile",
        "server",
        "sock_lowlevel",
        "ssl",
        "streams",
        "subprocess",
        "unix_events",
    ])
}

#[test]
#[ignore = "takes up to two minutes"]
fn event_loops_wait_and_hand_over() -> Result<()> {
    compare_event_loops(["locks", "queues", "threads", "timeouts", "waitfor"])
}

#[test]
#[ignore = "takes up to two minutes"]
fn files_are_locked_and_watched() -> Result<()> {
    compare("test_fcntl")
}

#[test]
#[ignore = "takes up to two minutes"]
fn files_are_mapped() -> Result<()> {
    compare("test_mmap")
}

#[test]
#[ignore = "takes up to two minutes"]
fn files_are_selected() -> Result<()> {
    compare("test_select")
}

#[test]
#[ignore = "takes up to two minutes"]
fn files_are_transferred() -> Result<()> {
    compare("test_ftplib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn logs_are_sent_to_servers() -> Result<()> {
    compare("test_logging")
}

#[test]
#[ignore = "takes up to two minutes"]
fn mail_is_fetched() -> Result<()> {
    compare("test_poplib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn mail_is_kept_on_a_server() -> Result<()> {
    compare("test_imaplib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn mail_is_sent() -> Result<()> {
    compare("test_smtplib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn many_files_are_waited_for_by_any_means() -> Result<()> {
    compare("test_selectors")
}

#[test]
#[ignore = "takes up to two minutes"]
fn many_files_are_waited_for_by_epoll() -> Result<()> {
    compare("test_epoll")
}

#[test]
#[ignore = "takes up to two minutes"]
fn pages_are_asked_for() -> Result<()> {
    compare("test_httplib")
}

#[test]
#[ignore = "takes up to two minutes"]
fn pages_are_fetched_from_the_machine_itself() -> Result<()> {
    compare("test_urllib2_localnet")
}

#[test]
#[ignore = "takes up to two minutes"]
fn pages_are_served() -> Result<()> {
    compare("test_httpservers")
}

#[test]
#[ignore = "takes up to two minutes"]
fn procedures_are_called() -> Result<()> {
    compare("test_xmlrpc")
}

#[test]
#[ignore = "takes up to two minutes"]
fn processes_are_started_and_spoken_to() -> Result<()> {
    compare("test_subprocess")
}

#[test]
#[ignore = "takes up to two minutes"]
fn servers_have_threads_and_children() -> Result<()> {
    compare("test_socketserver")
}

#[test]
#[ignore = "takes up to two minutes"]
fn signals_are_handled_and_waited_for() -> Result<()> {
    compare("test_signal")
}

#[test]
#[ignore = "takes up to two minutes"]
fn sockets_of_every_kind_are_used() -> Result<()> {
    compare("test_socket")
}

#[test]
#[ignore = "takes up to two minutes"]
fn systems_are_asked_for_much() -> Result<()> {
    compare("test_os")
}

#[test]
#[ignore = "takes up to two minutes"]
fn systems_are_asked_for_what_posix_names() -> Result<()> {
    compare("test_posix")
}

#[test]
#[ignore = "takes up to two minutes"]
fn temporary_files_come_and_go() -> Result<()> {
    compare("test_tempfile")
}

#[test]
#[ignore = "takes up to two minutes"]
fn terminals_have_two_ends() -> Result<()> {
    compare("test_pty")
}

#[test]
#[ignore = "takes up to two minutes"]
fn threads_start_wait_and_end() -> Result<()> {
    compare("test_threading")
}

#[test]
#[ignore = "takes up to two minutes"]
fn time_passes() -> Result<()> {
    compare("test_time")
}

#[test]
#[ignore = "takes up to two minutes"]
fn trees_are_copied_and_removed() -> Result<()> {
    compare("test_shutil")
}
