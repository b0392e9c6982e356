//! How the machine reaches others.

pub(crate) mod records;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// How the machine reaches others. Encoded as a list of byte strings, each a record; `network/records.rs` describes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The network cards, in the order in which the machine lists them. A card that has no entry configures itself.
    pub interfaces: Vec<InterfaceConfig>,
    /// Name servers, in place of those that DHCP or routers name; the first is asked first (`resolv.conf(5)`).
    pub nameservers: Vec<IpAddr>,
    /// Domains in which names without a dot are looked up, in place of those that DHCP names.
    pub search: Vec<String>,
    /// Names and addresses that `/etc/hosts` has besides the machine's own.
    pub hosts: Vec<(IpAddr, String)>,
}

/// A network card's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Its IPv4 address.
    pub ipv4: Method,
    /// Its IPv6 address besides the one of its link.
    pub ipv6: Method,
    /// The largest packet in bytes, where it is to be less than what the card and the network take.
    pub mtu: Option<u16>,
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// There is none: the protocol is not used.
    None,
    /// The network tells: DHCP for IPv4, router advertisements for IPv6.
    #[default]
    Automatic,
    /// It is given.
    Static {
        /// The address.
        address: IpAddr,
        /// How many of its leading bits are the network's.
        prefix: u8,
        /// The router to other networks, if there is one.
        gateway: Option<IpAddr>,
    },
}

/// The least packet that IPv4 can be spoken with (RFC 791, section 3.2); Linux refuses network cards less.
pub const MTU_MIN: u16 = 68;

/// The longest name of a host or domain (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 255;

impl Network {
    /// Whether it can be obeyed.
    pub(crate) fn is_valid(&self) -> bool {
        // Names become words of files, a line each: nothing in them may end a word.
        let is_name =
            |name: &str| (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        self.interfaces.iter().all(InterfaceConfig::is_valid)
            && self.search.iter().all(|domain| is_name(domain))
            && self.hosts.iter().all(|(_, name)| is_name(name))
    }
}

impl InterfaceConfig {
    fn is_valid(&self) -> bool {
        self.ipv4.is_valid(false) && self.ipv6.is_valid(true) && self.mtu.is_none_or(|mtu| mtu >= MTU_MIN)
    }
}

impl Method {
    /// Whether it can be obeyed, for IPv6 or for IPv4: an address of that protocol which a machine can have, and a router's that is another.
    fn is_valid(self, ipv6: bool) -> bool {
        let Self::Static { address, prefix, gateway } = self else { return true };
        let is_machines = |ip: IpAddr| ip.is_ipv6() == ipv6 && !ip.is_unspecified() && !ip.is_multicast();
        is_machines(address)
            && (1..=if ipv6 { 128 } else { 32 }).contains(&prefix)
            && gateway.is_none_or(|gateway| is_machines(gateway) && gateway != address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Manifest};
    use alloc::vec;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::option;
    use proptest::prelude::*;

    fn decoded(network: Network) -> Result<Network, DecodeError> {
        Manifest::decode(&Manifest { network, ..Manifest::default() }.encode())
            .map(|manifest| manifest.network)
    }

    fn fixed(address: &str, prefix: u8, gateway: Option<&str>) -> Method {
        let ip = |text: &str| text.parse().unwrap();
        Method::Static { address: ip(address), prefix, gateway: gateway.map(ip) }
    }

    fn with_ipv4(ipv4: Method) -> Network {
        Network {
            interfaces: vec![InterfaceConfig { ipv4, ..InterfaceConfig::default() }],
            ..Network::default()
        }
    }

    #[test]
    fn a_manifest_without_a_network_has_cards_configure_themselves() {
        let card = InterfaceConfig { ipv4: Method::Automatic, ipv6: Method::Automatic, mtu: None };
        assert_eq!(InterfaceConfig::default(), card);
        assert_eq!(decoded(Network::default()), Ok(Network::default()));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        let refused = Err(DecodeError::Invalid("network"));
        assert!(decoded(with_ipv4(fixed("10.0.2.15", 24, Some("10.0.2.2")))).is_ok());
        for bad in [
            fixed("10.0.2.15", 33, None),
            fixed("10.0.2.15", 0, None),
            fixed("fec0::15", 64, None),
            fixed("0.0.0.0", 24, None),
            fixed("224.0.0.1", 24, None),
            fixed("10.0.2.15", 24, Some("fe80::2")),
            fixed("10.0.2.15", 24, Some("10.0.2.15")),
        ] {
            assert_eq!(decoded(with_ipv4(bad)), refused, "{bad:?}");
        }
        let ipv6 = fixed("fec0::15", 129, None);
        let card = InterfaceConfig { ipv6, ..InterfaceConfig::default() };
        assert_eq!(decoded(Network { interfaces: vec![card], ..Network::default() }), refused);
        let small = InterfaceConfig { mtu: Some(67), ..InterfaceConfig::default() };
        assert_eq!(decoded(Network { interfaces: vec![small], ..Network::default() }), refused);
        for name in ["", "two words", "line\nnameserver 10.0.0.1"] {
            assert_eq!(decoded(Network { search: vec![name.into()], ..Network::default() }), refused);
            let hosts = vec![(Ipv4Addr::LOCALHOST.into(), name.into())];
            assert_eq!(decoded(Network { hosts, ..Network::default() }), refused);
        }
    }

    fn ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
            any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()),
        ]
    }

    fn method() -> impl Strategy<Value = Method> {
        prop_oneof![
            Just(Method::None),
            Just(Method::Automatic),
            (ip(), any::<u8>(), option::of(ip())).prop_map(|(address, prefix, gateway)| Method::Static {
                address,
                prefix,
                gateway
            }),
        ]
    }

    /// Any network, whether it can be obeyed or not.
    fn network() -> impl Strategy<Value = Network> {
        let card = (method(), method(), option::of(any::<u16>()));
        let card = card.prop_map(|(ipv4, ipv6, mtu)| InterfaceConfig { ipv4, ipv6, mtu });
        let name = || "[ -~]{0,12}";
        (
            prop::collection::vec(card, 0..4),
            prop::collection::vec(ip(), 0..4),
            prop::collection::vec(name(), 0..4),
            prop::collection::vec((ip(), name()), 0..4),
        )
            .prop_map(|(interfaces, nameservers, search, hosts)| Network {
                interfaces,
                nameservers,
                search,
                hosts,
            })
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was_or_is_refused(network in network()) {
            let expected = if network.is_valid() { Ok(network.clone()) } else { Err(DecodeError::Invalid("network")) };
            prop_assert_eq!(decoded(network), expected);
        }
    }
}
