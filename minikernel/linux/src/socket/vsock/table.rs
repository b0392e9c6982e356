//! All sockets that have a place, sorted by it and by what they are connected to.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, random};

use super::link::Way;
use super::packet::{Header, Place};
use super::{CID_ANY, CID_LOCAL, LAST_RESERVED, PORT_ANY, VsockSocket};

/// A socket by its port and its peer, if it has one, and else by its address.
struct Entry {
    port: u32,
    peer: Option<Place>,
    cid: u32,
    socket: Weak<VsockSocket>,
}

struct Table {
    entries: Vec<Entry>,
    /// The next port for who names none; 0 before there was anybody.
    next: u32,
}

static TABLE: SpinLock<Table> = SpinLock::new(Table { entries: Vec::new(), next: 0 });

/// As packets by this way name a peer: this machine has one name for itself.
fn peer_by(way: Way, peer: Place) -> Place {
    if way == Way::Local { Place { cid: CID_LOCAL, ..peer } } else { peer }
}

/// What an entry is sorted by.
fn key(port: u32, peer: Option<Place>) -> (u32, u64) {
    let peer = peer.map_or(u64::MAX, |peer| u64::from(peer.cid) << 32 | u64::from(peer.port));
    (port, peer)
}

impl Table {
    /// Where entries of a key begin, or would.
    fn begin(&self, port: u32, peer: Option<Place>) -> usize {
        self.entries.partition_point(|entry| key(entry.port, entry.peer) < key(port, peer))
    }

    /// The one that has a place, or shares it: a place at any address is at each.
    fn bound(&self, at: Place) -> Option<&Entry> {
        let same = |entry: &&Entry| entry.cid == at.cid || [entry.cid, at.cid].contains(&CID_ANY);
        let behind = &self.entries[self.begin(at.port, None)..];
        behind.iter().take_while(|entry| entry.port == at.port && entry.peer.is_none()).find(same)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), Errno> {
        self.entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let at = self.begin(entry.port, entry.peer);
        self.entries.insert(at, entry);
        Ok(())
    }

    /// A port for who names none.
    fn next_port(&mut self) -> u32 {
        if self.next == 0 {
            self.next = random::hardware_random().unwrap_or_else(clock::monotonic_ns) as u32;
        }
        if self.next <= LAST_RESERVED || self.next == PORT_ANY {
            self.next = LAST_RESERVED + 1;
        }
        self.next += 1;
        self.next - 1
    }
}

/// Gives a socket a place, with a port that is free if it names none. EADDRINUSE, EADDRNOTAVAIL
pub fn bind(socket: &Weak<VsockSocket>, mut at: Place) -> Result<Place, Errno> {
    /// How many ports are tried (`MAX_PORT_RETRIES`).
    const TRIES: u32 = 24;
    let mut table = TABLE.lock();
    if at.port == PORT_ANY {
        let mut tries = 0..TRIES;
        let free = tries.find(|_| {
            at.port = table.next_port();
            table.bound(at).is_none()
        });
        free.ok_or(Errno::EADDRNOTAVAIL)?;
    } else if table.bound(at).is_some() {
        return Err(Errno::EADDRINUSE);
    }
    table.insert(Entry { port: at.port, peer: None, cid: at.cid, socket: Weak::clone(socket) })?;
    Ok(at)
}

/// A socket is connected, or going to be.
pub fn connect(socket: &Weak<VsockSocket>, port: u32, peer: Place, way: Way) -> Result<(), Errno> {
    let entry = Entry { port, peer: Some(peer_by(way, peer)), cid: CID_ANY, socket: Weak::clone(socket) };
    TABLE.lock().insert(entry)
}

/// A socket is not connected any more, or, with its place too, gone.
pub fn remove(socket: &VsockSocket, whole: bool) {
    let other = |entry: &Entry| !core::ptr::eq(entry.socket.as_ptr(), socket);
    TABLE.lock().entries.retain(|entry| other(entry) || entry.peer.is_none() && !whole);
}

/// Whom a packet is for.
pub fn find(header: &Header, way: Way) -> Option<Arc<VsockSocket>> {
    let table = TABLE.lock();
    let peer = Some(peer_by(way, Place { cid: header.from_cid, port: header.from_port }));
    let connected = table.entries.get(table.begin(header.to_port, peer));
    connected
        .filter(|entry| (entry.port, entry.peer) == (header.to_port, peer))
        .or_else(|| table.bound(Place { cid: header.to_cid, port: header.to_port }))
        .and_then(|entry| entry.socket.upgrade())
}

/// One that is connected to the host, or going to be, if there is any.
pub fn connected_to_host() -> Option<Arc<VsockSocket>> {
    let table = TABLE.lock();
    let to_host = |entry: &&Entry| entry.peer.is_some_and(|peer| peer.cid != CID_LOCAL);
    table.entries.iter().filter(to_host).find_map(|entry| entry.socket.upgrade())
}
