//! Values of the network's options, in the forms that Docker has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::str::FromStr;

use isopod_manifest::MTU_MIN;

use crate::engine::{MacAddress, Transport};

/// `[[IP:][HOST]:]GUEST[/PROTOCOL]`, each port a range if it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    /// Which of its addresses; `None` for all of both families.
    pub ip: Option<IpAddr>,
    /// Ports of the host, one for each of the machine's, or several of which one serves; `None` where any will do.
    pub host: Option<RangeInclusive<u16>>,
    pub guest: RangeInclusive<u16>,
    pub transport: Transport,
}

impl Publish {
    /// Whether it says which port of the host leads to which of the machine.
    pub fn is_named(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.len() == self.guest.len())
    }
}

const PORT: &str = "a port is a number from 1 to 65535, or a range of them: 8000-8010";

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let transport = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err("the protocols that can be published are tcp and udp".to_owned()),
        };
        // From behind: an IPv6 address has colons, too.
        let mut parts = ports.rsplitn(3, ':');
        let guest = range(parts.next().unwrap_or_default())?;
        let host = parts.next().filter(|host| !host.is_empty()).map(range).transpose()?;
        let ip = parts.next().filter(|ip| !ip.is_empty()).map(host_address).transpose()?;
        if let Some(host) = &host
            && host.len() != guest.len()
            && guest.len() != 1
        {
            return Err(format!(
                "{} ports of the host cannot lead to {} of the machine",
                host.len(),
                guest.len()
            ));
        }
        Ok(Self { ip, host, guest, transport })
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    // Not what `parse` takes besides: a sign.
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    match port(first).zip(port(last)) {
        Some((first, last)) if first > 0 && first <= last => Ok(first..=last),
        _ => Err(PORT.to_owned()),
    }
}

fn host_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse() {
        Ok(ip @ IpAddr::V4(_)) if bare.is_none() => Ok(ip),
        Ok(ip @ IpAddr::V6(_)) if bare.is_some() => Ok(ip),
        Ok(IpAddr::V6(_)) => Err(format!("an IPv6 address stands in brackets: [{text}]:8080:80")),
        _ => Err(format!("`{text}` is not an address of this host")),
    }
}

/// `KIND[=NAME][,KEY=VALUE]...`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NetworkName {
    pub kind: NetworkKind,
    pub card: CardSettings,
}

/// What a network card leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NetworkKind {
    User,
    None,
    Tap(String),
    Bridge(String),
    Socket(SocketAddrV4),
}

/// A network card's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CardSettings {
    pub mac: Option<MacAddress>,
    pub ip: Option<Subnet>,
    pub ip6: Option<Subnet>,
    pub gateways: Vec<IpAddr>,
    pub mtu: Option<u16>,
}

impl FromStr for NetworkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let kind = match name.split_once('=').map_or((name, None), |(kind, name)| (kind, Some(name))) {
            ("user", None) => NetworkKind::User,
            ("none", None) => NetworkKind::None,
            ("tap", Some(name)) if !name.is_empty() => NetworkKind::Tap(name.to_owned()),
            ("bridge", Some(name)) if !name.is_empty() => NetworkKind::Bridge(name.to_owned()),
            ("socket", Some(group)) => NetworkKind::Socket(socket(group)?),
            _ => return Err("a network is user, none, tap=NAME, bridge=NAME or socket=GROUP:PORT".to_owned()),
        };
        let mut card = CardSettings::default();
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("mac" | "mac-address", value) => card.mac = Some(mac(value)?),
                ("ip", value) => card.ip = Some(subnet4(value)?),
                ("ip6", value) => card.ip6 = Some(subnet6(value)?),
                ("gateway", value) => card.gateways.push(ip(value)?),
                ("mtu", value) => card.mtu = Some(mtu(value)?),
                (key, _) => {
                    return Err(format!(
                        "`{key}` is none of a network's settings: mac, ip, ip6, gateway, mtu"
                    ));
                }
            }
        }
        if kind == NetworkKind::None && card != CardSettings::default() {
            return Err("no network has no settings".to_owned());
        }
        Ok(Self { kind, card })
    }
}

