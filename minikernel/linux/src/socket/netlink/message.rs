//! Messages of netlink: netlink(3), rtnetlink(3).

use alloc::vec::Vec;

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// What parts are aligned to (`NLMSG_ALIGNTO`, `RTA_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// `NLM_F_MULTI`: more follow.
pub const MULTI: u16 = 2;
/// `NLM_F_ACK`: the sender wants to know that it went well.
pub const ACKNOWLEDGE: u16 = 4;
/// `NLM_F_DUMP`: of all that there are.
pub const DUMP: u16 = 0x300;
/// `NLMSG_ERROR`
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`
pub const DONE: u16 = 3;

/// A request, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// What answers repeat.
    pub sequence: u32,
    /// All of it.
    pub whole: &'a [u8],
    /// What it says.
    pub body: &'a [u8],
}

/// The request at the start of `bytes`, and what follows it.
pub fn next(bytes: &[u8]) -> Option<(Request<'_>, &[u8])> {
    let length = word(bytes, 0)? as usize;
    let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER)?;
    let rest = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    let both = word(bytes, 4)?;
    let (kind, flags) = (both as u16, (both >> 16) as u16);
    Some((Request { kind, flags, sequence: word(bytes, 8)?, whole, body: &whole[HEADER..] }, rest))
}

/// The four bytes at a place.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The attribute of a type behind `bytes` that come first.
pub fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(both) = word(bytes, 0) {
        let (length, kind) = (usize::from(both as u16), (both >> 16) as u16);
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    None
}

/// Messages on their way to a program.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    sequence: u32,
    port: u32,
    /// Where the message under way begins.
    begin: usize,
}

impl Answer {
    /// Nothing yet, to the request with this number from this port.
    pub fn new(sequence: u32, port: u32) -> Self {
        Self { bytes: Vec::new(), sequence, port, begin: 0 }
    }

    /// Adds a message whose fixed part is `fixed`; attributes may follow.
    pub fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) {
        self.begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&self.port.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        self.settle();
    }

    /// Adds an attribute to the message.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.settle();
    }

    /// Adds an attribute that is a number.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// The message ends here, as far as is known.
    fn settle(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let length = (self.bytes.len() - self.begin) as u32;
        self.bytes[self.begin..self.begin + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// All messages.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
