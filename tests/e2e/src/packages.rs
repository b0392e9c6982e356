//! Debian packages as image layers, without root and without running their scripts.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, succeed};

/// A Python that runs scripts.
pub const PYTHON: [&str; 7] = [
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "zlib1g",
    "libexpat1",
    "libssl3",
];

/// A web server.
pub const NGINX: [&str; 7] =
    ["nginx", "nginx-common", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"];

/// A key-value store.
pub const REDIS: [&str; 21] = [
    "redis-server",
    "redis-tools",
    "libatomic1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "libhiredis0.14",
    "libjemalloc2",
    "liblua5.1-0",
    "liblz4-1",
    "liblzf1",
    "liblzma5",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "lua-bitop",
    "lua-cjson",
    "zlib1g",
];

/// The name server's command line, without anything of the machine that it runs on.
pub const DNSMASQ_ALONE: [&str; 8] = [
    "/usr/sbin/dnsmasq",
    "--keep-in-foreground",
    "--log-facility=-",
    "--user=root",
    "--no-resolv",
    "--no-hosts",
    "--pid-file=",
    "--conf-file=/dev/null",
];

/// A name server.
pub const DNSMASQ: [&str; 23] = [
    "dnsmasq-base",
    "libc6",
    "libcap2",
    "libdbus-1-3",
    "libgcc-s1",
    "libgcrypt20",
    "libgmp10",
    "libgpg-error0",
    "libhogweed6",
    "libidn2-0",
    "libjansson4",
    "liblz4-1",
    "liblzma5",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnettle8",
    "libnfnetlink0",
    "libnftables1",
    "libnftnl11",
    "libsystemd0",
    "libunistring2",
    "libxtables12",
    "libzstd1",
];

/// What looks at a network and changes it.
pub const TOOLS: [&str; 26] = [
    "busybox-static",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "libbpf1",
    "libbsd0",
    "libc6",
    "libcap2",
    "libdbus-1-3",
    "libelf1",
    "libgcrypt20",
    "libgpg-error0",
    "libidn2-0",
    "liblz4-1",
    "liblzma5",
    "libmd0",
    "libmnl0",
    "libpcap0.8",
    "libpcre2-8-0",
    "libselinux1",
    "libssl3",
    "libsystemd0",
    "libunistring2",
    "libzstd1",
    "tcpdump",
    "zlib1g",
];

/// Folders that are links into `/usr` in an installed Debian, though packages still ship files below them.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// The longest list of packages that names a layer's file.
const TITLE_MAX: usize = 200;

/// The keys that Debian signs its lists with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Changes when the same packages are to give another layer, so that those in the cache are made anew.
const FORMAT: u32 = 2;

/// A program of apt's with package lists of its own, so that neither root nor an earlier `apt-get update` is needed, and what is installed
/// here has no part in it.
fn apt(program: &str, state: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-qq", "-o", "APT::Sandbox::User=", "-o", "Dir::State::Status=/dev/null"]);
    for (option, folder) in [("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")] {
        command.arg("-o").arg(format!("{option}={}", state.join(folder).display()));
    }
    command
}

/// Where apt keeps its lists for the tests.
fn state() -> Result<PathBuf> {
    cache::once("apt", |path| {
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(path.join(folder))?;
        }
        succeed(apt("apt-get", path).arg("update")).map(drop)
    })
}

