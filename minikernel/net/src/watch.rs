//! Who sees the frames that pass an interface, whomever they are for: packet(7).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_hal::sync::RwSpinLock;

use crate::address::{ANY, is_v4};
use crate::chunk::{Chunk, Chunks};
use crate::error::{Error, Result};
use crate::interface::LOOPBACK_INDEX;
use crate::ip;
use crate::link::ethernet::{HEADER, IPV4, IPV6};
use crate::link::port::Frame;
use crate::packet::{IpHeader, Outbox, Packet, Payload};
use crate::stack::Stack;

/// Whom a frame is for (`PACKET_HOST` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This machine.
    Ours = 0,
    /// Everybody.
    Everybody = 1,
    /// A group.
    Group = 2,
    /// Another machine.
    Others = 3,
    /// It is sent by this machine.
    Sent = 4,
}

/// A frame, as far as it is to be seen.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The interface.
    pub interface: u32,
    /// Whom it is for.
    pub whose: Whose,
    /// The first bytes; there may be none here.
    pub head: &'a [u8],
    /// The others.
    pub data: &'a Chunks,
    /// Its checksums have been looked at.
    pub verified: bool,
    /// They are the card's to write.
    pub partial: bool,
}

/// One who sees frames.
pub trait Watcher: Send + Sync {
    /// Shows a frame. It may come with locks of the network held: nothing of that may be called.
    fn see(&self, seen: &Seen<'_>);
}

/// All of them.
pub struct Watchers {
    list: RwSpinLock<Vec<Arc<dyn Watcher>>>,
    count: AtomicUsize,
}

impl core::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Watchers").field(&self.count).finish()
    }
}

impl Watchers {
    pub(crate) const fn new() -> Self {
        Self { list: RwSpinLock::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// One more. `OutOfMemory`
    pub fn enter(&self, watcher: Arc<dyn Watcher>) -> Result<()> {
        let mut list = self.list.write();
        list.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        list.push(watcher);
        self.count.store(list.len(), Ordering::Relaxed);
        Ok(())
    }

    /// One less.
    pub fn remove(&self, watcher: &dyn Watcher) {
        let mut list = self.list.write();
        let place = list.iter().position(|known| core::ptr::addr_eq(Arc::as_ptr(known), watcher));
        let gone = place.map(|place| list.swap_remove(place));
        self.count.store(list.len(), Ordering::Relaxed);
        drop(list);
        drop(gone);
    }

    pub(crate) fn show(&self, seen: &Seen<'_>) {
        self.list.read().iter().for_each(|watcher| watcher.see(seen));
    }

    /// Shows a frame that is sent.
    #[cold]
    pub(crate) fn show_sent(&self, interface: u32, frame: &Frame) {
        self.show(&Seen {
            interface,
            whose: Whose::Sent,
            head: frame.headers(),
            data: &frame.payload,
            verified: false,
            partial: frame.checksum.is_some(),
        });
    }

    /// Shows a frame that came, whose receiver has this address if it is for this machine.
    #[cold]
    pub(crate) fn show_received(&self, interface: u32, data: &Chunks, own: [u8; 6], verified: bool) {
        let to: [u8; 6] = front(data).unwrap_or_default();
        let whose = match to {
            _ if to == own => Whose::Ours,
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Whose::Everybody,
            [first, ..] if first & 1 != 0 => Whose::Group,
            _ => Whose::Others,
        };
        self.show(&Seen { interface, whose, head: &[], data, verified, partial: false });
    }

    /// Shows what this machine sends itself: when it goes, and when it comes.
    #[cold]
    pub(crate) fn show_looped(&self, packet: &Packet, whose: Whose) {
        let mut bytes = Vec::new();
        let length = HEADER + packet.wire_len();
        if bytes.try_reserve_exact(length).is_err() {
            return;
        }
        bytes.resize(length, 0);
        let kind = if is_v4(&packet.header.destination) { IPV4 } else { IPV6 };
        bytes[12..HEADER].copy_from_slice(&kind.to_be_bytes());
        packet.emit(&mut bytes[HEADER..]);
        let data = Chunks::from(Chunk::from(bytes));
        let interface = LOOPBACK_INDEX;
        self.show(&Seen { interface, whose, head: &[], data: &data, verified: true, partial: true });
    }
}

impl Stack {
    /// Sends a frame as it is. `NoInterface`, `NetworkDown`; `Invalid` if it is shorter than its header.
    pub fn send_frame(&self, index: u32, mut data: Chunks, out: &mut Outbox) -> Result<()> {
        let interface = self.at(index).ok_or(Error::NoInterface)?;
        if !interface.is_up() {
            return Err(Error::NetworkDown);
        }
        let header: [u8; HEADER] = front(&data).ok_or(Error::Invalid)?;
        data.advance(HEADER);
        if let Some(link) = &interface.link {
            link.send_as_is(header, data, out);
            return Ok(());
        }
        // On the loopback interface it comes back. Of IPv4 nothing is taken in that way: what has an address of this machine's comes from elsewhere
        // (`ip_route_input_slow`).
        interface.sent.count(HEADER + data.len());
        let seen = |whose| Seen {
            interface: index,
            whose,
            head: &header,
            data: &data,
            verified: false,
            partial: false,
        };
        self.watchers.show(&seen(Whose::Sent));
        self.watchers.show(&seen(Whose::Ours));
        if header[12..] != IPV6.to_be_bytes() {
            return Ok(());
        }
        let flat = crate::icmp::flat(&data).ok_or(Error::OutOfMemory)?;
        if let Some((found, protocol, _)) =
            ip::parse(&flat, index).filter(|(found, ..)| !is_v4(&found.destination))
        {
            let header = IpHeader { interface: index, ..IpHeader::new(ANY, found.destination, 0) };
            self.input(Packet { header, payload: Payload::Verbatim(protocol, data) }, out);
        }
        Ok(())
    }
}

/// The first bytes, if there are as many.
fn front<const COUNT: usize>(data: &Chunks) -> Option<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let mut count = 0;
    data.copy_to(0, &mut |part| {
        let taken = part.len().min(COUNT - count);
        bytes[count..count + taken].copy_from_slice(&part[..taken]);
        count += taken;
        taken
    });
    (count == COUNT).then_some(bytes)
}
