//! What a program can ask about sockets: `sock_diag(7)`, as `ss` does. Programs of `INET_DIAG_REQ_BYTECODE` are not run: who sends one is told of more
//! sockets than it asked for.

use isopod_fs::Errno;
use isopod_net::address::{SocketAddress, is_any, is_v4};

use super::message::{Answer, DONE, DUMP, MULTI, Request, attribute, word};
use crate::fail;
use crate::socket::AF_UNIX;
use crate::socket::inet::table::{self, DATAGRAMS, RAWS, STREAMS};
use crate::socket::inet::{AF_INET, AF_INET6, tcp_options};
use crate::socket::unix::table as unix;

/// `NETLINK_SOCK_DIAG`
pub const SOCK_DIAG: u32 = 4;

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `TCPDIAG_GETSOCK`, `DCCPDIAG_GETSOCK`, `SOCK_DESTROY`
const OTHERS: [u16; 3] = [18, 19, 21];
/// `AF_MAX`
const FAMILIES: u8 = 46;

/// `TCP_ESTABLISHED`
const ESTABLISHED: u8 = 1;

/// Answers a request; how it could not be done. True if it asked for all there is, so that an end is to be told (`sock_diag_rcv_msg`).
pub fn answer(request: &Request<'_>, answer: &mut Answer) -> Result<bool, Errno> {
    match request.kind {
        BY_FAMILY => {}
        kind if OTHERS.contains(&kind) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    let &[family, protocol, _, _, ..] = request.body else { return Err(Errno::EINVAL) };
    match family.into() {
        AF_INET | AF_INET6 => match internet(request, family, protocol, answer) {
            // The end of the list tells of it (`netlink_dump`).
            Err(errno) if request.flags & DUMP == DUMP && errno == Errno::ENOENT => {
                answer.message(DONE, MULTI, &(-i32::from(errno.number())).to_ne_bytes());
                return Ok(false);
            }
            outcome => outcome?,
        },
        AF_UNIX => local(request, answer)?,
        _ if family >= FAMILIES => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENOENT),
    }
    Ok(request.flags & DUMP == DUMP)
}

/// Whether a request is for sockets in this state, by its mask of them.
fn has_state(request: &Request<'_>, state: u8) -> bool {
    word(request.body, 4).is_some_and(|states| states & 1 << state != 0)
}

/// Whether a cookie, whose two words begin at a place of a request, is a socket's, or is none (`sock_diag_check_cookie`). Inodes serve as cookies.
fn check_cookie(request: &Request<'_>, at: usize, inode: u64) -> Result<(), Errno> {
    let given = [word(request.body, at), word(request.body, at + 4)];
    let own = [inode as u32, (inode >> 32) as u32].map(Some);
    if given == own || given == [Some(u32::MAX); 2] { Ok(()) } else { Err(Errno::ESTALE) }
}

/// A socket's ports, addresses, interface and cookie: `struct inet_diag_sockid`.
fn identity(local: &SocketAddress, remote: &SocketAddress, family: u16, inode: u64) -> [u8; 48] {
    let mut id = [0; 48];
    for (at, place) in [local, remote].into_iter().enumerate() {
        let (octets, skipped) = (place.address.octets(), if family == AF_INET { 12 } else { 0 });
        id[at * 2..][..2].copy_from_slice(&place.port.to_be_bytes());
        id[4 + at * 16..][..16 - skipped].copy_from_slice(&octets[skipped..]);
    }
    id[40..].copy_from_slice(&inode.to_ne_bytes());
    id
}

/// Sockets of the Internet (`inet_diag_handler_cmd`).
fn internet(request: &Request<'_>, family: u8, protocol: u8, answer: &mut Answer) -> Result<(), Errno> {
    /// Where `struct inet_diag_req_v2` has what names a socket, and where that has the cookie.
    const ID: usize = 8;
    const COOKIE: usize = ID + 40;
    /// `INET_DIAG_REQ_PROTOCOL`: one that a byte does not hold.
    const PROTOCOL: u16 = 3;
    let wanted = request.body.get(ID..ID + 48).ok_or(Errno::EINVAL)?;
    let long = attribute(&request.body[ID + 48..], PROTOCOL).and_then(|value| word(value, 0));
    let protocol = long.unwrap_or(protocol.into());
    let all = match protocol {
        6 => &STREAMS,
        17 => &DATAGRAMS,
        255 => &RAWS,
        _ => return Err(Errno::ENOENT),
    };
    let mut found = all.shown(family.into()).map_err(fail::errno)?;
    if protocol == 6 {
        let orphans = table::of_nobody(family.into()).map_err(fail::errno)?;
        found.try_reserve(orphans.len()).map_err(|_| Errno::ENOMEM)?;
        found.extend(orphans);
    }
    if request.flags & DUMP == DUMP {
        let port_is =
            |at: usize, port: u16| [[0; 2], port.to_be_bytes()].contains(&[wanted[at], wanted[at + 1]]);
        let fits = |socket: &&table::Shown| {
            has_state(request, socket.state)
                && port_is(0, socket.local.port)
                && port_is(2, socket.remote.port)
        };
        found.iter().filter(fits).for_each(|socket| tell(socket, MULTI, answer));
        return Ok(());
    }
    // The one that a packet of these ports and addresses would reach (`inet_lookup`).
    let places = |socket: &table::Shown| identity(&socket.local, &socket.remote, socket.family, socket.inode);
    let exactly = |socket: &&table::Shown| places(socket)[..36] == wanted[..36];
    let of_all = |socket: &&table::Shown| {
        let (id, any) = (places(socket), is_any(&socket.local.address));
        socket.remote.port == 0 && id[..2] == wanted[..2] && (any || id[4..20] == wanted[4..20])
    };
    let socket = found.iter().find(exactly).or_else(|| found.iter().find(of_all)).ok_or(Errno::ENOENT)?;
    check_cookie(request, COOKIE, socket.inode)?;
    tell(socket, 0, answer);
    Ok(())
}