/// `GROUP:PORT`, a multicast address that machines of this host meet at
fn socket(text: &str) -> Result<SocketAddrV4, String> {
    let group =
        text.parse().ok().filter(|group: &SocketAddrV4| group.ip().is_multicast() && group.port() > 0);
    group.ok_or_else(|| "machines meet at a multicast address and a port, as in 239.0.0.1:5000".to_owned())
}

/// An address, and how many of its bits are the network's where that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    pub address: IpAddr,
    pub prefix: Option<u8>,
}

/// `ADDRESS[/PREFIX]` in IPv4
pub(super) fn subnet4(text: &str) -> Result<Subnet, String> {
    subnet::<Ipv4Addr>(text, 32)
        .ok_or_else(|| "an IPv4 address is as in 10.0.2.15 or 192.168.1.5/24".to_owned())
}

/// `ADDRESS[/PREFIX]` in IPv6
pub(super) fn subnet6(text: &str) -> Result<Subnet, String> {
    subnet::<Ipv6Addr>(text, 128)
        .ok_or_else(|| "an IPv6 address is as in fec0::15 or 2001:db8::5/64".to_owned())
}

fn subnet<A: FromStr + Into<IpAddr>>(text: &str, bits: u8) -> Option<Subnet> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse::<A>().ok()?.into();
    let prefix = match prefix {
        Some(prefix) => Some(prefix.parse().ok().filter(|prefix| (1..=bits).contains(prefix))?),
        None => None,
    };
    let is_a_machines = !address.is_unspecified() && !address.is_multicast();
    is_a_machines.then_some(Subnet { address, prefix })
}

/// An address of either protocol.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an address is as in 10.0.2.2 or fec0::2".to_owned())
}

/// The address of a network card.
pub(super) fn mac(text: &str) -> Result<MacAddress, String> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    let read = bytes.iter_mut().all(|byte| {
        let digits = parts.next().filter(|digits| digits.len() == 2 && !digits.starts_with('+'));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(|value| *byte = value).is_some()
    });
    // The first bit on the wire, the lowest of the first byte, marks addresses of groups (IEEE 802, 8.2).
    if !read || parts.next().is_some() || bytes[0] & 1 != 0 || bytes == [0; 6] {
        return Err(
            "a card's address is six bytes as in 52:54:00:12:34:56, the first of them even".to_owned()
        );
    }
    Ok(MacAddress(bytes))
}

/// The size of packets.
pub(super) fn mtu(text: &str) -> Result<u16, String> {
    let error = || format!("the largest packet has {MTU_MIN} to 65535 bytes");
    text.parse().ok().filter(|mtu| *mtu >= MTU_MIN).ok_or_else(error)
}

/// A line of `/etc/hosts`; `None` stands for this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName {
    pub name: String,
    pub address: Option<IpAddr>,
}

/// `NAME:IP`, or `NAME=IP`; `host-gateway` stands for this host's address.
pub(super) fn host_name(text: &str) -> Result<HostName, String> {
    let form = || "a host is NAME:IP, or NAME:host-gateway for this one".to_owned();
    let (name, address) = text.split_once([':', '=']).ok_or_else(form)?;
    let name = domain(name)?;
    let bare = address.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(address);
    let address = if bare == "host-gateway" { None } else { Some(bare.parse().map_err(|_| form())?) };
    Ok(HostName { name, address })
}

