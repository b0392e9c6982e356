//! Who has which port (bind(2), and socket(7) on `SO_REUSEADDR` and `SO_REUSEPORT`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_hal::sync::SpinLock;

use super::Error;

const SHARDS: usize = 256;

/// The addresses that a port is claimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `0.0.0.0`.
    Ipv4,
    /// `::` with `IPV6_V6ONLY`.
    Ipv6,
    /// `::`, which is all addresses.
    Any,
    /// One address; one of IPv4 in IPv6's clothes is one of IPv4.
    Address(IpAddr),
}

impl Scope {
    /// Whether a segment to `address` is meant; the more specific of two that fit has the higher number.
    pub(super) fn fits(self, address: IpAddr) -> Option<u8> {
        match self {
            Self::Address(own) => (own == address).then_some(3),
            Self::Ipv4 => address.is_ipv4().then_some(2),
            Self::Ipv6 => address.is_ipv6().then_some(2),
            Self::Any => Some(1),
        }
    }

    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Address(address), scope) | (scope, Self::Address(address)) => {
                scope.fits(address).is_some()
            }
            (a, b) => a == b,
        }
    }
}

/// What a socket asks for when it binds.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Where.
    pub scope: Scope,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// The user, who shares ports with nobody else.
    pub user: u32,
    /// The only interface that it uses; 0 for any.
    pub interface: u32,
}

impl Claim {
    /// One that shares with nobody, by any interface.
    pub const fn new(scope: Scope) -> Self {
        Self { scope, reuse_address: false, reuse_port: false, user: 0, interface: 0 }
    }
}

#[derive(Debug)]
struct Entry {
    port: u16,
    id: u32,
    claim: Claim,
    listening: bool,
    /// Chosen for an outgoing connection, which needs it only towards its peer.
    outgoing: bool,
}

impl Entry {
    /// Whether the two cannot both be (Linux' `inet_csk_bind_conflict`).
    fn conflicts(&self, claim: &Claim) -> bool {
        let by_address = self.claim.reuse_address && claim.reuse_address && !self.listening;
        let by_port = self.claim.reuse_port && claim.reuse_port && self.claim.user == claim.user;
        let (own, other) = (self.claim.interface, claim.interface);
        let elsewhere = own != 0 && other != 0 && own != other;
        self.claim.scope.overlaps(claim.scope) && !by_address && !by_port && !elsewhere
    }
}

/// The ports in use.
#[derive(Debug)]
pub(super) struct Ports {
    /// Each in the order of the ports, so that a claim looks at few others than those of its own port.
    shards: [SpinLock<Vec<Entry>>; SHARDS],
    next_id: AtomicU32,
}

impl Ports {
    pub const fn new() -> Self {
        Self { shards: [const { SpinLock::new(Vec::new()) }; SHARDS], next_id: AtomicU32::new(0) }
    }

    fn shard(&self, port: u16) -> &SpinLock<Vec<Entry>> {
        &self.shards[usize::from(port) % SHARDS]
    }

    /// Takes a port for a socket that binds.
    pub fn bind(self: &Arc<Self>, port: u16, claim: Claim) -> Result<Arc<Binding>, Error> {
        self.claim(port, claim, false)
    }

    /// Takes a port for an outgoing connection, which shares it with other outgoing ones.
    pub fn take_outgoing(self: &Arc<Self>, port: u16, address: IpAddr) -> Result<Arc<Binding>, Error> {
        let claim = Claim::new(Scope::Address(address));
        self.claim(port, claim, true)
    }

    fn claim(self: &Arc<Self>, port: u16, claim: Claim, outgoing: bool) -> Result<Arc<Binding>, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.shard(port).lock();
        let own = with_port(&entries, port);
        let taken = |entry: &Entry| !(outgoing && entry.outgoing) && entry.conflicts(&claim);
        if entries[own.clone()].iter().any(taken) {
            return Err(Error::AddressInUse);
        }
        entries.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        entries.insert(own.end, Entry { port, id, claim, listening: false, outgoing });
        Ok(Arc::new(Binding { ports: self.clone(), port, id }))
    }
}

/// Which of the entries have a port.
fn with_port(entries: &[Entry], port: u16) -> Range<usize> {
    let before = |entry: &Entry| {
        super::step();
        entry.port < port
    };
    let start = entries.partition_point(before);
    let count =
        entries[start..].iter().take_while(|entry| entry.port == port).inspect(|_| super::step()).count();
    start..start + count
}

/// A port that is in use as long as this lives: a socket has it, and all connections that it accepted, until the last is forgotten.
#[derive(Debug)]
pub struct Binding {
    ports: Arc<Ports>,
    port: u16,
    id: u32,
}

impl Binding {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes the port for listening, which two sockets do only with `SO_REUSEPORT`.
    pub(super) fn listen(&self) -> Result<(), Error> {
        let mut entries = self.ports.shard(self.port).lock();
        let all = with_port(&entries, self.port);
        let entries = &mut entries[all];
        let own = entries.iter().position(|entry| entry.id == self.id).ok_or(Error::Invalid)?;
        let claim = entries[own].claim;
        if entries.iter().any(|entry| entry.id != self.id && entry.conflicts(&claim)) {
            return Err(Error::AddressInUse);
        }
        entries[own].listening = true;
        Ok(())
    }

