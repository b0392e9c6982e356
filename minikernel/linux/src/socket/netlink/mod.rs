//! Sockets that talk to the kernel: netlink(7). Of its families there are those about the network, rtnetlink(7), and about sockets, `sock_diag(7)`.

mod change;
mod diag;
mod lookup;
mod message;
pub mod route;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_fs::file::Ready;
use isopod_fs::{self as fs, Capabilities, Errno, Sink, Source};
use isopod_hal::sync::SpinLock;

use super::options::{OptionValue, number};
use super::{Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket};
use crate::process::{Thread, current};
use message::{ACKNOWLEDGE, Answer, DONE, MULTI, Request};

/// `AF_NETLINK`
pub const AF_NETLINK: u16 = 16;
/// `NETLINK_ROUTE`
const ROUTE: u32 = 0;
/// `NLMSG_MIN_TYPE`: what is below speaks of messages.
const KIND_MIN: u16 = 16;
/// The longest request, and how much may wait to be received.
const ROOM: usize = 212_992;
/// How many groups there are (`RTNLGRP_MAX`).
const GROUPS: i32 = 36;
/// Those who want to hear of changes, as far as they are still there.
static LISTENERS: SpinLock<Vec<Weak<NetlinkSocket>>> = SpinLock::new(Vec::new());
/// `SOL_NETLINK`
const SOL_NETLINK: u32 = 270;
/// `NETLINK_ADD_MEMBERSHIP`
const JOIN: u32 = 1;
/// `NETLINK_DROP_MEMBERSHIP`
const LEAVE: u32 = 2;

/// A socket of netlink.
#[derive(Debug)]
pub struct NetlinkSocket {
    common: Common,
    state: SpinLock<State>,
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct State {
    /// Its address; 0 before it has one.
    port: u32,
    /// What it wants to hear of.
    groups: u32,
    answers: VecDeque<Vec<u8>>,
    /// How many bytes they are.
    waiting: usize,
    error: Option<Errno>,
}

/// A new socket. ESOCKTNOSUPPORT, EPROTONOSUPPORT
pub fn new(kind: Kind, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    let protocol = protocol.cast_unsigned();
    if !matches!(protocol, ROUTE | diag::SOCK_DIAG) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let common = Common::new(AF_NETLINK, kind, protocol);
    Ok(Arc::new_cyclic(|this| NetlinkSocket { common, state: SpinLock::default(), this: Weak::clone(this) }))
}

/// `struct sockaddr_nl`: its port and its groups.
fn parse(address: &Address) -> Result<(u32, u32), Errno> {
    let rest = address.rest();
    let (Some(port), Some(groups)) = (message::word(rest, 2), message::word(rest, 6)) else {
        return Err(Errno::EINVAL);
    };
    if address.family() == Some(AF_NETLINK) { Ok((port, groups)) } else { Err(Errno::EINVAL) }
}

fn shown(port: u32, groups: u32) -> Address {
    let mut rest = [0; 10];
    rest[2..6].copy_from_slice(&port.to_ne_bytes());
    rest[6..].copy_from_slice(&groups.to_ne_bytes());
    Address::new(AF_NETLINK, &rest)
}

/// A port for one who does not name any: the process's number first, and others that are no process's (`netlink_autobind`).
fn free_port(caller: &Thread) -> u32 {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    static NEXT: AtomicU32 = AtomicU32::new(u32::MAX - 4096);
    let pid = caller.process().pid;
    if FIRST.swap(pid, Ordering::Relaxed) == pid { NEXT.fetch_sub(1, Ordering::Relaxed) } else { pid }
}

impl State {
    /// Adds what waits to be received. Who does not keep up is told so.
    fn put(&mut self, answers: Vec<Vec<u8>>) {
        for answer in answers {
            if self.waiting + answer.len() > ROOM || self.answers.try_reserve(1).is_err() {
                self.error = Some(Errno::ENOBUFS);
                break;
            }
            self.waiting += answer.len();
            self.answers.push_back(answer);
        }
    }
}

/// Tells those who want to hear of a group that something has changed.
fn tell_all(groups: u32, notice: Answer) {
    let Some(notice) = notice.finish() else { return };
    let mut listeners = Vec::new();
    {
        let all = LISTENERS.lock();
        // Without memory nobody hears of it.
        if listeners.try_reserve_exact(all.len()).is_err() {
            return;
        }
        listeners.extend(all.iter().filter_map(Weak::upgrade));
    }
    for listener in listeners {
        let mut state = listener.state.lock();
        if state.groups & groups == 0 {
            continue;
        }
        match copy_of(&notice) {
            Some(copy) => state.put(copy),
            None => state.error = Some(Errno::ENOBUFS),
        }
        drop(state);
        listener.common.changed.wake_all();
    }
}

/// The link of an interface has come or gone, of which nobody's request is the cause.
pub fn link_changed(index: u32) {
    let Some(interface) = super::inet::stack().interface(index) else { return };
    let mut notice = Answer::new(0, 0);
    route::link(&interface, 0, &mut notice);
    tell_all(change::LINKS, notice);
}

/// The same datagrams; `None` without memory for them.
fn copy_of(datagrams: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    all.try_reserve_exact(datagrams.len()).ok()?;
    for datagram in datagrams {
        let mut copy = Vec::new();
        copy.try_reserve_exact(datagram.len()).ok()?;
        copy.extend_from_slice(datagram);
        all.push(copy);
    }
    Some(all)
}

impl NetlinkSocket {
    /// It hears of a group, or does not (`NETLINK_ADD_MEMBERSHIP`, `NETLINK_DROP_MEMBERSHIP`).
    fn change_membership(&self, value: &[u8], joins: bool) -> Result<(), Errno> {
        let group = number(value)?;
        // Nobody tells of those beyond the first.
        if !(1..=GROUPS).contains(&group) {
            return Err(Errno::EINVAL);
        }
        let bit = 1u32.checked_shl(group.cast_unsigned() - 1).unwrap_or(0);
        let mut state = self.state.lock();
        state.groups = if joins { state.groups | bit } else { state.groups & !bit };
        drop(state);
        self.listen_to_all()
    }

