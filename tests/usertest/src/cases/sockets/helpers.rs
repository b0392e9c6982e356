//! Short forms of what most cases do.

use libc::*;

use crate::sys::{Errno, zeroed};

/// An address and its length.
#[derive(Clone, Copy)]
pub struct Name(pub sockaddr_un, pub usize);

/// The address of a path, its NUL included, or of an abstract name, which begins with one.
pub fn name(text: &str) -> Name {
    let mut address = zeroed::<sockaddr_un>();
    address.sun_family = AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(text.bytes()) {
        *to = from.cast_signed();
    }
    let abstract_name = text.starts_with('\0');
    Name(address, 2 + text.len() + usize::from(!abstract_name))
}

/// A new socket.
pub fn socket(kind: i32) -> i32 {
    sys!(SYS_socket, AF_UNIX, kind, 0).expect("a socket") as i32
}

/// Two sockets that are connected.
pub fn pair(kind: i32) -> [i32; 2] {
    let mut ends = [0i32; 2];
    sys!(SYS_socketpair, AF_UNIX, kind, 0, &mut ends).expect("a pair");
    ends
}

/// Closes both.
pub fn close_all(fds: [i32; 2]) {
    fds.into_iter().for_each(crate::cases::helpers::close);
}

pub fn bind(fd: i32, to: &str) -> Result<usize, Errno> {
    let Name(address, length) = name(to);
    sys!(SYS_bind, fd, &address, length)
}

pub fn connect(fd: i32, to: &str) -> Result<usize, Errno> {
    let Name(address, length) = name(to);
    sys!(SYS_connect, fd, &address, length)
}

/// A socket that listens at a name.
pub fn listener(kind: i32, at: &str, backlog: i32) -> i32 {
    let fd = socket(kind);
    bind(fd, at).expect("a name");
    sys!(SYS_listen, fd, backlog).expect("it listens");
    fd
}

pub fn accept(fd: i32) -> Result<usize, Errno> {
    sys!(SYS_accept4, fd, 0, 0, 0)
}

pub fn send(fd: i32, bytes: &[u8], flags: i32) -> Result<usize, Errno> {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

pub fn send_to(fd: i32, bytes: &[u8], to: &str) -> Result<usize, Errno> {
    let Name(address, length) = name(to);
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), MSG_DONTWAIT, &address, length)
}

/// Receives at most `room` bytes: what they say, or the error.
pub fn receive(fd: i32, room: usize, flags: i32) -> String {
    let mut buffer = vec![0u8; room.max(1)];
    match sys!(SYS_recvfrom, fd, buffer.as_mut_ptr(), room, flags, 0, 0) {
        Ok(length) => format!("{length} {:?}", String::from_utf8_lossy(&buffer[..length.min(room)])),
        Err(errno) => errno.to_string(),
    }
}

/// A name as a call filled it in: its length, and what is in it.
pub fn shown(address: &sockaddr_un, length: i32) -> String {
    let path = &address.sun_path[..(length.max(2) as usize - 2).min(108)];
    let text: Vec<u8> = path.iter().map(|byte| byte.cast_unsigned()).collect();
    format!("{length} {} {:?}", address.sun_family, String::from_utf8_lossy(&text))
}

/// What getsockname or getpeername says.
pub fn name_of(call: i64, fd: i32) -> String {
    let mut address = zeroed::<sockaddr_un>();
    let mut length = size_of::<sockaddr_un>() as i32;
    match crate::sys::call(
        call,
        crate::sys::pad(&[fd as usize, &raw mut address as usize, &raw mut length as usize]),
    ) {
        Ok(_) => shown(&address, length),
        Err(errno) => errno.to_string(),
    }
}

/// The events of poll(2) at once.
pub fn events(fd: i32) -> String {
    let mut poll = pollfd { fd, events: -1, revents: 0 };
    match sys!(SYS_poll, &raw mut poll, 1, 0) {
        Ok(_) => format!("{:#x}", poll.revents),
        Err(errno) => errno.to_string(),
    }
}

