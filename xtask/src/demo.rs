//! The first thing that a newcomer runs: an image becomes a machine, step by step, with what each step cost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};
use isopod_e2e::image::{self, Image};
use isopod_e2e::packages;
use isopod_e2e::registry::Registry;

use crate::{process, setup, workspace};

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image or another source that isopod knows; a local one is made if none is given
    image: Option<String>,
    /// The command in place of the image's own
    #[arg(trailing_var_arg = true)]
    command: Vec<String>,
}

/// What the image that the demo makes runs.
const SCRIPT: &str = r#"import os, platform, sys, threading, time

def field(path, key):
    with open(path) as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(key))

print("Hello from a virtual machine of its own.")
print("  Python    ", platform.python_version(), "as process", os.getpid())
print("  system    ", platform.system(), platform.machine())
print("  memory    ", field("/proc/meminfo", "MemTotal"))
print("  uptime    ", f"{time.monotonic():.3f} s")
print("  arguments ", sys.argv[1:])
words = []
threads = [threading.Thread(target=words.append, args=(word,)) for word in ("threads", "work", "too")]
for thread in threads:
    thread.start()
    thread.join()
print("  threads   ", " ".join(words))
"#;

/// Makes or takes an image, builds it, and runs it twice.
pub fn run(arguments: &Arguments) -> Result<()> {
    setup::ensure()?;
    step("Build the program isopod, and the guest kernel in it", || {
        process::run(workspace::cargo().args(["build", "--release", "--quiet", "--package", "isopod"]))
    })?;
    let home = tempfile::tempdir()?;
    if let Some(image) = &arguments.image {
        return show(image, &arguments.command, home.path());
    }
    let (registry, reference) =
        step("Make an image of Debian packages, and push it to a registry on this machine", || {
            let image = demo_image()?.cached()?;
            let registry = Registry::start()?;
            let reference = registry.push(&image, "demo:latest")?;
            Ok((registry, reference))
        })?;
    show(&reference, &["one".to_owned(), "two".to_owned()], home.path())?;
    drop(registry);
    Ok(())
}

fn demo_image() -> Result<Image> {
    let image = image::debian(&packages::PYTHON)?.files(&[("hello.py", SCRIPT.as_bytes())]);
    Ok(image.entrypoint(&["/usr/bin/python3.11", "/hello.py"]))
}

/// Builds a linked file and boots the image from the cache, as a user would type it.
fn show(image: &str, command: &[String], home: &Path) -> Result<()> {
    let file = home.join("app.elf");
    let words = [
        &["build".to_owned(), "-o".to_owned(), file.display().to_string(), image.to_owned()][..],
        &["--".to_owned()],
        command,
    ]
    .concat();
    step("Pull it, merge its layers into one root, join that with the kernel", || {
        let status = isopod(&words, home).status()?;
        if !status.success() {
            bail!("isopod build failed: {status}");
        }
        Ok(())
    })?;
    println!("    app.elf  {:.1} MiB, boots on any hypervisor that knows PVH", mebibytes(&file)?);
    let [root, manifest] = [".isopod.root", ".isopod.manifest"].map(|part| workspace::section(&file, part));
    let kernel = file.metadata()?.len() - root? - manifest?;
    println!("    kernel   {:.2} MiB of it", kernel as f64 / f64::from(1 << 20));
    let words = [&["run".to_owned(), image.to_owned()], command].concat();
    boot("Boot it", &words, home)?;
    boot("Boot it again, nothing left to be pulled or built", &words, home)
}

/// Boots a machine; a program that fails in it is an error, as `isopod run` ends with its status.
fn boot(name: &str, words: &[String], home: &Path) -> Result<()> {
    let status = step(name, || Ok(isopod(words, home).status()?))?;
    println!("    {status}");
    if !status.success() {
        bail!("isopod {} ended with {status}", words.join(" "));
    }
    Ok(())
}

/// `isopod` with these words, which are shown.
fn isopod(words: &[String], home: &Path) -> Command {
    println!("    $ isopod {}", words.join(" "));
    let mut command = Command::new(workspace::target().join("release/isopod"));
    command.args(words).env("ISOPOD_HOME", home).stdin(Stdio::null());
    command
}

fn mebibytes(file: &Path) -> Result<f64> {
    Ok(std::fs::metadata(file)?.len() as f64 / f64::from(1 << 20))
}

/// Does something, and says what it is and how long it took.
fn step<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n==> {name}");
    let start = Instant::now();
    let result = action()?;
    println!("    {:.2} s", start.elapsed().as_secs_f64());
    Ok(result)
}
