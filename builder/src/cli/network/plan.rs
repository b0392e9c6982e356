//! The machine's cards, as its options and its image have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isopod_manifest::{InterfaceConfig, Manifest, Method, Network};

use super::publish::Published;
use super::values::{CardSettings, NetworkKind, NetworkName, Subnet};
use super::{NetworkOptions, automatic};
use crate::cli::Failure;
use crate::engine::{Backend, Claim, EngineError, MacAddress, Nic, Proxy, Transport, UserNetwork};

/// Cards that a machine has at the most: a microvm has eight places for virtio devices, and up to three are taken.
const CARDS_MAX: usize = 5;

/// Hosts of QEMU's user network: its router and its name server, and its machine in IPv4 and in IPv6.
const ROUTER: u8 = 2;
const NAME_SERVER: u8 = 3;
const GUEST: u8 = 15;
const GUEST6: u16 = 0x15;

/// What comes of the options.
#[derive(Debug)]
pub(in crate::cli) struct Plan {
    /// The machine's cards.
    pub nics: Vec<Nic>,
    /// How the machine is to configure them.
    pub network: Network,
    /// The host's ports, which nobody else is to get before QEMU has them.
    pub claims: Vec<Claim>,
    /// The host's ports of IPv6 addresses.
    pub proxies: Vec<Proxy>,
}

impl NetworkOptions {
    /// The cards for an application, and their configuration in place of the one that it was built with.
    pub(in crate::cli) fn plan(&self, manifest: &Manifest) -> Result<Plan, Failure> {
        let cards = self.cards()?;
        let has_user = cards.iter().any(|(kind, _)| *kind == NetworkKind::User);
        let publishes = self.publish_all || !self.publish.is_empty();
        if publishes && !has_user {
            let (what, hint) = match cards.first() {
                None => ("the machine has no network", "leave out --network none"),
                Some(_) => (
                    "the machine's network is the host's own",
                    "reach the machine at its address, or add a card: --network user",
                ),
            };
            return Err(Failure::new(format!("no port can be published: {what}"), hint));
        }
        let (mut nics, mut interfaces) = (Vec::new(), Vec::new());
        let exposed = if self.publish_all { &manifest.ports[..] } else { &[] };
        let Published { forwards, mut claims, proxies, .. } = Published::new(&self.publish, exposed)?;
        let mut forwards = Some(forwards);
        let (mut users, mut has_router) = (0, false);
        for (number, (kind, card)) in cards.into_iter().enumerate() {
            let built = manifest.network.interfaces.get(number);
            let (backend, config) = match kind {
                NetworkKind::User => {
                    let config = user(&card, users, !has_router, built)?;
                    // Those of the first network lead to the machine.
                    let forwards = forwards.take().unwrap_or_default();
                    let network = UserNetwork { index: users, guest: address(&config), forwards };
                    users += 1;
                    (Backend::User(network), config)
                }
                NetworkKind::Tap(name) => (Backend::Tap(name), automatic(&card, built)?),
                NetworkKind::Bridge(name) => (Backend::Bridge(name), automatic(&card, built)?),
                NetworkKind::Socket(group) => (Backend::Socket(group), automatic(&card, built)?),
                NetworkKind::None => continue,
            };
            has_router |= matches!(config.ipv4, Method::Static { gateway: Some(_), .. });
            let mac = match (card.mac, &backend) {
                // Who meets other machines needs an address that is its own.
                (None, Backend::Tap(_) | Backend::Bridge(_) | Backend::Socket(_)) => {
                    Some(MacAddress::random().map_err(|error| {
                        Failure::new(
                            format!("cannot read random numbers: {error}"),
                            "name an address with --mac-address",
                        )
                    })?)
                }
                (mac, _) => mac,
            };
            let nic = Nic { backend, mac };
            nic.check().map_err(EngineError::from)?;
            nics.push(nic);
            interfaces.push(config);
        }
        let host = has_user.then(|| user4(0, ROUTER).into());
        let mut network = Network { interfaces, ..self.config.names(host)? };
        let Network { nameservers, search, hosts, .. } = manifest.network.clone();
        if network.nameservers.is_empty() {
            network.nameservers = nameservers;
        }
        if network.nameservers.is_empty() && has_user {
            network.nameservers = vec![user4(0, NAME_SERVER).into()];
        }
        if network.search.is_empty() {
            network.search = search;
        }
        network.hosts.extend(hosts);
        // Of UDP only one socket can have a port: QEMU's.
        claims.retain(|claim| claim.transport == Transport::Tcp);
        Ok(Plan { nics, network, claims, proxies })
    }

