//! Which of its addresses this machine sends from: for IPv4 the first on the way out, for IPv6 the best by RFC 6724, section 5.

use crate::address::{Address, V4_PREFIX, any_like, is_any, is_multicast, is_v4, same_prefix};
use crate::error::{Error, Result};
use crate::interface::{Interface, InterfaceAddress};
use crate::route::{BROADCAST, Kind, Path};
use crate::stack::Stack;

/// Prefixes, their lengths and what sort of addresses they are (`ip addrlabel`).
const LABELS: [(u128, u8, u8); 7] = [
    (1, 128, 0),
    (0xffff_0000_0000, V4_PREFIX, 4),
    (0, 96, 3),
    (0x2001_0000 << 96, 32, 6),
    (0x2001_0010 << 96, 28, 7),
    (0x2002 << 112, 16, 2),
    (0xfc00 << 112, 7, 5),
];

fn label(address: &Address) -> u8 {
    let found =
        LABELS.iter().find(|(bits, length, _)| same_prefix(&Address::from_bits(*bits), address, *length));
    found.map_or(1, |(_, _, label)| *label)
}

/// How far an address reaches, as those of groups say it (RFC 4291, section 2.7).
fn scope(address: &Address) -> u8 {
    match address.octets() {
        [0xff, flags, ..] => flags & 0xf,
        [0xfe, next, ..] if next & 0xc0 == 0x80 => 2,
        [0xfe, next, ..] if next & 0xc0 == 0xc0 => 5,
        _ if address.is_loopback() => 2,
        _ => 14,
    }
}

/// How good an address is to send to another: of two the greater is better.
fn rank(known: &InterfaceAddress, to: &Address, now: u64) -> (bool, bool, u8, bool, bool, u32) {
    let (own, reach) = (scope(&known.address), scope(to));
    let common = (known.address.to_bits() ^ to.to_bits()).leading_zeros().min(known.prefix.into());
    (
        known.address == *to,
        // Rule 2: the smallest scope that suffices, else the largest.
        own >= reach,
        if own >= reach { u8::MAX - own } else { own },
        known.preferred_until > now,
        label(&known.address) == label(to),
        common,
    )
}

impl Interface {
    /// Its address to send from to a neighbour, which leads to `to`.
    pub(crate) fn source_for(&self, next: &Address, to: &Address, now: u64) -> Option<Address> {
        if is_v4(to) {
            return self.address_near(next);
        }
        let addresses = self.addresses.read();
        let good = addresses.iter().filter(|known| !is_v4(&known.address) && known.valid_until > now);
        // Of those that are as good the first.
        good.rev().max_by_key(|known| rank(known, to, now)).map(|known| known.address)
    }
}

impl Stack {
    /// The first interface that is in use and has a card.
    fn first_link(&self) -> Option<u32> {
        let found = self.all().find(|known| known.link.is_some() && known.is_up());
        found.map(|known| known.index)
    }

    /// The way to `to`, by `interface` and from `source` if those are given (0 and any address are not).
    pub fn route(&self, to: &Address, source: &Address, interface: u32, now: u64) -> Result<Path> {
        let mut path = match self.at(interface) {
            // What is for many on a link that is named needs no route.
            Some(named) if *to == BROADCAST || is_multicast(to) && (is_v4(to) || named.link.is_some()) => {
                Path::by_interface(interface, to, source)
            }
            // Groups of IPv6 are on every link (Linux has a route to them by each): by the first.
            None if interface == 0 && is_multicast(to) && !is_v4(to) && self.first_link().is_some() => {
                Path::by_interface(self.first_link().unwrap_or_default(), to, source)
            }
            None if interface != 0 => return Err(Error::NoInterface),
            // Of IPv4 everybody is on a link that is named (`ip_route_output_key_hash_rcu`).
            Some(named) if is_v4(to) && named.link.is_some() => {
                let unrouted = Path { kind: Kind::Unicast, interface, next: *to, source: *source };
                self.routes.find(to, source, interface).unwrap_or(unrouted)
            }
            _ => self.routes.find(to, source, interface)?,
        };
        if is_any(&path.source) {
            let own = self.at(path.interface).and_then(|interface| interface.source_for(&path.next, to, now));
            let elsewhere = || {
                self.all().find_map(|other| other.link.as_ref().and_then(|_| other.source_for(to, to, now)))
            };
            let unknown = if is_v4(to) { Error::NetworkUnreachable } else { Error::AddressNotAvailable };
            path.source = match own.or_else(elsewhere) {
                Some(found) => found,
                // A group is reached from no address at all.
                None if is_multicast(to) => any_like(to),
                None => return Err(unknown),
            };
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn best(own: &[(&str, u64)], to: &str) -> Address {
        let known = |&(text, preferred_until): &(&str, u64)| InterfaceAddress {
            preferred_until,
            ..InterfaceAddress::new(address(text), 64)
        };
        let known: alloc::vec::Vec<_> = own.iter().map(known).collect();
        known.iter().rev().max_by_key(|known| rank(known, &address(to), 5)).unwrap().address
    }

    #[test]
    fn rfc_6724_10_1_source_addresses() {
        let good = u64::MAX;
        let cases = [
            // Appropriate scope.
            (&[("2001:db8:1::1", good), ("fe80::1", good)][..], "2001:db8:1::1", "2001:db8:1::1"),
            (&[("2001:db8:1::1", good), ("fe80::1", good)], "ff05::1", "2001:db8:1::1"),
            (&[("fe80::2", good), ("2001:db8:1::1", good)], "fe80::1", "fe80::2"),
            // Not one that goes out of use.
            (&[("2001:db8:3::1", 4), ("2001:db8:4::1", good)], "2001:db8:3::2", "2001:db8:4::1"),
            // The same label.
            (&[("2001:db8:1::2", good), ("fd00::2", good)], "fd01::1", "fd00::2"),
            (
                &[("2002:c633:6401::d5e3:7953:13eb:22e8", good), ("2001:db8:1::2", good)],
                "2001:db8:1::1",
                "2001:db8:1::2",
            ),
            (
                &[("2002:c633:6401::2", good), ("2001:db8:3::2", good)],
                "2002:c633:6401::1",
                "2002:c633:6401::2",
            ),
            // The longest prefix in common.
            (&[("2001:db8:1::2", good), ("2001:db8:3::2", good)], "2001:db8:3::1", "2001:db8:3::2"),
            // Else the first.
            (&[("2001:db8:3::5", good), ("2001:db8:3::2", good)], "2001:db8:3::1", "2001:db8:3::5"),
        ];
        for (own, to, expected) in cases {
            assert_eq!(best(own, to), address(expected), "{own:?} to {to}");
        }
    }
}
