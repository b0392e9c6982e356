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
const ERROR: u16 = 2;
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

/// A datagram of several messages is at most so long, however long the buffer that it is received into (`NLMSG_GOODSIZE`).
const DATAGRAM: usize = 3776;

/// Messages on their way to a program, in datagrams.
#[derive(Debug)]
pub struct Answer {
    datagrams: Vec<Vec<u8>>,
    /// The message under way.
    message: Vec<u8>,
    sequence: u32,
    port: u32,
    /// There was no memory for all of it.
    failed: bool,
}

impl Answer {
    /// Nothing yet, to the request with this number from this port.
    pub fn new(sequence: u32, port: u32) -> Self {
        Self { datagrams: Vec::new(), message: Vec::new(), sequence, port, failed: false }
    }

    /// Adds a message whose fixed part is `fixed`; attributes may follow.
    pub fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) {
        self.settle();
        let mut header = [0; HEADER];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&flags.to_ne_bytes());
        header[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        header[12..].copy_from_slice(&self.port.to_ne_bytes());
        self.put(&header);
        self.put(fixed);
    }

    /// Adds the message that says how a request went: 0, or the negative number of an error.
    pub fn error(&mut self, number: i32, request: &[u8]) {
        self.message(ERROR, 0, &number.to_ne_bytes());
        self.put(request);
    }

    /// Adds an attribute to the message.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let [length, kind] = [4 + value.len() as u16, kind].map(u16::to_ne_bytes);
        self.put([length, kind].as_flattened());
        self.put(value);
    }

    /// Adds an attribute that is a number.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Adds an attribute that is a text.
    pub fn text(&mut self, kind: u16, value: &str) {
        let [length, kind] = [5 + value.len() as u16, kind].map(u16::to_ne_bytes);
        self.put([length, kind].as_flattened());
        self.append(value.as_bytes());
        self.put(&[0]);
    }

    /// Adds bytes and what aligns the next.
    fn put(&mut self, bytes: &[u8]) {
        self.append(bytes);
        let padding = self.message.len().next_multiple_of(ALIGNMENT) - self.message.len();
        self.append(&[0; ALIGNMENT][..padding]);
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.message.try_reserve(bytes.len()).is_ok() {
            self.message.extend_from_slice(bytes);
        } else {
            self.failed = true;
        }
    }

    /// The message ends here: it becomes part of the last datagram, or of a new one.
    fn settle(&mut self) {
        let length = self.message.len();
        let Some(place) = self.message.first_chunk_mut() else { return };
        *place = (length as u32).to_ne_bytes();
        if let Some(last) = self.datagrams.last_mut().filter(|last| last.len() + length <= DATAGRAM) {
            self.failed |= last.try_reserve(length).is_err();
            if !self.failed {
                last.append(&mut self.message);
            }
        } else {
            self.failed |= self.datagrams.try_reserve(1).is_err();
            if !self.failed {
                self.datagrams.push(core::mem::take(&mut self.message));
            }
        }
    }

    /// All datagrams; `None` if there was no memory for them.
    pub fn finish(mut self) -> Option<Vec<Vec<u8>>> {
        self.settle();
        (!self.failed).then_some(self.datagrams)
    }
}