    /// The cards that were asked for. Settings that stand by themselves are the first one's.
    fn cards(&self) -> Result<Vec<(NetworkKind, CardSettings)>, Failure> {
        let own = self.config.card(self.mac_address);
        if self.network.is_empty() {
            return Ok(vec![(NetworkKind::User, own)]);
        }
        let is_none = |network: &NetworkName| network.kind == NetworkKind::None;
        if self.network.iter().any(is_none) {
            if self.network.len() > 1 {
                return Err(Failure::new(
                    "a machine without a network has no cards",
                    "leave out --network none",
                ));
            }
            if own != CardSettings::default() {
                return Err(Failure::new(
                    "a machine without a network has no addresses",
                    "leave out --network none, or the settings of its card",
                ));
            }
            return Ok(Vec::new());
        }
        if self.network.len() > CARDS_MAX {
            return Err(Failure::new(
                format!("a machine has at most {CARDS_MAX} network cards"),
                "leave out some of --network",
            ));
        }
        let mut cards: Vec<_> =
            self.network.iter().map(|network| (network.kind.clone(), network.card.clone())).collect();
        if own != CardSettings::default() {
            let first = &mut cards[0].1;
            if *first != CardSettings::default() {
                return Err(Failure::new(
                    "the first card has settings in --network and in options of their own",
                    "write all of them behind its name: tap=tap0,ip=10.1.0.2/24",
                ));
            }
            *first = own;
        }
        Ok(cards)
    }
}

/// The configuration of a card on QEMU's user network, where all is known before: nothing has to be asked for.
fn user(
    card: &CardSettings,
    index: u8,
    routes: bool,
    built: Option<&InterfaceConfig>,
) -> Result<InterfaceConfig, Failure> {
    if let Some(gateway) = card.gateways.first() {
        return Err(Failure::new(
            format!("the router of QEMU's user network is {}, not {gateway}", user4(index, ROUTER)),
            "leave out --gateway, or name another --network",
        ));
    }
    let static_in = |given: Option<Subnet>, own: IpAddr, prefix: u8, taken: [IpAddr; 2]| {
        let address = given.map_or(own, |subnet| subnet.address);
        let fits = is_in(address, own, prefix) && !taken.contains(&address) && !is_edge(address);
        if !fits || given.is_some_and(|subnet| subnet.prefix.is_some_and(|given| given != prefix)) {
            return Err(Failure::new(
                format!("{address} is no address of a machine in QEMU's user network"),
                format!("its machines are like {own}, with a prefix of {prefix} bits"),
            ));
        }
        Ok(Method::Static { address, prefix, gateway: routes.then_some(taken[0]) })
    };
    let (own4, own6) = (user4(index, GUEST).into(), user6(index, GUEST6).into());
    let taken4 = [user4(index, ROUTER).into(), user4(index, NAME_SERVER).into()];
    let taken6 = [user6(index, ROUTER.into()).into(), user6(index, NAME_SERVER.into()).into()];
    Ok(InterfaceConfig {
        ipv4: static_in(card.ip, own4, 24, taken4)?,
        ipv6: static_in(card.ip6, own6, 64, taken6)?,
        mtu: card.mtu.or(built.and_then(|built| built.mtu)),
    })
}

fn is_in(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) >> (32 - prefix) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) >> (128 - prefix) == 0,
        _ => false,
    }
}

/// The network's own address, or that of all in it.
fn is_edge(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => [0, 255].contains(&address.octets()[3]),
        IpAddr::V6(address) => address.segments()[4..] == [0; 4],
    }
}

/// A host of a user network, as QEMU numbers them.
fn user4(index: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2 + index, host)
}

/// The same in IPv6.
fn user6(index: u8, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfec0, 0, 0, index.into(), 0, 0, 0, host)
}

fn address(config: &InterfaceConfig) -> Ipv4Addr {
    match config.ipv4 {
        Method::Static { address: IpAddr::V4(address), .. } => address,
        _ => user4(0, GUEST),
    }
}
