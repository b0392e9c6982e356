//! Short forms of what most cases do.

use std::fmt::Write;
use std::net::SocketAddr;

use libc::*;

use crate::sys::Errno;

/// Ports from here on are given by the kernel.
const AUTOMATIC: u16 = 32_768;

/// An address as the kernel takes it.
#[derive(Clone)]
pub struct Name(pub Vec<u8>);

/// The address of a text such as `127.0.0.1:80` or `[::1]:80`.
pub fn name(text: &str) -> Name {
    let address: SocketAddr = text.parse().expect("an address");
    let mut bytes = Vec::new();
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend((AF_INET as u16).to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(16, 0);
        }
        SocketAddr::V6(v6) => {
            bytes.extend((AF_INET6 as u16).to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    Name(bytes)
}

impl Name {
    /// The same with another family.
    pub fn of_family(mut self, family: i32) -> Self {
        self.0[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        self
    }
}

/// An address as the kernel gave it; a port that it chose is `any`.
pub fn shown(bytes: &[u8]) -> String {
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let port = if port >= AUTOMATIC { "any".to_owned() } else { port.to_string() };
    match (family, bytes.len()) {
        (AF_INET, 16) => format!("{}.{}.{}.{}:{port}", bytes[4], bytes[5], bytes[6], bytes[7]),
        (AF_INET6, 28) => {
            let octets: [u8; 16] = bytes[8..24].try_into().expect("sixteen bytes");
            let rest = [&bytes[4..8], &bytes[24..28]].concat();
            format!("[{}]:{port} {rest:?}", std::net::Ipv6Addr::from(octets))
        }
        (family, length) => format!("family {family} length {length}"),
    }
}

pub fn try_socket(family: i32, kind: i32, protocol: i32) -> Result<usize, Errno> {
    sys!(SYS_socket, family, kind, protocol)
}

/// A new socket, which does not wait.
pub fn socket(family: i32, kind: i32) -> i32 {
    try_socket(family, kind | SOCK_NONBLOCK, 0).expect("a socket") as i32
}

/// A new socket for an address.
pub fn socket_for(address: &str, kind: i32) -> i32 {
    socket(if address.starts_with('[') { AF_INET6 } else { AF_INET }, kind)
}

pub fn bind_name(fd: i32, Name(bytes): &Name) -> Result<usize, Errno> {
    sys!(SYS_bind, fd, bytes.as_ptr(), bytes.len())
}

pub fn bind(fd: i32, to: &str) -> Result<usize, Errno> {
    bind_name(fd, &name(to))
}

/// A new socket that is bound to an address.
pub fn bound(kind: i32, to: &str) -> i32 {
    let fd = socket_for(to, kind);
    bind(fd, to).expect("an address");
    fd
}

pub fn connect_name(fd: i32, Name(bytes): &Name) -> Result<usize, Errno> {
    sys!(SYS_connect, fd, bytes.as_ptr(), bytes.len())
}

pub fn connect(fd: i32, to: &str) -> Result<usize, Errno> {
    connect_name(fd, &name(to))
}

/// connect(2) with `AF_UNSPEC`.
pub fn disconnect(fd: i32) -> Result<usize, Errno> {
    connect_name(fd, &Name(vec![0; 16]))
}

pub fn send(fd: i32, bytes: &[u8], flags: i32) -> Result<usize, Errno> {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

pub fn send_to_name(fd: i32, bytes: &[u8], Name(to): &Name) -> Result<usize, Errno> {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), 0, to.as_ptr(), to.len())
}

pub fn send_to(fd: i32, bytes: &[u8], to: &str) -> Result<usize, Errno> {
    send_to_name(fd, bytes, &name(to))
}

/// What came, and from whom.
pub fn receive(fd: i32, room: usize, flags: i32) -> String {
    let mut buffer = vec![0u8; room.max(1)];
    let (mut from, mut length) = ([0u8; 128], 128i32);
    match sys!(SYS_recvfrom, fd, buffer.as_mut_ptr(), room, flags, &mut from, &mut length) {
        Ok(count) if count > 64 => format!("{count} from {}", shown(&from[..length as usize])),
        Ok(count) => {
            let text = String::from_utf8_lossy(&buffer[..count.min(room)]).into_owned();
            let from = if length == 0 { "nobody".to_owned() } else { shown(&from[..length as usize]) };
            format!("{count} {text:?} from {from}")
        }
        Err(errno) => errno.to_string(),
    }
}

/// What getsockname or getpeername says.
pub fn name_of(call: i64, fd: i32) -> String {
    let (mut address, mut length) = ([0u8; 128], 128i32);
    let words = [fd as usize, &raw mut address as usize, &raw mut length as usize];
    match crate::sys::call(call, crate::sys::pad(&words)) {
        Ok(_) => shown(&address[..length as usize]),
        Err(errno) => errno.to_string(),
    }
}

/// The port that a socket has.
pub fn port_of(fd: i32) -> u16 {
    let (mut address, mut length) = ([0u8; 128], 128i32);
    sys!(SYS_getsockname, fd, &mut address, &mut length).expect("a name");
    u16::from_be_bytes([address[2], address[3]])
}

/// An option that is a number.
pub fn option(fd: i32, level: i32, option: i32) -> String {
    let (mut value, mut length) = (0i32, 4u32);
    match sys!(SYS_getsockopt, fd, level, option, &mut value, &mut length) {
        Ok(_) => format!("{value} ({length})"),
        Err(errno) => errno.to_string(),
    }
}

pub fn set_option(fd: i32, level: i32, option: i32, value: i32) -> Result<usize, Errno> {
    sys!(SYS_setsockopt, fd, level, option, &value, 4)
}

/// `SO_ERROR`
pub fn error(fd: i32) -> String {
    let (mut value, mut length) = (0i32, 4u32);
    sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &mut value, &mut length).expect("an error");
    if value == 0 { "none".to_owned() } else { Errno(value).to_string() }
}

/// What recvmsg(2) says: the message, its flags, from whom, and each part of ancillary data as bytes.
pub fn receive_message(fd: i32, room: usize, flags: i32) -> String {
    let mut parts = crate::cases::sockets::helpers::parts(&vec![0; room], &[0; 512]);
    let mut from = [0u8; 128];
    parts.header.msg_name = (&raw mut from).cast();
    parts.header.msg_namelen = 128;
    let length = match sys!(SYS_recvmsg, fd, &raw mut parts.header, flags) {
        Ok(length) => length,
        Err(errno) => return errno.to_string(),
    };
    let text = String::from_utf8_lossy(&parts.bytes[..length.min(room)]).into_owned();
    let from = shown(&from[..parts.header.msg_namelen as usize]);
    let mut shown = format!("{length} {text:?} from {from} flags {:#x}", parts.header.msg_flags);
    let used = parts.header.msg_controllen;
    let word = |at: usize| i32::from_ne_bytes(parts.control[at..at + 4].try_into().expect("four bytes"));
    let mut at = 0;
    while at + 16 <= used {
        let length = word(at) as usize;
        write!(shown, " [{} {}: {:?}]", word(at + 8), word(at + 12), &parts.control[at + 16..at + length])
            .expect("a text grows");
        at += length.next_multiple_of(8);
    }
    shown
}
