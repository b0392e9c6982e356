//! A network with nothing but the machine itself, as a container without one has it.

use std::fs;

use libc::{AF_INET, CLONE_NEWNET, IFF_UP, SIOCSIFFLAGS, SOCK_DGRAM};

/// What a container's network is set to where a new one of Linux is not.
const SETTINGS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];

/// Leaves the network of who started this program, where it can be left: a guest has one only.
pub fn isolate() {
    if sys!(SYS_unshare, CLONE_NEWNET).is_err() {
        return;
    }
    for (path, value) in SETTINGS {
        fs::write(path, value).expect("a network of one's own can be set");
    }
    let fd = sys!(SYS_socket, AF_INET, SOCK_DGRAM, 0).expect("a socket");
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&(IFF_UP as u16).to_ne_bytes());
    sys!(SYS_ioctl, fd, SIOCSIFFLAGS, &request).expect("the loopback interface comes up");
    sys!(SYS_close, fd).expect("it is open");
}
