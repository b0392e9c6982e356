//! What a user is told: help, and each bad input that needs no guest. The texts are snapshots (`cargo insta review` changes them).

use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use tempfile::TempDir;

/// What `isopod` prints and its exit status, in a fresh home that messages call `HOME`.
fn isopod(args: &[&str]) -> String {
    isopod_in(&tempfile::tempdir().unwrap(), args)
}

fn isopod_in(home: &TempDir, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isopod"));
    command.args(args).current_dir(home.path());
    command.env("ISOPOD_HOME", home.path().join("store"));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap().replace(&*home.path().to_string_lossy(), "HOME");
    format!("{text}\nstatus {}", output.status.code().unwrap())
}

#[test]
fn help() {
    assert_snapshot!("help", isopod(&["--help"]));
    assert_snapshot!("help_run", isopod(&["run", "--help"]));
    assert_snapshot!("help_build", isopod(&["build", "--help"]));
}

#[test]
fn arguments() {
    assert_snapshot!("no_source", isopod(&["run"]));
    assert_snapshot!("unknown_option", isopod(&["run", "--detached", "x"]));
    assert_snapshot!("too_little_memory", isopod(&["run", "-m", "512", "x"]));
    assert_snapshot!("no_size", isopod(&["run", "-m", "much", "x"]));
    assert_snapshot!("no_reference", isopod(&["run", "Not/A:Reference:"]));
    assert_snapshot!("no_file", isopod(&["run", "./nothing"]));
    assert_snapshot!("no_terminal", isopod(&["run", "-t", "elf:/bin/true"]));
    assert_snapshot!("no_env_file", isopod(&["run", "--env-file", "nothing", "elf:/bin/true"]));
    assert_snapshot!("no_signal", isopod(&["run", "--stop-signal", "SIGFOO", "elf:/bin/true"]));
    assert_snapshot!("no_user", isopod(&["run", "-u", "alice", "elf:/bin/true"]));
    assert_snapshot!("relative_directory", isopod(&["run", "-w", "src", "elf:/bin/true"]));
}

#[test]
fn networks() {
    assert_snapshot!("port_zero", isopod(&["run", "-p", "0:80", "x"]));
    assert_snapshot!("port_too_large", isopod(&["run", "-p", "8080:65536", "x"]));
    assert_snapshot!("port_nowhere", isopod(&["run", "-p", "[::1:8080:80", "x"]));
    assert_snapshot!("no_such_network", isopod(&["run", "--network", "host", "x"]));
    let run = |options: &[&str]| isopod(&[&["run"], options, &["elf:/bin/true"]].concat());
    assert_snapshot!("port_of_another_host", run(&["-p", "192.0.2.1:8080:80"]));
    assert_snapshot!("port_without_network", run(&["--network", "none", "-p", "8080:80"]));
    assert_snapshot!("port_twice", run(&["-p", "8000-8010:8000-8010", "-p", "127.0.0.1:8010:80"]));
    assert_snapshot!("no_tap", run(&["--network", "tap=isopod-none"]));
    assert_snapshot!("no_bridge", run(&["--network", "bridge=isopod-none"]));
    assert_snapshot!("none_and_more", run(&["--network", "none", "--network", "user"]));
    assert_snapshot!("address_of_nobody", run(&["--ip", "10.0.2.2"]));
    assert_snapshot!("no_prefix", run(&["--network", "tap=isopod-none", "--ip", "10.1.0.2"]));
    assert_snapshot!("no_host_gateway", run(&["--network", "none", "--add-host", "me:host-gateway"]));
}

#[test]
fn outputs() {
    assert_snapshot!("output_directory_missing", isopod(&["build", "-o", "no/such/file", "elf:/bin/true"]));
    assert_snapshot!("output_is_a_directory", isopod(&["build", "-o", ".", "elf:/bin/true"]));
    let build = |options: &[&str]| isopod(&[&["build", "-o", "out"], options, &["elf:/bin/true"]].concat());
    assert_snapshot!("format_unknown", build(&["-f", "vdi"]));
    assert_snapshot!("target_unknown", build(&["--target", "esx"]));
    assert_snapshot!("format_not_taken", build(&["-f", "vhd,raw", "--target", "proxmox"]));
    assert_snapshot!("size_without_disk", build(&["--disk-size", "1g"]));
    assert_snapshot!("root_without_disk", build(&["--root", "disk"]));
    assert_snapshot!("root_on_cd", build(&["-f", "raw,iso", "--root", "disk"]));
    assert_snapshot!("disk_too_small", build(&["-f", "raw", "--disk-size", "2m"]));
    assert_snapshot!("output_where_no_file_can_be", isopod(&["build", "-o", "/proc/x", "elf:/bin/true"]));
    assert_snapshot!("platform_of_a_program", build(&["--platform", "linux/arm64"]));
    assert_snapshot!("output_is_a_device", isopod(&["build", "-o", "/dev/full", "elf:/bin/true"]));
}

/// Writes a file that may be executed.
fn program(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn programs() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let shell = fs::read("/bin/sh").unwrap();
    program(&path("text"), b"just text\n");
    program(&path("cut"), &shell[..100]);
    program(&path("arm"), &[&shell[..18], &[183, 0], &shell[20..]].concat());
    program(&path("root/bin/app"), &shell);
    program(&path("root/bin/script"), b"#!/usr/bin/python9\n");
    program(&path("root/bin/dos"), b"#!/bin/sh\r\n");
    let run = |source: &str, command: &str| {
        isopod_in(&home, &["run", "--print-cmd", source, command].map(|word| word))
    };
    assert_snapshot!("elf_missing", isopod_in(&home, &["run", "elf:nothing"]));
    assert_snapshot!("elf_text", isopod_in(&home, &["run", "elf:text"]));
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    assert_snapshot!("elf_pipe", isopod_in(&home, &["run", "elf:pipe"]));
    assert_snapshot!("elf_directory", isopod_in(&home, &["run", "elf:root"]));
    assert_snapshot!("archive_pipe", isopod_in(&home, &["run", "oci-archive:pipe"]));
    fs::write(path("lines"), "one:line\nand another\n".repeat(60)).unwrap();
    assert_snapshot!("archive_text", isopod_in(&home, &["run", "oci-archive:lines"]));
    assert_snapshot!("elf_cut", isopod_in(&home, &["run", "elf:cut"]));
    assert_snapshot!("elf_arm", isopod_in(&home, &["run", "elf:arm"]));
    assert_snapshot!("file_not_ours", isopod_in(&home, &["run", "./text"]));
    assert_snapshot!("rootfs_missing", run("rootfs:nothing", "/bin/app"));
    assert_snapshot!("rootfs_no_command", isopod_in(&home, &["run", "rootfs:root"]));
    assert_snapshot!("loader_missing", run("rootfs:root", "/bin/app"));
    assert_snapshot!("interpreter_missing", run("rootfs:root", "/bin/script"));
    assert_snapshot!("interpreter_dos", run("rootfs:root", "/bin/dos"));
    let build = isopod_in(&home, &["build", "-o", "out", "rootfs:root", "--", "missing"]);
    assert_snapshot!("build_program_missing", build);
    assert!(!path("out").exists());
}

#[test]
fn no_qemu() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_isopod"));
    command.args(["run", "elf:/bin/true"]).env("ISOPOD_HOME", home.path()).env("PATH", home.path());
    let output = command.output().unwrap();
    assert_snapshot!("no_qemu", String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(125));
}