/// These packages and all that they depend on, by name.
pub fn with_dependencies(names: &[&str]) -> Result<Vec<String>> {
    let state = state()?;
    let mut cache = apt("apt-cache", &state);
    cache.args(["depends", "--recurse", "--important"]);
    let listed = String::from_utf8(succeed(cache.args(names))?)?;
    // A name stands at the start of a line; one in angle brackets is virtual, one with an architecture is another machine's.
    let is_name = |line: &&str| line.starts_with(|first: char| first.is_ascii_alphanumeric());
    let mut found: Vec<_> =
        listed.lines().filter(is_name).filter(|line| !line.contains(':')).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The folder with the archives of its authors that a source package is made of, downloaded once.
pub fn source(name: &str) -> Result<PathBuf> {
    cache::once(&format!("sources/{name}"), |folder| {
        // Where this machine installs from the sources are, too.
        let mut known = apt("apt-get", &state()?);
        let format = format!("deb-src [signed-by={KEYS}] $(REPO_URI) $(RELEASE) $(COMPONENT)");
        known.args(["indextargets", "--format", &format, "Created-By: Packages", "Origin: Debian"]);
        let state = tempfile::tempdir()?;
        let list = state.path().join("sources.list");
        fs::write(&list, succeed(&mut known)?)?;
        for made in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.path().join(made))?;
        }
        let apt_get = || {
            let mut command = apt("apt-get", state.path());
            command.args(["-o", "Dir::Etc::SourceParts=/dev/null", "-o"]);
            command.arg(format!("Dir::Etc::SourceList={}", list.display()));
            command
        };
        succeed(apt_get().arg("update"))?;
        fs::create_dir_all(folder)?;
        succeed(apt_get().args(["source", "--tar-only", "--download-only", name]).current_dir(folder))
            .map(drop)
    })
}

/// The package's file, downloaded once.
fn download(name: &str) -> Result<PathBuf> {
    let state = state()?;
    cache::once(&format!("packages/{name}.deb"), |path| {
        let folder = tempfile::tempdir()?;
        let fetch = || succeed(apt("apt-get", &state).args(["download", name]).current_dir(folder.path()));
        // Mirrors drop versions that lists of some days ago still name.
        fetch().or_else(|_| succeed(apt("apt-get", &state).arg("update")).and_then(|_| fetch()))?;
        let file = fs::read_dir(folder.path())?.next().context("apt-get left no file")??;
        fs::copy(file.path(), path)?;
        Ok(())
    })
}

/// The uncompressed layer that installing these packages (and nothing that they depend on) would add to an image.
pub fn layer(names: &[impl AsRef<str>]) -> Result<PathBuf> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let mut title = names.join("+");
    if title.len() > TITLE_MAX {
        title = format!("{}-and-{}-more-{}", names[0], names.len() - 1, cache::key(&names));
    }
    cache::once(&format!("layers/{FORMAT}/{title}.tar"), |path| {
        let mut layer = tar::Builder::new(File::create(path)?);
        // A folder that no archive names gets the time of its unpacking from some tools.
        let mut header = folder_header();
        layer.append_data(&mut header, "usr", &b""[..])?;
        for folder in MERGED {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            layer.append_link(&mut header, folder, format!("usr/{folder}"))?;
            let mut header = folder_header();
            layer.append_data(&mut header, format!("usr/{folder}"), &b""[..])?;
        }
        for name in &names {
            let package = download(name)?;
            let files = succeed(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&package))?;
            append(&mut layer, &files).with_context(|| format!("cannot read package {name}"))?;
        }
        layer.finish()?;
        Ok(())
    })
}

fn folder_header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    header
}

/// Copies a package's files, those of merged folders to where they belong.
fn append(layer: &mut tar::Builder<impl Write>, files: &[u8]) -> Result<()> {
    let mut archive = tar::Archive::new(files);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path()?).to_owned();
        // The root itself, and folders for which there is a link already.
        if path.as_os_str().is_empty() || MERGED.iter().any(|folder| path == Path::new(folder)) {
            continue;
        }
        let path = merged(&path);
        let mut header = entry.header().clone();
        if let Some(link) = entry.link_name()? {
            let link = if header.entry_type().is_hard_link() { merged(&link) } else { link.into_owned() };
            layer.append_link(&mut header, path, link)?;
        } else {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            layer.append_data(&mut header, path, content.as_slice())?;
        }
    }
    Ok(())
}

/// The path without a leading `./`.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

/// The path, below `usr` where its folder is merged.
fn merged(path: &Path) -> PathBuf {
    let path = plain(path);
    if MERGED.iter().any(|folder| path.starts_with(folder)) {
        Path::new("usr").join(path)
    } else {
        path.to_owned()
    }
}

/// A program of a package, unpacked to run here.
pub fn program(package: &str, path: &str) -> Result<PathBuf> {
    let folder = cache::once(&format!("unpacked/{package}"), |folder| {
        succeed(Command::new("dpkg-deb").arg("-x").arg(download(package)?).arg(folder)).map(drop)
    })?;
    Ok(folder.join(path))
}
