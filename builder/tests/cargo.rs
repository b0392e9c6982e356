//! `cargo isopod` on small packages of its own, against a QEMU that is not one (`support/fake_qemu.rs`).

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A package with a binary `app` and an example `show`, neither of which does anything: the fake guest does.
fn package(settings: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2024\"\n{settings}\n[workspace]\n"
    );
    for (path, text) in [
        ("Cargo.toml", manifest.as_str()),
        ("src/main.rs", "fn main() {}\n"),
        ("examples/show.rs", "fn main() {}\n"),
        ("conf/one", "1\n"),
    ] {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

/// What `cargo isopod` prints on both streams, and its exit status.
fn cargo_isopod(package: &TempDir, args: &[&str]) -> (i32, String, String) {
    let bin = Path::new(env!("CARGO_BIN_EXE_cargo-isopod"));
    let fake = bin.with_file_name("examples").join("fake-qemu");
    let path = package.path().join("path");
    fs::create_dir_all(&path).unwrap();
    // Cargo finds its subcommands in PATH.
    for (file, name) in [(bin, "cargo-isopod"), (&fake, "qemu-system-x86_64")] {
        let link = path.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(file, link).unwrap();
        }
    }
    let mut search = path.into_os_string();
    search.push(":");
    search.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new(env!("CARGO"));
    command.arg("isopod").args(args).current_dir(package.path());
    command
        .env("PATH", search)
        .env("ISOPOD_HOME", package.path().join("home"))
        .env_remove("CARGO_TARGET_DIR");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn runs_the_program_with_what_its_package_asks_for() {
    let package = package(
        "[package.metadata.isopod]\nargs = [\"manifest\", \"from Cargo.toml\"]\nenv = { A = \"b\" }\n\
         files = { \"/etc/conf\" = \"conf\" }\nmemory = \"48m\"",
    );
    let (status, out, err) = cargo_isopod(&package, &["run", "--accel", "tcg"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.starts_with("[\"from Cargo.toml\"]"), "{out}");
    assert!(out.contains(" A=b "), "{out}");

    let (status, out, err) =
        cargo_isopod(&package, &["run", "--accel", "tcg", "--example", "show", "--", "manifest", "-x"]);
    assert_eq!((status, out.starts_with("[\"-x\"]")), (0, true), "{out}{err}");

    let (_, line, _) = cargo_isopod(&package, &["run", "--accel", "tcg", "--print-cmd"]);
    assert!(line.contains(" -m 48M "), "{line}");
    let (_, line, _) = cargo_isopod(&package, &["run", "--accel", "tcg", "--print-cmd", "-m", "1g"]);
    assert!(line.contains(" -m 1024M "), "{line}");
}

#[test]
fn says_what_there_is_to_choose_from() {
    let package = package("");
    let message = |args: &[&str]| {
        let (status, _, err) = cargo_isopod(&package, args);
        assert_eq!(status, 125, "{err}");
        err
    };
    let text = message(&["run", "-p", "other"]);
    assert_eq!(text, "isopod: the workspace has no package `other`\nhint: it has app\n");
    let text = message(&["run", "--bin", "other"]);
    assert_eq!(text, "isopod: the package app has no bin `other`\nhint: it has app\n");
    fs::create_dir(package.path().join("src/bin")).unwrap();
    fs::write(package.path().join("src/bin/second.rs"), "fn main() {}\n").unwrap();
    let text = message(&["run"]);
    assert!(text.starts_with("isopod: which program of the package app is meant?"), "{text}");
    assert!(text.contains("--bin: app, second"), "{text}");
    fs::write(package.path().join("src/main.rs"), "fn main() { nothing() }\n").unwrap();
    let text = message(&["run", "--bin", "app"]);
    assert!(text.contains("cannot find function `nothing`"), "{text}");
    assert!(
        text.ends_with("isopod: the program does not build\nhint: see cargo's messages above\n"),
        "{text}"
    );
}

#[test]
fn settings_that_are_not_valid_are_named() {
    let package = package("[package.metadata.isopod]\nmemory = \"much\"");
    let (status, _, err) = cargo_isopod(&package, &["build"]);
    assert_eq!(status, 125);
    assert!(err.contains("[package.metadata.isopod]") && err.contains("a size is a number"), "{err}");
}
