//! Fragments come together again (RFC 791, RFC 8200 section 4.5, RFC 5722): in any order, never over each other, and not for long.

use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

use crate::address::{Address, is_v4};
use crate::chunk::{Chunk, Chunks};
use crate::packet::{IpHeader, Packet, Payload};

const SECOND: u64 = 1_000_000_000;
/// How long the rest of a packet is waited for (`ipfrag_time`, `ip6frag_time`).
const PATIENCE_V4: u64 = 30 * SECOND;
/// See [`PATIENCE_V4`].
const PATIENCE_V6: u64 = 60 * SECOND;
/// How much memory fragments may hold: a quarter of what Linux lets them, for machines that have less.
const MEMORY: usize = 1 << 20;
/// How many packets are waited for at once.
const PACKETS: usize = 64;
/// How many parts a packet may come in: smaller ones than any link makes are somebody's attempt to make this machine busy.
const PARTS: usize = 256;
/// What a part holds besides its bytes, about.
const OVERHEAD: usize = 160;
/// No packet is longer.
const LONGEST: usize = 0xffff;

/// What a header says of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The protocol of the whole.
    pub protocol: u8,
    /// Which packet it is a part of.
    pub identification: u32,
    /// Where in that it begins.
    pub offset: u16,
    /// There is more behind it.
    pub more: bool,
}

/// A packet that is not complete.
#[derive(Debug)]
struct Partial {
    header: IpHeader,
    /// Of IPv4 it counts which protocol it is for.
    key: (Address, Address, u32, u8),
    /// By their places.
    parts: Vec<(usize, Chunks)>,
    /// How long it is, once the last fragment was there.
    length: Option<usize>,
    /// The protocol that the first fragment tells.
    protocol: u8,
    /// How many bytes of it are there.
    there: usize,
    memory: usize,
    until: u64,
}

/// Packets that are not complete.
#[derive(Debug)]
pub struct Reassembly(SpinLock<Vec<Partial>>);

impl Reassembly {
    pub const fn new() -> Self {
        Self(SpinLock::new(Vec::new()))
    }

    /// Takes in a fragment; gives the protocol and the whole where this was the last. Returns as well until when the rest is waited for.
    pub fn add(
        &self,
        header: &IpHeader,
        fragment: Fragment,
        data: Chunks,
        now: u64,
    ) -> (Option<(u8, Chunks)>, u64) {
        let v4 = is_v4(&header.source);
        let protocol = if v4 { fragment.protocol } else { 0 };
        let key = (header.source, header.destination, fragment.identification, protocol);
        let (begin, end) = (usize::from(fragment.offset), usize::from(fragment.offset) + data.len());
        let mut packets = self.0.lock();
        let place = packets.iter().position(|partial| partial.key == key);
        let place = if let Some(place) = place {
            place
        } else {
            if packets.len() >= PACKETS {
                // Who waits longest has waited longest for nothing.
                packets.remove(0);
            }
            if packets.try_reserve(1).is_err() {
                return (None, u64::MAX);
            }
            let until = now + if v4 { PATIENCE_V4 } else { PATIENCE_V6 };
            let (parts, length, protocol) = (Vec::new(), None, fragment.protocol);
            packets.push(Partial {
                header: *header,
                key,
                parts,
                length,
                protocol,
                there: 0,
                memory: 0,
                until,
            });
            packets.len() - 1
        };
        let used: usize = packets.iter().map(|partial| partial.memory).sum();
        let partial = &mut packets[place];
        let until = partial.until;
        let added =
            if end > LONGEST { None } else { partial.add((begin, end), fragment, header, data, used) };
        match added {
            Some(true) => {
                let whole = packets.remove(place);
                (whole.join(), until)
            }
            Some(false) => (None, until),
            // Nothing of it can be trusted (RFC 5722).
            None => {
                packets.remove(place);
                (None, until)
            }
        }
    }

    /// Gives up those that are waited for too long: the beginnings of those that have one are added to `lost`. Returns when the next is due.
    pub fn expire(&self, now: u64, lost: &mut Vec<Packet>) -> u64 {
        let mut packets = self.0.lock();
        packets.retain_mut(|partial| {
            let waits = partial.until > now;
            if !waits
                && partial.parts.first().is_some_and(|first| first.0 == 0)
                && lost.try_reserve(1).is_ok()
            {
                let payload = Payload::Other(partial.protocol, partial.parts.swap_remove(0).1);
                lost.push(Packet { header: partial.header, payload });
            }
            waits
        });
        packets.iter().map(|partial| partial.until).min().unwrap_or(u64::MAX)
    }
}

impl Partial {
    /// Adds a part; whether the packet is complete with it. `None` if it contradicts what is there, or there is no memory for it.
    fn add(
        &mut self,
        (begin, end): (usize, usize),
        fragment: Fragment,
        header: &IpHeader,
        data: Chunks,
        used: usize,
    ) -> Option<bool> {
        let known_end = self.parts.last().map_or(0, |(begin, data)| begin + data.len());
        if fragment.more {
            if !data.len().is_multiple_of(8)
                || data.is_empty()
                || self.length.is_some_and(|length| end > length)
            {
                return None;
            }
        } else if self.length.is_some_and(|length| length != end) || known_end > end {
            return None;
        }
        let place = self.parts.partition_point(|(other, _)| *other < begin);
        if let Some((other, there)) = self.parts.get(place)
            && *other == begin
            && there.len() == data.len()
        {
            // Only twice.
            return Some(false);
        }
        let before = place.checked_sub(1).and_then(|place| self.parts.get(place));
        let touches = before.is_some_and(|(other, there)| other + there.len() > begin)
            || self.parts.get(place).is_some_and(|(other, _)| *other < end);
        let memory = OVERHEAD + data.iter().map(Chunk::footprint).sum::<usize>();
        if touches
            || self.parts.len() >= PARTS
            || used + memory > MEMORY
            || self.parts.try_reserve(1).is_err()
        {
            return None;
        }
        if begin == 0 {
            (self.header, self.protocol) = (*header, fragment.protocol);
        }
        if !fragment.more {
            self.length = Some(end);
        }
        self.memory += memory;
        self.there += data.len();
        self.parts.insert(place, (begin, data));
        Some(self.length == Some(self.there))
    }

    fn join(self) -> Option<(u8, Chunks)> {
        let mut whole = Chunks::new();
        for (_, mut part) in self.parts {
            while let Some(chunk) = part.pop() {
                whole.gather(chunk).ok()?;
            }
        }
        Some((self.protocol, whole))
    }
}
