//! Room for clients that come at once.
//!
//! QEMU listens on published ports with room for one connection (`tcpx_listen` in libslirp), and takes in one each time that it looks. The
//! next client's handshake is dropped, and tried again after a second. `listen(2)` may be called again on a socket, with more room, and by
//! anyone who has it: a parent may take descriptors of its child (`pidfd_getfd(2)`).

use std::fs;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{getsockname, listen};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// As much room as Linux gives by default (`net.core.somaxconn`).
pub(super) const ROOM: i32 = 4096;

/// How long to wait between two looks whether QEMU listens, and how often to look.
const PAUSE: Duration = Duration::from_millis(10);
const LOOKS: u32 = 1000;

/// Has QEMU's sockets on these addresses take in more, as soon as it listens. Where that is not allowed they stay as they are.
pub fn lengthen(qemu: Pid, mut hosts: Vec<SocketAddrV4>) {
    if hosts.is_empty() {
        return;
    }
    let Ok(process) = pidfd_open(qemu, PidfdFlags::empty()) else { return };
    // Without a thread for it clients wait longer, which is all.
    let _ = thread::Builder::new().spawn(move || {
        for _ in 0..LOOKS {
            thread::sleep(PAUSE);
            let Ok(listening) = sockets(qemu, &process) else { return };
            for (socket, host) in listening {
                if hosts.contains(&host) && listen(&socket, ROOM).is_ok() {
                    hosts.retain(|other| *other != host);
                }
            }
            if hosts.is_empty() {
                return;
            }
        }
    });
}

/// The sockets on which a process waits for connections over IPv4.
fn sockets(process: Pid, handle: &OwnedFd) -> std::io::Result<Vec<(OwnedFd, SocketAddrV4)>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()))? {
        let entry = entry?;
        // Descriptors that were closed since are none to look at.
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
        let Some(number) =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket)
        else {
            continue;
        };
        let Ok(socket) = pidfd_getfd(handle, number, PidfdGetfdFlags::empty()) else { continue };
        let host = getsockname(&socket).ok().and_then(|address| SocketAddrV4::try_from(address).ok());
        if let Some(host) = host.filter(|_| socket_acceptconn(&socket).unwrap_or(false)) {
            sockets.push((socket, host));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::time::Instant;

    use rustix::net::{AddressFamily, SocketType, bind, socket};

    #[test]
    fn a_socket_takes_in_more_once_it_is_found() {
        let server = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&server, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        listen(&server, 1).unwrap();
        let host = SocketAddrV4::try_from(getsockname(&server).unwrap()).unwrap();
        lengthen(rustix::process::getpid(), vec![host]);
        // Nobody accepts. With the room that there was the third would wait.
        let mut clients = Vec::new();
        let start = Instant::now();
        while clients.len() < 10 {
            assert!(start.elapsed() < Duration::from_mins(1), "{} clients have found room", clients.len());
            match TcpStream::connect_timeout(&SocketAddr::V4(host), PAUSE) {
                Ok(client) => clients.push(client),
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
    }
}
