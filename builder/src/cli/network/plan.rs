//! The machine's cards, as its options and its image have them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use isopod_manifest::{InterfaceConfig, Manifest, Method, Network, Port, Protocol};

use super::values::{CardSettings, NetworkKind, NetworkName, Publish, Subnet};
use super::{NetworkOptions, automatic};
use crate::cli::{Failure, say};
use crate::engine::{
    Backend, Claim, EngineError, Forward, MacAddress, NetworkError, Nic, Transport, UserNetwork,
};

/// Cards that a machine has at the most: a microvm has eight places for virtio devices, and up to three are taken.
const CARDS_MAX: usize = 5;

/// Hosts of QEMU's user network: its router, its name server, and its machine.
const ROUTER: u8 = 2;
const NAME_SERVER: u8 = 3;
const GUEST: u8 = 15;

/// What comes of the options.
#[derive(Debug)]
pub(in crate::cli) struct Plan {
    /// The machine's cards.
    pub nics: Vec<Nic>,
    /// How the machine is to configure them.
    pub network: Network,
    /// The host's ports, which nobody else is to get before QEMU has them.
    pub claims: Vec<Claim>,
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
        let (mut nics, mut interfaces, mut claims) = (Vec::new(), Vec::new(), Vec::new());
        let (mut users, mut has_router) = (0, false);
        for (number, (kind, card)) in cards.into_iter().enumerate() {
            let built = manifest.network.interfaces.get(number);
            let (backend, config) = match kind {
                NetworkKind::User => {
                    let config = user(&card, users, !has_router, built)?;
                    let mut forwards = Vec::new();
                    if users == 0 {
                        (forwards, claims) = self.forwards(&manifest.ports)?;
                    }
                    let network = UserNetwork { index: users, guest: address(&config), forwards };
                    users += 1;
                    (Backend::User(network), config)
                }
                NetworkKind::Tap(name) => (Backend::Tap(name), automatic(&card, built)?),
                NetworkKind::Bridge(name) => (Backend::Bridge(name), automatic(&card, built)?),
                NetworkKind::None => continue,
            };
            has_router |= matches!(config.ipv4, Method::Static { gateway: Some(_), .. });
            let mac = match (card.mac, &backend) {
                // Who meets other machines needs an address that is its own.
                (None, Backend::Tap(_) | Backend::Bridge(_)) => {
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
        Ok(Plan { nics, network, claims })
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

    /// The ports that are published, each with its claim. Those that were found are told.
    fn forwards(&self, exposed: &[Port]) -> Result<(Vec<Forward>, Vec<Claim>), Failure> {
        let mut published = self.publish.clone();
        if self.publish_all {
            let is_published = |port: &Publish| {
                let mut by_hand = self.publish.iter().filter(|publish| publish.transport == port.transport);
                by_hand.any(|publish| publish.guest.contains(port.guest.start()))
            };
            published.extend(exposed.iter().copied().filter_map(of_image).filter(|port| !is_published(port)));
        }
        let mut seen = BTreeSet::new();
        let (mut forwards, mut claims) = (Vec::new(), Vec::new());
        for publish in &published {
            for (index, guest) in publish.guest.clone().enumerate() {
                let (forward, claim) = forward(publish, index, guest)?;
                let key = |ip: Ipv4Addr| (forward.transport.to_string(), forward.host.port(), ip);
                let is_any = forward.host.ip().is_unspecified();
                let others = key(Ipv4Addr::UNSPECIFIED)..=key(Ipv4Addr::BROADCAST);
                let again = seen.contains(&key(*forward.host.ip()))
                    || seen.contains(&key(Ipv4Addr::UNSPECIFIED))
                    || (is_any && seen.range(others).next().is_some());
                if again {
                    let Forward { host, transport, .. } = forward;
                    return Err(Failure::new(
                        format!("the port {}/{transport} of this host is published twice", host.port()),
                        "give each port of the machine one of its own",
                    ));
                }
                seen.insert(key(*forward.host.ip()));
                forwards.push(forward);
                claims.push(claim);
            }
        }
        Ok((forwards, claims))
    }
}

/// Where a port of the machine is published.
fn forward(publish: &Publish, index: usize, guest: u16) -> Result<(Forward, Claim), Failure> {
    let Publish { ip, host, transport, .. } = publish;
    let claim = |port| Claim::new(*transport, SocketAddrV4::new(*ip, port)).map_err(EngineError::from);
    let several = publish.guest.len() > 1;
    let claim = match host {
        None => claim(0)?,
        Some(host) if several || host.len() == 1 => claim(host.clone().nth(index).unwrap_or(*host.start()))?,
        // One of a range: the first that is free, else what stood in the way of the last.
        Some(host) => {
            let mut ports = host.clone();
            loop {
                match (ports.next().map(claim), ports.is_empty()) {
                    (Some(Err(EngineError::Network(NetworkError::Port { .. }))), false) => {}
                    (Some(claimed), _) => break claimed?,
                    (None, _) => return Err(Failure::new("there is no port to publish on", "name one")),
                }
            }
        }
    };
    if host.as_ref().is_none_or(|host| host.len() > publish.guest.len()) {
        say(format_args!("port {guest}/{transport} of the machine is {} here", claim.host));
    }
    Ok((Forward { transport: *transport, host: claim.host, guest }, claim))
}

/// A port that the image exposes, published where one is free; none of a protocol that QEMU does not carry.
fn of_image(port: Port) -> Option<Publish> {
    let transport = match port.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => return None,
    };
    Some(Publish { ip: Ipv4Addr::UNSPECIFIED, host: None, guest: port.number..=port.number, transport })
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
    let (own4, own6) = (user4(index, GUEST).into(), user6(index, GUEST.into()).into());
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