    /// It listens no more.
    pub(super) fn stop_listening(&self) {
        self.change(&mut |entry| entry.listening = false);
    }

    /// `SO_REUSEADDR` or `SO_REUSEPORT` were set after binding: they count for those who come.
    pub fn set_reuse(&self, address: bool, port: bool) {
        self.change(&mut |entry| (entry.claim.reuse_address, entry.claim.reuse_port) = (address, port));
    }

    /// It uses one interface only, or with 0 any.
    pub fn set_interface(&self, interface: u32) {
        self.change(&mut |entry| entry.claim.interface = interface);
    }

    fn change(&self, change: &mut dyn FnMut(&mut Entry)) {
        let mut entries = self.ports.shard(self.port).lock();
        let all = with_port(&entries, self.port);
        entries[all].iter_mut().filter(|entry| entry.id == self.id).for_each(change);
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        let mut entries = self.ports.shard(self.port).lock();
        let all = with_port(&entries, self.port);
        let own = entries[all.clone()].iter().position(|entry| entry.id == self.id);
        if let Some(index) = own {
            entries.remove(all.start + index);
        }
        if entries.is_empty() {
            *entries = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const LOOPBACK: Scope = Scope::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn claim(scope: Scope) -> Claim {
        Claim::new(scope)
    }

    #[test]
    fn wildcards_overlap_what_they_contain() {
        for (first, second, conflict) in [
            (Scope::Ipv4, LOOPBACK, true),
            (Scope::Any, LOOPBACK, true),
            (Scope::Any, Scope::Ipv6, true),
            (Scope::Ipv6, LOOPBACK, false),
            (Scope::Ipv6, Scope::Ipv4, false),
            (LOOPBACK, Scope::Address(Ipv4Addr::new(10, 0, 0, 1).into()), false),
        ] {
            let ports = Arc::new(Ports::new());
            let _first = ports.bind(80, claim(first)).unwrap();
            assert_eq!(ports.bind(80, claim(second)).is_err(), conflict, "{first:?} {second:?}");
            assert!(ports.bind(80 + SHARDS as u16, claim(second)).is_ok(), "another port in the same shard");
        }
    }

    #[test]
    fn a_port_is_free_when_its_last_owner_is_gone() {
        let ports = Arc::new(Ports::new());
        let binding = ports.bind(80, claim(Scope::Ipv4)).unwrap();
        let accepted = binding.clone();
        drop(binding);
        assert_eq!(ports.bind(80, claim(Scope::Ipv4)).err(), Some(Error::AddressInUse));
        drop(accepted);
        assert!(ports.bind(80, claim(Scope::Ipv4)).is_ok());
    }

    #[test]
    fn with_reuse_address_several_bind_and_one_listens() {
        let ports = Arc::new(Ports::new());
        let reuse = Claim { reuse_address: true, ..claim(Scope::Ipv4) };
        let (first, second) = (ports.bind(80, reuse).unwrap(), ports.bind(80, reuse).unwrap());
        assert!(ports.bind(80, claim(Scope::Ipv4)).is_err(), "both must ask for it");
        first.listen().unwrap();
        assert_eq!(second.listen(), Err(Error::AddressInUse));
        assert!(ports.bind(80, reuse).is_err(), "one listens");
        first.stop_listening();
        assert_eq!(second.listen(), Ok(()));
    }

    #[test]
    fn with_reuse_port_one_user_listens_several_times() {
        let ports = Arc::new(Ports::new());
        let reuse = Claim { reuse_port: true, ..claim(Scope::Ipv4) };
        let (first, second) = (ports.bind(80, reuse).unwrap(), ports.bind(80, reuse).unwrap());
        assert_eq!((first.listen(), second.listen()), (Ok(()), Ok(())));
        assert!(ports.bind(80, Claim { user: 1, ..reuse }).is_err());
    }

    #[test]
    fn sockets_of_different_interfaces_have_the_same_port() {
        let ports = Arc::new(Ports::new());
        let by = |interface| Claim { interface, ..claim(Scope::Ipv4) };
        let first = ports.bind(80, by(1)).unwrap();
        assert!(ports.bind(80, by(1)).is_err());
        assert!(ports.bind(80, by(0)).is_err(), "any is that one, too");
        let second = ports.bind(80, by(2)).unwrap();
        assert_eq!((first.listen(), second.listen()), (Ok(()), Ok(())));
        drop(first);
        second.set_interface(3);
        assert!(ports.bind(80, by(2)).is_ok());
    }

    #[test]
    fn outgoing_connections_share_a_port_that_nobody_bound() {
        let ports = Arc::new(Ports::new());
        let address = Ipv4Addr::LOCALHOST.into();
        let first = ports.take_outgoing(40000, address).unwrap();
        let second = ports.take_outgoing(40000, address).unwrap();
        assert!(ports.bind(40000, claim(Scope::Ipv4)).is_err());
        drop((first, second));
        let _bound = ports.bind(40000, claim(Scope::Ipv4)).unwrap();
        assert!(ports.take_outgoing(40000, address).is_err());
    }
}
