//! The files of `/etc` that tell of the network, as container engines write them: hosts(5), hostname(5), resolv.conf(5).

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::net::IpAddr;

use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_fs::vfs::{OpenHow, Process, View};
use isopod_fs::{Bytes, Credentials, Errno, Error, Result};
use isopod_hal::log;
use isopod_linux::kernel;
use isopod_linux::wait::retry;
use isopod_manifest::Manifest;

/// Where a machine without an address of its own finds itself (hosts(5) of Debian).
const OWN: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(127, 0, 1, 1));

/// Names that every machine has.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Writes `/etc/hostname` and `/etc/hosts`, with the machine's own name at `own`.
pub async fn name(manifest: &Manifest, own: Option<IpAddr>) {
    let name = &manifest.hostname;
    let mut hosts = String::from(HOSTS);
    for (address, name) in &manifest.network.hosts {
        line(&mut hosts, format_args!("{address}\t{name}"));
    }
    line(&mut hosts, format_args!("{}\t{name}", own.unwrap_or(OWN)));
    let mut hostname = String::new();
    line(&mut hostname, format_args!("{name}"));
    write("/etc/hosts", &hosts).await;
    write("/etc/hostname", &hostname).await;
}

/// Writes `/etc/resolv.conf`.
pub async fn resolvers(
    servers: impl Iterator<Item = IpAddr>,
    search: impl Iterator<Item = &str>,
) -> Option<Arc<OpenFile>> {
    let mut text = String::new();
    for server in servers {
        line(&mut text, format_args!("nameserver {server}"));
    }
    let mut begins = "search";
    for domain in search {
        text.push_str(core::mem::take(&mut begins));
        text.push(' ');
        text.push_str(domain);
    }
    if begins.is_empty() {
        text.push('\n');
    }
    write("/etc/resolv.conf", &text).await
}

fn line(text: &mut String, words: core::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(words);
    text.push('\n');
}

/// Gives a file new contents; one that is missing is made.
async fn write(name: &str, text: &str) -> Option<Arc<OpenFile>> {
    let written = retry(|| try_write(name.as_bytes(), text.as_bytes())).await;
    written.inspect_err(|errno| log!("network: {name} cannot be written: {errno}")).ok()
}

fn try_write(name: &[u8], text: &[u8]) -> Result<Arc<OpenFile>> {
    let (namespace, credentials) = (kernel::namespace(), Credentials::root());
    let root = namespace.root();
    let view = View {
        namespace,
        credentials: &credentials,
        root: &root,
        directory: &root,
        umask: 0,
        process: Process::default(),
    };
    let how = OpenHow::new(OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC, 0o644);
    let file = match view.open(&root, name, &how) {
        Err(Error::Errno(Errno::ENOENT)) => {
            // There is no directory, or a link that leads nowhere.
            match view.unlink(&root, name) {
                Err(Error::Errno(Errno::ENOENT)) => view.mkdir(&root, b"/etc", 0o755)?,
                outcome => outcome?,
            }
            view.open(&root, name, &how)?
        }
        outcome => outcome?,
    };
    file.write(&credentials, &mut Bytes::new(text))?;
    Ok(file)
}
