//! A real registry on this machine: Debian's `docker-registry`, as a process of our own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::image::Layout;
use crate::{packages, succeed};

/// A registry that lives as long as this value.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    folder: TempDir,
    port: u16,
}

/// The user `isopod` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "isopod:$2y$05$1FECpblZNFilA9qYVQTTWuPD5iE0bmwRwOS.ey/UVj2jffRv2khv6\n";

impl Registry {
    /// Starts a registry that serves everybody.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// Starts a registry that serves the user `isopod` with the password `secret`.
    pub fn start_private() -> Result<Self> {
        Self::start_with("auth: { htpasswd: { realm: test, path: PASSWORDS } }\n")
    }

    fn start_with(more: &str) -> Result<Self> {
        let program = packages::program("docker-registry", "usr/bin/docker-registry")?;
        let folder = tempfile::tempdir()?;
        let passwords = folder.path().join("passwords");
        fs::write(&passwords, HTPASSWD)?;
        // A port that was free a moment ago; another process may take it first, then the next one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let config = format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
                 http: {{ addr: \"127.0.0.1:{port}\" }}\n{}",
                folder.path().join("storage").display(),
                more.replace("PASSWORDS", &passwords.display().to_string()),
            );
            fs::write(folder.path().join("config.yml"), config)?;
            let mut process = Command::new(&program)
                .arg("serve")
                .arg(folder.path().join("config.yml"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if answers(port, &mut process) {
                return Ok(Self { process, folder, port });
            }
            process.kill()?;
            process.wait()?;
        }
        bail!("docker-registry does not answer");
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Copies an image into the registry with `skopeo`, its layers compressed as registries keep them, and returns
    /// the reference under which it can be pulled.
    pub fn push(&self, image: &Layout, name: &str) -> Result<String> {
        let reference = format!("{}/{name}", self.address());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--dest-tls-verify=false", "--dest-compress"]);
        skopeo
            .args(["--dest-creds", "isopod:secret", &image.reference()])
            .arg(format!("docker://{reference}"));
        succeed(&mut skopeo)?;
        Ok(reference)
    }

    /// The file in which the registry keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hash = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hash[..2]).join(hash).join("data")
    }
}

/// Waits until a process listens on a port.
fn answers(port: u16, process: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if !matches!(process.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
