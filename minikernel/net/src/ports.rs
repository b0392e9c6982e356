//! Which endpoint a message is for, by ports and addresses.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_hal::sync::SpinLock;

use crate::address::{ANY, Address, SocketAddress, is_any, is_v4, overlap};
use crate::endpoint::{Endpoint, Names, Switches};
use crate::error::{Error, Result};

/// As many locks there are.
const BUCKETS: usize = 64;

/// The endpoints of a protocol that have a port, by its last bits.
#[derive(Debug)]
pub struct Ports {
    buckets: [SpinLock<Vec<Entry>>; BUCKETS],
    count: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    local: SocketAddress,
    peer: Option<SocketAddress>,
    endpoint: Arc<Endpoint>,
}

impl Ports {
    /// None yet.
    pub const fn new() -> Self {
        Self { buckets: [const { SpinLock::new(Vec::new()) }; BUCKETS], count: AtomicUsize::new(0) }
    }

    fn bucket(&self, port: u16) -> &SpinLock<Vec<Entry>> {
        &self.buckets[usize::from(port) % BUCKETS]
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Gives an endpoint a port of an address: the one asked for, or with 0 one of `automatic`, beginning at a `random` one. `AddressInUse`
    pub fn bind(
        &self,
        endpoint: &Arc<Endpoint>,
        names: &mut Names,
        (address, asked): (Address, u16),
        (automatic, random): (RangeInclusive<u16>, u64),
    ) -> Result<()> {
        let port = if asked != 0 {
            self.enter(endpoint, names, SocketAddress { address, port: asked })?;
            asked
        } else {
            let count = u64::from(automatic.end().saturating_sub(*automatic.start())) + 1;
            let mut candidates = (0..count).map(|step| automatic.start() + ((random + step) % count) as u16);
            candidates
                .find(|&port| self.enter(endpoint, names, SocketAddress { address, port }).is_ok())
                .ok_or(Error::AddressInUse)?
        };
        names.bind(address, port, asked);
        Ok(())
    }

    /// Notes an endpoint at a port. `AddressInUse`
    pub fn enter(&self, endpoint: &Arc<Endpoint>, names: &Names, local: SocketAddress) -> Result<()> {
        let mut entries = self.bucket(local.port).lock();
        if entries.iter().any(|entry| entry.conflicts(endpoint, &local)) {
            return Err(Error::AddressInUse);
        }
        entries.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        // Of several that share a port the latest receives, without `REUSE_PORT`.
        entries.insert(0, Entry { local, peer: names.peer, endpoint: Arc::clone(endpoint) });
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The names of an endpoint that has a port have changed.
    pub fn update(&self, endpoint: &Arc<Endpoint>, names: &Names) {
        let mut entries = self.bucket(names.local.port).lock();
        if let Some(entry) = entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.endpoint, endpoint)) {
            (entry.local, entry.peer) = (names.local, names.peer);
        }
    }

    /// Takes its port from an endpoint.
    pub fn remove(&self, endpoint: &Arc<Endpoint>, names: &Names) {
        let mut entries = self.bucket(names.local.port).lock();
        let place = entries.iter().position(|entry| Arc::ptr_eq(&entry.endpoint, endpoint));
        let gone = place.map(|place| entries.remove(place));
        drop(entries);
        self.count.fetch_sub(usize::from(gone.is_some()), Ordering::Relaxed);
        drop(gone);
    }

    /// The endpoint for what comes from `source` to `destination` by an interface: the most particular one; of several that share the port the one
    /// that `hash` chooses.
    pub fn find(
        &self,
        source: &SocketAddress,
        destination: &SocketAddress,
        interface: u32,
        hash: u64,
    ) -> Option<Arc<Endpoint>> {
        let entries = self.bucket(destination.port).lock();
        let (mut best, mut most) = (None, 0);
        for entry in entries.iter() {
            let score = entry.score(source, destination, interface);
            if score > most {
                (best, most) = (Some(entry), score);
            }
        }
        let best = best?;
        let shares = best.peer.is_none() && best.endpoint.has(Switches::REUSE_PORT);
        if !shares {
            return Some(Arc::clone(&best.endpoint));
        }
        let group = || {
            entries.iter().filter(|entry| {
                entry.endpoint.has(Switches::REUSE_PORT)
                    && entry.score(source, destination, interface) == most
            })
        };
        let chosen = hash % group().count().max(1) as u64;
        group().nth(chosen as usize).map(|entry| Arc::clone(&entry.endpoint))
    }

    /// Calls `visit` for each endpoint that takes what comes to a group or to all. `OutOfMemory`
    pub fn for_group(
        &self,
        source: &SocketAddress,
        destination: &SocketAddress,
        interface: u32,
        visit: &mut dyn FnMut(&Endpoint),
    ) -> Result<()> {
        let mut found = Vec::new();
        let entries = self.bucket(destination.port).lock();
        for entry in entries.iter().filter(|entry| entry.score(source, destination, interface) > 0) {
            found.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
            found.push(Arc::clone(&entry.endpoint));
        }
        drop(entries);
        for endpoint in &found {
            visit(endpoint);
        }
        Ok(())
    }
}

impl Entry {
    /// Whether `other` cannot have this address as well (`udp_lib_lport_inuse`).
    fn conflicts(&self, other: &Endpoint, local: &SocketAddress) -> bool {
        let both = |switch| self.endpoint.has(switch) && other.has(switch);
        let interfaces = [&self.endpoint, other].map(|endpoint| endpoint.interface.load(Ordering::Relaxed));
        self.local.port == local.port
            && other.raw.is_none()
            && !both(Switches::REUSE_ADDRESS)
            && (interfaces.contains(&0) || interfaces[0] == interfaces[1])
            && !(both(Switches::REUSE_PORT) && self.endpoint.owner == other.owner)
            && overlap(self.endpoint.binding(&self.local.address), other.binding(&local.address))
    }

    /// How particular this is for a message; 0 if it is not for it (`compute_score`).
    fn score(&self, source: &SocketAddress, destination: &SocketAddress, interface: u32) -> u32 {
        let exact = self.local.address == destination.address;
        let any = is_any(&self.local.address)
            && (is_v4(&self.local.address) == is_v4(&destination.address)
                || self.local.address == ANY && !self.endpoint.has(Switches::ONLY_V6));
        if self.local.port != destination.port
            || !(exact || any)
            || self.peer.is_some_and(|peer| peer != *source)
            || !self.endpoint.uses(interface)
        {
            return 0;
        }
        let same_version = is_v4(&self.local.address) == is_v4(&destination.address);
        let bound = !self.endpoint.uses(0);
        1 + u32::from(same_version)
            + 2 * u32::from(bound)
            + 4 * u32::from(self.peer.is_some())
            + 8 * u32::from(exact)
    }
}