    /// It is among those who are told.
    fn listen_to_all(&self) -> Result<(), Errno> {
        let mut listeners = LISTENERS.lock();
        if !listeners.iter().any(|known| known.as_ptr() == self.this.as_ptr()) {
            listeners.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            listeners.push(Weak::clone(&self.this));
        }
        Ok(())
    }

    /// Answers one request: in one message or in several, with an end or with an error.
    fn answer(&self, request: &Request<'_>, privileged: bool) {
        let port = self.state.lock().port;
        let mut answer = Answer::new(request.sequence, port);
        let mut notice = Answer::new(request.sequence, port);
        let about_sockets = self.common.protocol == diag::SOCK_DIAG;
        let outcome = if about_sockets {
            diag::answer(request, &mut answer)
        } else if privileged && change::is_change(request.kind) {
            change::make(request, &mut notice).map(|groups| {
                tell_all(groups, notice);
                false
            })
        } else {
            route::answer(request, privileged, &mut answer)
        };
        let mut answers = match &outcome {
            Ok(_) => answer.finish(),
            Err(_) => Some(Vec::new()),
        };
        let mut last = Answer::new(request.sequence, port);
        match outcome {
            Ok(true) => last.message(DONE, MULTI, &[0; 4]),
            Ok(false) if request.flags & ACKNOWLEDGE == 0 => {}
            outcome => {
                let number = outcome.err().map_or(0, |errno| -i32::from(errno.number()));
                last.error(number, request.whole);
            }
        }
        if let (Some(answers), Some(last)) = (&mut answers, last.finish())
            && answers.try_reserve(last.len()).is_ok()
        {
            answers.extend(last);
        } else {
            answers = None;
        }
        let mut state = self.state.lock();
        match answers {
            Some(answers) => state.put(answers),
            None => state.error = Some(Errno::ENOBUFS),
        }
    }
}

impl Socket for NetlinkSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        let (port, groups) = parse(address)?;
        let mut state = self.state.lock();
        if state.port != 0 && port != 0 && port != state.port {
            return Err(Errno::EINVAL.into());
        }
        if state.port == 0 {
            state.port = if port == 0 { free_port(caller) } else { port };
        }
        state.groups = groups;
        drop(state);
        if groups != 0 {
            self.listen_to_all()?;
        }
        Ok(())
    }

    fn listen(&self, _: &Thread, _: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// To the kernel, which is the only one to talk to.
    fn connect(&self, caller: &Thread, address: &Address, _: bool) -> fs::Result<()> {
        let (port, groups) = parse(address)?;
        if port != 0 || groups != 0 {
            return Err(Errno::EPERM.into());
        }
        let mut state = self.state.lock();
        if state.port == 0 {
            state.port = free_port(caller);
        }
        Ok(())
    }

    fn name(&self) -> Result<Address, Errno> {
        let state = self.state.lock();
        Ok(shown(state.port, state.groups))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        Ok(shown(0, 0))
    }

    fn shut_down(&self, _: Shutdown) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let length = source.remaining();
        if let Some(to) = &message.to {
            let (port, groups) = parse(to)?;
            if groups != 0 {
                return Err(Errno::EPERM.into());
            }
            if port != 0 {
                return Err(Errno::ECONNREFUSED.into());
            }
        }
        if length > ROOM {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length)?;
        bytes.resize(length, 0);
        if source.take(&mut bytes) < length {
            return Ok(0);
        }
        let caller = current().ok_or(Errno::ECONNREFUSED)?;
        {
            let mut state = self.state.lock();
            if state.port == 0 {
                state.port = free_port(&caller);
            }
        }
        let privileged = caller.identity().capable(Capabilities::NET_ADMIN);
        let mut rest = &bytes[..];
        while let Some((request, behind)) = message::next(rest) {
            if request.kind >= KIND_MIN {
                self.answer(&request, privileged);
            }
            rest = behind;
        }
        self.common.changed.wake_all();
        Ok(length)
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let first = state.answers.front().ok_or(Errno::EAGAIN)?;
        let (whole, wanted) = (first.len(), first.len().min(sink.remaining()));
        if sink.put(&first[..wanted]) < wanted {
            return Ok(0);
        }
        if !message.peeks() {
            let gone = state.answers.pop_front();
            state.waiting -= whole;
            drop(state);
            drop(gone);
        }
        message.from = Some(shown(0, 0));
        message.found.set(MessageFlags::CUT, wanted < whole);
        Ok(if message.flags.contains(MessageFlags::CUT) { whole } else { wanted })
    }

    fn ready(&self) -> Ready {
        let state = self.state.lock();
        let mut ready = Ready::WRITABLE | Ready::WRITE_BAND;
        ready.set(Ready::READABLE, !state.answers.is_empty());
        ready.set(Ready::ERROR, state.error.is_some());
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listens(&self) -> bool {
        false
    }

    fn option(&self, _: u32, _: u32) -> Result<OptionValue, Errno> {
        Err(Errno::ENOPROTOOPT)
    }

    /// What the others would change about answers is only what they say of errors.
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        const KNOWN: [u32; 7] = [3, 4, 5, 8, 10, 11, 12];
        if level == SOL_NETLINK && matches!(name, JOIN | LEAVE) {
            return self.change_membership(value, name == JOIN);
        }
        if level == SOL_NETLINK && KNOWN.contains(&name) { Ok(()) } else { Err(Errno::ENOPROTOOPT) }
    }

    fn close(&self) {
        LISTENERS.lock().retain(|known| known.as_ptr() != self.this.as_ptr());
        let gone = core::mem::take(&mut *self.state.lock());
        drop(gone);
    }
}
