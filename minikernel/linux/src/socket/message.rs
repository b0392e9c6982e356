//! What a message is besides its bytes: send(2), recv(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bitflags::bitflags;
use isopod_fs::Sink;
use isopod_fs::file::OpenFile;
use isopod_net::chunk::Chunks;

use super::Address;
use super::control::Part;
use super::credentials::Sender;
use super::inet::IpControl;
use super::unix::Rights;

bitflags! {
    /// Flags of send(2), recv(2) and their kin.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct MessageFlags: u32 {
        /// Urgent data.
        const OUT_OF_BAND = 0x1;
        /// Look, but leave the message there.
        const PEEK = 0x2;
        /// More control data than there was room for.
        const CONTROL_CUT = 0x8;
        /// The message was longer; or, asked for, tell its whole length.
        const CUT = 0x20;
        /// Do not wait.
        const DONT_WAIT = 0x40;
        /// The end of a record.
        const END_OF_RECORD = 0x80;
        /// Wait until all is there.
        const WAIT_ALL = 0x100;
        /// An error, not a message.
        const ERROR_QUEUE = 0x2000;
        /// No SIGPIPE.
        const NO_SIGNAL = 0x4000;
        /// More follows.
        const MORE = 0x8000;
        /// recvmmsg(2): do not wait after the first.
        const WAIT_FOR_ONE = 0x1_0000;
        /// Connect first, and with the message if that can be (`MSG_FASTOPEN`).
        const FAST_OPEN = 0x2000_0000;
        /// Received descriptors are closed by execve.
        const CLOSE_ON_EXEC = 0x4000_0000;
    }
}

/// A message on its way out.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// How.
    pub flags: MessageFlags,
    /// To whom, if it says.
    pub to: Option<Address>,
    /// Open files that go along, until they have gone.
    pub rights: Rights,
    /// Who sends it, if it says.
    pub sender: Option<Sender>,
    /// What it says to the network.
    pub ip: IpControl,
}

/// A message that is received.
#[derive(Debug, Default)]
pub struct Incoming {
    /// How.
    pub flags: MessageFlags,
    /// Found: what has happened to it.
    pub found: MessageFlags,
    /// Whether it matters from whom it is.
    pub wants_name: bool,
    /// Found: from whom.
    pub from: Option<Address>,
    /// Found: the open files that came along.
    pub rights: Rights,
    /// Found: the same of a message that stays.
    pub peeked: Vec<Arc<OpenFile>>,
    /// Found: who sent it, if that is known.
    pub sender: Option<Sender>,
    /// Found: what else there is to say.
    pub parts: Vec<Part>,
    /// How far it has been looked at.
    pub looked_at: usize,
    /// Something of it was received.
    pub begun: bool,
    /// Nothing that follows belongs to it.
    pub ended: bool,
}

impl Incoming {
    /// One that is received with `flags`.
    pub fn new(flags: MessageFlags) -> Self {
        Self { flags, ..Self::default() }
    }

    /// True when the message is to stay.
    pub fn peeks(&self) -> bool {
        self.flags.contains(MessageFlags::PEEK)
    }

    /// Whether bytes of `sender` can follow those that were received so far.
    pub fn matches(&self, sender: Option<Sender>) -> bool {
        !self.begun || self.sender == sender
    }

    /// The files that came along.
    pub fn take_files(&mut self) -> Vec<Arc<OpenFile>> {
        match core::mem::take(&mut self.rights) {
            rights if rights.is_some() => rights.into_files(),
            _ => core::mem::take(&mut self.peeked),
        }
    }
}

/// Copies the bytes from `start` on out: how many that are, none if the copy was cut.
pub fn copy_out(data: &Chunks, start: usize, message: &mut Incoming, sink: &mut dyn Sink) -> Option<usize> {
    let (whole, room) = (data.len().saturating_sub(start), sink.remaining());
    let wanted = whole.min(room);
    let mut left = wanted;
    let copied = data.copy_to(start, &mut |part| {
        let put = sink.put(&part[..part.len().min(left)]);
        left -= put;
        put
    });
    if copied < wanted {
        return None;
    }
    message.found.set(MessageFlags::CUT, room < whole);
    Some(wanted)
}

impl Default for MessageFlags {
    fn default() -> Self {
        Self::empty()
    }
}
