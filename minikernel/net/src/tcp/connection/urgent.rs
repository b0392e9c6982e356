//! Urgent data as Linux treats it (RFC 9293, section 3.8.5; RFC 6093): one byte out of band, and a mark in the stream.

use super::{Connection, Events};
use crate::tcp::{Error, Seq};

/// The urgent byte that was announced last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urgent {
    /// Its sequence number: that before the urgent pointer, as all implementations have it (RFC 6093, section 3.1).
    at: Seq,
    /// Its value, once it has come and until it is fetched.
    byte: Option<u8>,
    fetched: bool,
}

impl Connection {
    /// The peer announces that the byte before `pointer` is urgent.
    pub(super) fn urgent_announced(&mut self, pointer: Seq) {
        let at = pointer - 1;
        let known = self.rcv.urgent.is_some_and(|urgent| at <= urgent.at);
        if known || at < self.first_unread() {
            return;
        }
        self.rcv.urgent = Some(Urgent { at, byte: None, fetched: false });
        self.events |= Events::URGENT;
    }

    /// Bytes `before..before + count` of what can be read have just come: the urgent one may be among them.
    pub(super) fn take_urgent_byte(&mut self, before: usize, count: usize) {
        let Some(mut urgent) = self.rcv.urgent.filter(|urgent| urgent.byte.is_none() && !urgent.fetched)
        else {
            return;
        };
        if urgent.at < self.rcv.nxt || urgent.at - self.rcv.nxt >= count as u32 {
            return;
        }
        let offset = before + (urgent.at - self.rcv.nxt) as usize;
        self.received.copy_to(offset, &mut |bytes| {
            urgent.byte = bytes.first().copied();
            0
        });
        self.rcv.urgent = Some(urgent);
        self.events |= Events::READABLE;
    }

    /// The sequence number of the first byte that was not read.
    fn first_unread(&self) -> Seq {
        let end = if self.rcv.finished { self.rcv.nxt - 1 } else { self.rcv.nxt };
        end - self.received.len() as u32
    }

    /// Fetches the urgent byte (`MSG_OOB`), and forgets it unless it is only looked at.
    pub fn read_urgent(&mut self, peek: bool) -> Result<u8, Error> {
        let urgent = self.rcv.urgent.as_mut().filter(|urgent| !urgent.fetched && !self.options.urgent_inline);
        let urgent = urgent.ok_or(Error::Invalid)?;
        let byte = urgent.byte.ok_or(Error::WouldBlock)?;
        urgent.fetched = !peek;
        Ok(byte)
    }

    /// Whether the next byte to read is the urgent one, or follows it where it is out of band (`SIOCATMARK`).
    pub fn at_mark(&self) -> bool {
        self.rcv.urgent.is_some_and(|urgent| urgent.at == self.first_unread())
    }

    /// Whether there is urgent data to fetch.
    pub(super) fn urgent_unread(&self) -> bool {
        self.rcv.urgent.is_some_and(|urgent| urgent.byte.is_some() && !urgent.fetched)
    }

    /// How many bytes a read may take: it ends before the mark, unless it begins there.
    pub(super) fn readable_before_mark(&self) -> usize {
        let all = self.received.len();
        let Some(urgent) = self.rcv.urgent else { return all };
        match urgent.at.since(self.first_unread()) as usize {
            0 => all,
            distance => all.min(distance),
        }
    }

    /// At the mark a read passes over the urgent byte, which is not part of the stream unless the program wants it there; the mark is behind.
    pub(super) fn pass_mark(&mut self) {
        if !self.at_mark() || self.received.is_empty() {
            return;
        }
        self.rcv.urgent = None;
        if !self.options.urgent_inline {
            self.received.advance(1);
        }
    }
}
