//! Ancillary data: cmsg(3), unix(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::file::OpenFile;
use isopod_fs::{Capabilities, Errno};
use zerocopy::{FromBytes, IntoBytes};

use super::credentials::Sender;
use super::inet::{self, is_inet};
use super::options::SOL_SOCKET;
use super::unix::{FILES_MAX, Rights};
use super::{AF_UNIX, Outgoing};
use crate::process::{Resource, Thread, find_process};

/// `SCM_RIGHTS`
pub const RIGHTS: u32 = 1;
/// `SCM_CREDENTIALS`
pub const CREDENTIALS: u32 = 2;
/// `SCM_PIDFD`
pub const PIDFD: u32 = 4;

/// `sizeof(struct cmsghdr)`: a length that includes it, a level, a type.
pub const HEADER: usize = 16;
/// What each part is aligned to.
const ALIGNMENT: usize = 8;

/// The length, level and type of the part at the start of `bytes`.
fn header(bytes: &[u8]) -> Option<(usize, u32, u32)> {
    let (length, rest) = u64::read_from_prefix(bytes).ok()?;
    let (level, rest) = u32::read_from_prefix(rest).ok()?;
    let (kind, _) = u32::read_from_prefix(rest).ok()?;
    Some((usize::try_from(length).unwrap_or(usize::MAX), level, kind))
}

/// Understands what a program sends along with a message on a socket of `family` (`__scm_send`). EINVAL for what makes no sense, EBADF, EPERM and ESRCH
/// for credentials that are not the caller's to give, ETOOMANYREFS.
pub fn understand(
    mut control: &[u8],
    caller: &Thread,
    family: u16,
    message: &mut Outgoing,
) -> Result<(), Errno> {
    let mut files = Vec::new();
    while let Some((length, level, kind)) = header(control) {
        let data = control.get(HEADER..length).ok_or(Errno::EINVAL)?;
        control = control.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
        if level != SOL_SOCKET {
            if is_inet(family) {
                inet::understand(family, (level, kind), data, &mut message.ip)?;
            }
            continue;
        }
        match kind {
            // They are of another family (`__sock_cmsg_send`).
            RIGHTS | CREDENTIALS if is_inet(family) => {}
            RIGHTS if family == AF_UNIX => add_files(&mut files, data, caller)?,
            CREDENTIALS => {
                let sender = Sender::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
                check(sender, caller)?;
                message.sender = Some(sender);
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    if !files.is_empty() {
        let identity = caller.identity();
        let exempt =
            identity.capable(Capabilities::SYS_RESOURCE) || identity.capable(Capabilities::SYS_ADMIN);
        let limit = caller.process().limits.lock().get(Resource::OpenFiles).soft;
        let limit = if exempt { u64::MAX } else { limit };
        message.rights = Rights::new(files, identity.users.real, limit)?;
    }
    Ok(())
}

fn add_files(files: &mut Vec<Arc<OpenFile>>, data: &[u8], caller: &Thread) -> Result<(), Errno> {
    let count = data.len() / size_of::<i32>();
    if files.len() + count > FILES_MAX {
        return Err(Errno::EINVAL);
    }
    files.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    let table = caller.files();
    for number in data.as_chunks().0 {
        files.push(table.get_or_place(i32::from_le_bytes(*number))?);
    }
    Ok(())
}

/// Nobody may claim to be another, unless privileged (`scm_check_creds`).
fn check(sender: Sender, caller: &Thread) -> Result<(), Errno> {
    let identity = caller.identity();
    let own = sender.pid == caller.process().pid;
    if !(own || identity.capable(Capabilities::SYS_ADMIN))
        || !(identity.users.has(sender.uid) || identity.capable(Capabilities::SETUID))
        || !(identity.groups.has(sender.gid) || identity.capable(Capabilities::SETGID))
    {
        return Err(Errno::EPERM);
    }
    if own || find_process(sender.pid).is_some() { Ok(()) } else { Err(Errno::ESRCH) }
}

/// A part of ancillary data.
#[derive(Debug)]
pub struct Part {
    /// Its level.
    pub level: u32,
    /// Its type.
    pub kind: u32,
    /// What it says.
    pub data: Vec<u8>,
}

/// Ancillary data on its way to a program that has room for so much.
#[derive(Debug)]
pub struct ControlOut {
    /// What there is.
    pub bytes: Vec<u8>,
    room: usize,
    /// There was more.
    pub cut: bool,
}

impl ControlOut {
    /// Nothing yet.
    pub fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room, cut: false }
    }

    /// How many bytes of data another part could have.
    pub fn room(&self) -> usize {
        (self.room - self.bytes.len()).saturating_sub(HEADER)
    }

    /// Adds a part at the level of sockets, as much of it as there is room for.
    pub fn put(&mut self, kind: u32, data: &[u8]) {
        self.put_at(SOL_SOCKET, kind, data);
    }

    /// Adds a part, as much of it as there is room for (`put_cmsg`).
    pub fn put_at(&mut self, level: u32, kind: u32, data: &[u8]) {
        let left = self.room - self.bytes.len();
        if left < HEADER {
            self.cut = true;
            return;
        }
        let length = HEADER + data.len();
        self.cut |= left < length;
        let length = length.min(left);
        self.bytes.extend_from_slice((length as u64).as_bytes());
        self.bytes.extend_from_slice(level.as_bytes());
        self.bytes.extend_from_slice(kind.as_bytes());
        self.bytes.extend_from_slice(&data[..length - HEADER]);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT).min(self.room), 0);
    }
}