/// The name of a host or a domain.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let is_name = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a name of hosts")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> Result<Publish, String> {
        text.parse()
    }

    #[test]
    fn ports_are_dockers() {
        let tcp = |ip: &str, host, guest| {
            Ok(Publish { ip: ip.parse().ok(), host, guest, transport: Transport::Tcp })
        };
        assert_eq!(publish("8080:80"), tcp("", Some(8080..=8080), 80..=80));
        assert_eq!(publish("127.0.0.1:8080:80/TCP"), tcp("127.0.0.1", Some(8080..=8080), 80..=80));
        assert_eq!(publish("[::1]:8080:80"), tcp("::1", Some(8080..=8080), 80..=80));
        assert_eq!(publish("[::]::80"), tcp("::", None, 80..=80));
        assert_eq!(publish("80"), tcp("", None, 80..=80));
        assert_eq!(publish("127.0.0.1::80"), tcp("127.0.0.1", None, 80..=80));
        assert_eq!(publish("8000-8010:9000-9010"), tcp("", Some(8000..=8010), 9000..=9010));
        assert_eq!(publish("8000-8010:80"), tcp("", Some(8000..=8010), 80..=80));
        assert_eq!(publish("53:53/udp").unwrap().transport, Transport::Udp);
        for (bad, says) in [
            ("0:80", PORT),
            ("80:0", PORT),
            ("65536:80", PORT),
            ("8080:", PORT),
            ("", PORT),
            ("+80", PORT),
            ("90-80", PORT),
            ("80/sctp", "tcp and udp"),
            ("8000-8010:9000-9001", "11 ports of the host cannot lead to 2 of the machine"),
            ("8000:9000-9001", "1 ports of the host cannot lead to 2 of the machine"),
            ("nowhere:8080:80", "`nowhere` is not an address"),
            ("::1:8080:80", "in brackets: [::1]:8080:80"),
            ("[127.0.0.1]:8080:80", "`[127.0.0.1]` is not an address"),
        ] {
            let error = publish(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn networks_have_settings() {
        let network: NetworkName =
            "tap=tap0,mac=02:00:00:00:00:01,ip=10.1.0.2/24,gateway=10.1.0.1,mtu=9000".parse().unwrap();
        assert_eq!(network.kind, NetworkKind::Tap("tap0".to_owned()));
        let ip = Subnet { address: [10, 1, 0, 2].into(), prefix: Some(24) };
        assert_eq!((network.card.ip, network.card.mtu), (Some(ip), Some(9000)));
        let network: NetworkName = "socket=239.0.0.1:5000,mtu=1400".parse().unwrap();
        assert_eq!(network.kind, NetworkKind::Socket(SocketAddrV4::new(Ipv4Addr::new(239, 0, 0, 1), 5000)));
        for bad in [
            "host",
            "tap",
            "bridge=",
            "socket=239.0.0.1",
            "socket=127.0.0.1:5000",
            "socket=239.0.0.1:0",
            "user=x",
            "none,mtu=1500",
            "user,colour=red",
            "user,ip=::1",
            "user,mtu=67",
        ] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_those_of_machines() {
        assert_eq!(mac("52-54-00-12-34-aB"), Ok(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0xab])));
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "01:00:00:00:00:00",
            "00:00:00:00:00:00",
            "5:54:00:12:34:56",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
        for bad in ["", "10.0.2", "10.0.2.15/33", "10.0.2.15/0", "0.0.0.0", "224.0.0.1", "fec0::15"] {
            assert!(subnet4(bad).is_err(), "{bad}");
        }
        assert_eq!(subnet6("fec0::15/64").unwrap().prefix, Some(64));
    }

    #[test]
    fn hosts_have_names_and_addresses() {
        let host =
            |name: &str, address: &str| Ok(HostName { name: name.to_owned(), address: address.parse().ok() });
        assert_eq!(host_name("db:10.0.0.5"), host("db", "10.0.0.5"));
        assert_eq!(host_name("db=::1"), host("db", "::1"));
        assert_eq!(host_name("db:[::1]"), host("db", "::1"));
        assert_eq!(host_name("me:host-gateway"), host("me", ""));
        for bad in ["db", "db:", ":10.0.0.5", "two words:10.0.0.5", "db:10.0.0"] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panic(text: String) {
            let _ = publish(&text);
            let _ = text.parse::<NetworkName>();
            let _ = (mac(&text), subnet4(&text), subnet6(&text), host_name(&text), mtu(&text));
        }
    }
}