/// Tells of a socket of the Internet: `struct inet_diag_msg` and attributes (`inet_sk_diag_fill`).
fn tell(socket: &table::Shown, flags: u16, answer: &mut Answer) {
    /// `INET_DIAG_SHUTDOWN`, `INET_DIAG_SKV6ONLY`
    const SHUTDOWN: u16 = 8;
    const ONLY_V6: u16 = 11;
    let listens = socket.state == tcp_options::LISTENS;
    let sending = if listens { socket.room } else { socket.sending };
    let mut fixed = [0; 72];
    fixed[..2].copy_from_slice(&[socket.family as u8, socket.state]);
    fixed[4..52].copy_from_slice(&identity(&socket.local, &socket.remote, socket.family, socket.inode));
    let rest = [socket.receiving as u32, sending as u32, socket.owner, socket.inode as u32];
    for (place, value) in fixed[56..].chunks_exact_mut(4).zip(rest) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    answer.message(BY_FAMILY, flags, &fixed);
    // A connection that no socket has any more has none of these.
    if socket.inode != 0 {
        answer.attribute(SHUTDOWN, &[socket.ended]);
        if socket.family == AF_INET6 && (listens || socket.state == tcp_options::CLOSED) {
            // One with an address has peers of no other (`__inet6_bind`).
            let address = &socket.local.address;
            let only_v6 = socket.only_v6 || !is_any(address) && !is_v4(address);
            answer.attribute(ONLY_V6, &[only_v6.into()]);
        }
    }
}

/// Sockets between processes (`unix_diag_handler_dump`).
fn local(request: &Request<'_>, answer: &mut Answer) -> Result<(), Errno> {
    /// Where `struct unix_diag_req` has an inode, what is to be shown, and a cookie.
    const INODE: usize = 8;
    const SHOW: usize = 12;
    const COOKIE: usize = 16;
    if request.body.len() < 24 {
        return Err(Errno::EINVAL);
    }
    let (inode, show) = (word(request.body, INODE).unwrap_or(0), word(request.body, SHOW).unwrap_or(0));
    let dumps = request.flags & DUMP == DUMP;
    if !dumps && inode == 0 {
        return Err(Errno::EINVAL);
    }
    let mut outcome = if dumps { Ok(()) } else { Err(Errno::ENOENT) };
    unix::for_each(&mut |socket| {
        if dumps && has_state(request, unix_state(socket)) {
            tell_unix(socket, MULTI, show, answer);
        } else if !dumps && socket.inode == u64::from(inode) {
            outcome = check_cookie(request, COOKIE, socket.inode);
            if outcome.is_ok() {
                tell_unix(socket, 0, show, answer);
            }
        }
    })
    .map_err(fail::errno)?;
    outcome
}

fn unix_state(socket: &unix::Shown) -> u8 {
    match socket {
        unix::Shown { listens: true, .. } => tcp_options::LISTENS,
        unix::Shown { connected: true, .. } => ESTABLISHED,
        _ => tcp_options::CLOSED,
    }
}

/// Tells of a socket between processes: `struct unix_diag_msg` and attributes (`sk_diag_fill`).
fn tell_unix(socket: &unix::Shown, flags: u16, show: u32, answer: &mut Answer) {
    /// `UDIAG_SHOW_NAME`, `UDIAG_SHOW_PEER`, `UDIAG_SHOW_RQLEN`
    const SHOW_NAME: u32 = 1;
    const SHOW_PEER: u32 = 4;
    const SHOW_QUEUES: u32 = 0x10;
    /// `UNIX_DIAG_NAME`, `UNIX_DIAG_PEER`, `UNIX_DIAG_RQLEN`, `UNIX_DIAG_SHUTDOWN`
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const QUEUES: u16 = 4;
    const SHUTDOWN: u16 = 6;
    let mut fixed = [0; 16];
    fixed[..3].copy_from_slice(&[AF_UNIX as u8, socket.kind as u8, unix_state(socket)]);
    fixed[4..8].copy_from_slice(&(socket.inode as u32).to_ne_bytes());
    fixed[8..].copy_from_slice(&socket.inode.to_ne_bytes());
    answer.message(BY_FAMILY, flags, &fixed);
    if let Some(name) = socket.name.as_ref().filter(|_| show & SHOW_NAME != 0) {
        answer.attribute(NAME, name.rest());
    }
    if let Some(peer) = socket.peer.filter(|_| show & SHOW_PEER != 0) {
        answer.number(PEER, peer as u32);
    }
    if show & SHOW_QUEUES != 0 {
        let [receiving, sending] =
            [socket.receiving, socket.sending].map(|length| (length as u32).to_ne_bytes());
        answer.attribute(QUEUES, [receiving, sending].as_flattened());
    }
    answer.attribute(SHUTDOWN, &[socket.ended]);
}
