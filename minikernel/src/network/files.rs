//! The files of `/etc` that tell of the network, as container engines write them: hosts(5), hostname(5), resolv.conf(5).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::net::IpAddr;

use isopod_fs::{Bytes, Errno, Error, FileType, Inode, NewNode, NodeKind};
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

/// `/etc`, which is made if the image does not have it. Whoever writes there comes before the first program: nothing has been looked up in it.
pub async fn directory() -> Option<Arc<dyn Inode>> {
    let root = kernel::root();
    let found = retry(|| match root.inode().lookup(b"etc") {
        Err(Error::Errno(Errno::ENOENT)) => root.inode().create(b"etc", &node(NodeKind::Directory, 0o755)),
        outcome => outcome,
    });
    found.await.inspect_err(|errno| log!("network: there is no /etc: {errno}")).ok()
}

/// Writes `hostname` and `hosts`, with the machine's own name at `own`.
pub async fn name(directory: &Arc<dyn Inode>, manifest: &Manifest, own: Option<IpAddr>) {
    let name = &manifest.hostname;
    let mut hosts = String::from(HOSTS);
    for (address, name) in &manifest.network.hosts {
        line(&mut hosts, format_args!("{address}\t{name}"));
    }
    line(&mut hosts, format_args!("{}\t{name}", own.unwrap_or(OWN)));
    write(directory, "hosts", &hosts).await;
    write(directory, "hostname", &format!("{name}\n")).await;
}

/// Makes `resolv.conf`, with these words.
pub async fn make_resolvers(directory: &Arc<dyn Inode>, text: &str) -> Option<Arc<dyn Inode>> {
    write(directory, "resolv.conf", text).await
}

/// The words of resolv.conf(5) for servers and domains.
pub fn resolvers(
    servers: &mut dyn Iterator<Item = IpAddr>,
    search: &mut dyn Iterator<Item = &str>,
) -> String {
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
    text
}

fn line(text: &mut String, words: core::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(words);
    text.push('\n');
}

fn node(kind: NodeKind<'_>, mode: u16) -> NewNode<'_> {
    NewNode { kind, mode, uid: 0, gid: 0 }
}

/// Gives the file of a name new contents. What is there and no file is replaced.
async fn write(directory: &Arc<dyn Inode>, name: &str, text: &str) -> Option<Arc<dyn Inode>> {
    let file = retry(|| {
        let create = || directory.create(name.as_bytes(), &node(NodeKind::Regular, 0o644));
        match directory.lookup(name.as_bytes()) {
            Ok(file) if file.metadata()?.kind == FileType::Regular => Ok(file),
            Ok(_) => directory.unlink(name.as_bytes()).and_then(|()| create()),
            Err(Error::Errno(Errno::ENOENT)) => create(),
            Err(error) => Err(error),
        }
    });
    let file = match file.await {
        Ok(file) => file,
        Err(errno) => {
            log!("network: /etc/{name} cannot be made: {errno}");
            return None;
        }
    };
    fill(&file, text).await;
    Some(file)
}

/// Gives a file new contents.
pub async fn fill(file: &Arc<dyn Inode>, text: &str) {
    let filled = retry(|| {
        file.truncate(0)?;
        file.write_at(0, &mut Bytes::new(text.as_bytes()))
    });
    if let Err(errno) = filled.await {
        log!("network: a file of /etc cannot be written: {errno}");
    }
}