/// An option that is a number.
pub fn option(fd: i32, option: i32) -> String {
    let (mut value, mut length) = (0i32, 4u32);
    match sys!(SYS_getsockopt, fd, SOL_SOCKET, option, &mut value, &mut length) {
        Ok(_) => format!("{value} ({length})"),
        Err(errno) => errno.to_string(),
    }
}

pub fn set_option(fd: i32, option: i32, value: i32) -> Result<usize, Errno> {
    sys!(SYS_setsockopt, fd, SOL_SOCKET, option, &value, 4)
}

pub fn nonblocking(fd: i32) {
    sys!(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK).expect("flags");
}

/// A message's parts in one place, for calls that take a `msghdr`.
pub struct Parts {
    pub bytes: Vec<u8>,
    pub control: Vec<u8>,
    pub vector: Box<iovec>,
    pub header: msghdr,
}

/// A message with room for so many bytes, and for so much ancillary data.
pub fn parts(bytes: &[u8], control: &[u8]) -> Parts {
    let mut parts = Parts {
        bytes: bytes.to_vec(),
        control: control.to_vec(),
        vector: Box::new(zeroed::<iovec>()),
        header: zeroed::<msghdr>(),
    };
    parts.vector.iov_base = parts.bytes.as_mut_ptr().cast();
    parts.vector.iov_len = parts.bytes.len();
    parts.header.msg_iov = &raw mut *parts.vector;
    parts.header.msg_iovlen = 1;
    if !control.is_empty() {
        parts.header.msg_control = parts.control.as_mut_ptr().cast();
        parts.header.msg_controllen = parts.control.len();
    }
    parts
}

pub fn send_message(fd: i32, bytes: &[u8], control: &[u8], flags: i32) -> Result<usize, Errno> {
    let parts = parts(bytes, control);
    sys!(SYS_sendmsg, fd, &raw const parts.header, flags)
}

/// A part of ancillary data.
pub fn control(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_le_bytes().to_vec();
    bytes.extend(level.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// `SCM_RIGHTS` with these descriptors.
pub fn rights(fds: &[i32]) -> Vec<u8> {
    let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_le_bytes()).collect();
    control(SOL_SOCKET, SCM_RIGHTS, &data)
}

/// `SCM_CREDENTIALS`
pub fn credentials(pid: i32, uid: u32, gid: u32) -> Vec<u8> {
    let data = [pid.to_le_bytes(), uid.to_le_bytes(), gid.to_le_bytes()].concat();
    control(SOL_SOCKET, SCM_CREDENTIALS, &data)
}

/// What came: the bytes' number and text, the flags, and each part of ancillary data, descriptors closed again.
pub fn receive_message(fd: i32, room: usize, control_room: usize, flags: i32) -> String {
    let mut parts = parts(&vec![0; room], &vec![0; control_room]);
    let length = match sys!(SYS_recvmsg, fd, &raw mut parts.header, flags) {
        Ok(length) => length,
        Err(errno) => return errno.to_string(),
    };
    let text = String::from_utf8_lossy(&parts.bytes[..length.min(room)]).into_owned();
    let used = parts.header.msg_controllen;
    let head = format!("{length} {text:?} flags {:#x} control {used}", parts.header.msg_flags);
    let word = |at: usize| {
        parts.control.get(at..at + 4).map_or(-1, |bytes| i32::from_le_bytes(bytes.try_into().unwrap()))
    };
    let (mut at, mut shown) = (0, vec![head]);
    while at + 16 <= used {
        let length = word(at) as usize;
        let (level, kind) = (word(at + 8), word(at + 12));
        let mut words = Vec::new();
        for index in 0..(length - 16) / 4 {
            let value = word(at + 16 + index * 4);
            match kind {
                SCM_RIGHTS => {
                    let closes = sys!(SYS_fcntl, value, F_GETFD).expect("it came");
                    words.push(if closes == 1 { "fd closes".to_owned() } else { "fd".to_owned() });
                    sys!(SYS_close, value).expect("it is open");
                }
                _ if value == std::process::id().cast_signed() => words.push("me".to_owned()),
                _ => words.push(value.to_string()),
            }
        }
        shown.push(format!("[{length} {level} {kind}: {}]", words.join(" ")));
        at += length.next_multiple_of(8);
    }
    shown.join(" ")
}
