//! Languages that bring threads, a scheduler, a collector and a compiler of their own: what their programs print in a guest they print on
//! Linux.

use anyhow::Result;
use isopod_e2e::image::{self, Layer};
use isopod_e2e::{cache, linux};

/// Runs a shell's line in an image of these packages and of files of `tests/e2e/programs`, on Linux and in a guest of two processors. Both
/// end with this status.
fn compare(packages: &[&str], files: &[&str], memory: &str, line: &str, status: i32) -> Result<()> {
    let programs = cache::workspace().join("tests/e2e/programs");
    let mut layer = Layer::new();
    for file in files {
        layer.file(&format!("src/{file}"), 0o644, &std::fs::read(programs.join(file))?);
    }
    let image = image::complete(packages)?.layer(layer.finish()).cached()?;
    let options = ["--cpus", "2", "-m", memory];
    linux::compare(&image, &options, &["/bin/sh", "-ec", line])?.expect_status(status);
    Ok(())
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn node_has_workers_and_children() -> Result<()> {
    compare(&["nodejs"], &["scripts/node.js"], "512M", "exec node /src/scripts/node.js", 3)
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn java_compiles_and_has_threads_and_a_collector() -> Result<()> {
    let line = "PATH=$PATH:/usr/lib/jvm/java-17-openjdk-amd64/bin
        javac -d /tmp /src/scripts/Threads.java
        exec java -XX:+UseG1GC -Xmx192m -cp /tmp Threads";
    compare(&["openjdk-17-jdk-headless"], &["scripts/Threads.java"], "1G", line, 6)
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn go_builds_and_has_goroutines_signals_and_children() -> Result<()> {
    let files = ["go.mod", "main.go", "sieve/sieve.go", "sieve/sieve_test.go"]
        .map(|file| format!("goroutines/{file}"));
    let line = "cd /src/goroutines
        export CGO_ENABLED=0 GOFLAGS=-mod=mod
        go version
        go build -o /tmp/goroutines .
        go vet ./...
        go test ./... > /tmp/log || cat /tmp/log
        exec /tmp/goroutines";
    compare(&["golang-go"], &files.each_ref().map(String::as_str), "1G", line, 4)
}
