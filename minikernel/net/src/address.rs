//! Addresses: those of both versions of IP in one type, so that what is above the packets is written once.

/// An address of IPv6, or one of IPv4 mapped into it (`::ffff:a.b.c.d`, RFC 4291, section 2.5.5.2).
pub type Address = core::net::Ipv6Addr;

/// Any address of IPv6; on sockets that take both, of IPv4, too.
pub const ANY: Address = Address::UNSPECIFIED;
/// Any address of IPv4.
pub const ANY_V4: Address = v4(0, 0, 0, 0);
/// The machine itself.
pub const LOOPBACK: Address = Address::LOCALHOST;
/// The machine itself, by IPv4.
pub const LOOPBACK_V4: Address = v4(127, 0, 0, 1);

/// Where the 32 bits of IPv4 begin.
pub const V4_PREFIX: u8 = 96;

/// `a.b.c.d`
pub const fn v4(a: u8, b: u8, c: u8, d: u8) -> Address {
    core::net::Ipv4Addr::new(a, b, c, d).to_ipv6_mapped()
}

/// Whether it is one of IPv4.
#[inline]
pub fn is_v4(address: &Address) -> bool {
    address.to_bits() >> 32 == 0xffff
}

/// Whether it stands for any address.
pub fn is_any(address: &Address) -> bool {
    *address == ANY || *address == ANY_V4
}

/// Whether it is a group's.
pub fn is_multicast(address: &Address) -> bool {
    let bits = address.to_bits();
    if is_v4(address) { bits as u32 >> 28 == 0xe } else { bits >> 120 == 0xff }
}

/// Whether it holds on one link only (`fe80::/10`, `ff02::/16` and narrower).
pub fn is_link_local(address: &Address) -> bool {
    address.is_unicast_link_local() || address.is_multicast() && matches!(address.octets()[1] & 0xf, 1 | 2)
}

/// Any address of the same version.
pub fn any_like(address: &Address) -> Address {
    if is_v4(address) { ANY_V4 } else { ANY }
}

/// Whether the first `length` bits of two addresses are the same.
pub fn same_prefix(one: &Address, other: &Address, length: u8) -> bool {
    (one.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(length)).is_none_or(|rest| rest == 0)
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
}

/// The address of a socket, and whether that takes IPv6 only, where it matters.
pub type Binding = (Address, bool);

/// Whether packets could be meant for either of two sockets that are bound so (`inet_rcv_saddr_equal`).
pub fn overlap((one, one_only): Binding, (other, other_only): Binding) -> bool {
    one == other
        || is_v4(&one) && is_v4(&other) && (is_any(&one) || is_any(&other))
        || other == ANY && !(other_only && is_v4(&one))
        || one == ANY && !(one_only && is_v4(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let local = v4(127, 0, 0, 0);
        assert!(same_prefix(&local, &v4(127, 255, 1, 2), V4_PREFIX + 8));
        assert!(!same_prefix(&local, &v4(128, 0, 0, 0), V4_PREFIX + 8));
        assert!(same_prefix(&local, &LOOPBACK, 0));
        assert!(!same_prefix(&LOOPBACK, &ANY, 128) && same_prefix(&LOOPBACK, &LOOPBACK, 128));
    }

    #[test]
    fn sockets_overlap_as_on_linux() {
        let pairs = [
            ((LOOPBACK_V4, false), (LOOPBACK_V4, false), true),
            ((LOOPBACK_V4, false), (v4(127, 0, 0, 2), false), false),
            ((LOOPBACK_V4, false), (ANY_V4, false), true),
            ((LOOPBACK_V4, false), (ANY, false), true),
            ((LOOPBACK_V4, false), (ANY, true), false),
            ((ANY_V4, false), (ANY, true), false),
            ((ANY_V4, false), (ANY, false), true),
            ((LOOPBACK, false), (ANY, true), true),
            ((LOOPBACK, false), (ANY_V4, false), false),
            ((ANY, true), (ANY, false), true),
        ];
        for (one, other, expected) in pairs {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }
}
