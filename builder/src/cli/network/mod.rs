//! How the machine reaches others, and others it: options, and the cards and the configuration that come of them.

mod plan;
mod publish;
mod values;

use std::net::IpAddr;

use clap::Args;
use isopod_manifest::{InterfaceConfig, Method, Network};

use super::Failure;
use crate::engine::MacAddress;
use values::{CardSettings, HostName, NetworkName, Publish, Subnet};

pub(super) use plan::Plan;

/// What of the network belongs to the application, wherever it runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network options")]
pub(crate) struct ConfigOptions {
    /// The machine's IPv4 address; /PREFIX unless the network is user
    #[arg(long, value_name = "IP[/PREFIX]", value_parser = values::subnet4)]
    ip: Option<Subnet>,
    /// The machine's IPv6 address; /PREFIX unless the network is user
    #[arg(long, value_name = "IP[/PREFIX]", value_parser = values::subnet6)]
    ip6: Option<Subnet>,
    /// The router to other networks, unless the network is user
    #[arg(long, value_name = "IP", value_parser = values::ip)]
    gateway: Vec<IpAddr>,
    /// The largest packet, in bytes
    #[arg(long, value_name = "BYTES", value_parser = values::mtu)]
    mtu: Option<u16>,
    /// Ask this name server
    #[arg(long, value_name = "IP", value_parser = values::ip)]
    dns: Vec<IpAddr>,
    /// Look names up in this domain
    #[arg(long, value_name = "DOMAIN", value_parser = values::domain)]
    dns_search: Vec<String>,
    /// Add a name to /etc/hosts; host-gateway for IP is this host
    #[arg(long, value_name = "NAME:IP", value_parser = values::host_name)]
    add_host: Vec<HostName>,
}

/// The network of a machine that is run.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network options")]
pub(crate) struct NetworkOptions {
    /// Publish a port of the machine on this host; without HOST on any that is free
    ///
    /// Both may be ranges: 8000-8010:80 takes the first of them that is free, 8000-8010:9000-9010 all of them.
    #[arg(short, long, value_name = "[[IP:]HOST:]GUEST[/udp]")]
    publish: Vec<Publish>,
    /// Publish all ports that the image exposes, on ports of this host that are free
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// What the machine's network card leads to: user, none, tap=NAME, bridge=NAME, socket=GROUP:PORT
    ///
    /// user, the default, is a network within QEMU that needs no rights: programs reach what this host reaches, and are reached at
    /// published ports. tap is a TAP device that is there already, bridge a bridge of this host, socket a network of all machines of
    /// this host that name the same multicast group. Given again, it adds a card. Settings of one card follow it:
    /// tap=tap0,ip=10.1.0.2/24,gateway=10.1.0.1,mac=52:54:00:00:00:01,mtu=9000.
    #[arg(long, alias = "net", value_name = "NETWORK")]
    network: Vec<NetworkName>,
    /// The network card's address
    #[arg(long, visible_alias = "mac", value_name = "MAC", value_parser = values::mac)]
    mac_address: Option<MacAddress>,
    #[command(flatten)]
    config: ConfigOptions,
}

impl ConfigOptions {
    /// What an image is built with. Without a word of its own a card configures itself, wherever the image is run.
    pub fn network(&self) -> Result<Network, Failure> {
        let card = self.card(None);
        let interfaces =
            if card == CardSettings::default() { Vec::new() } else { vec![automatic(&card, None)?] };
        Ok(Network { interfaces, ..self.names(None)? })
    }

    /// The settings of the first card.
    fn card(&self, mac: Option<MacAddress>) -> CardSettings {
        CardSettings { mac, ip: self.ip, ip6: self.ip6, gateways: self.gateway.clone(), mtu: self.mtu }
    }

    /// What is the same whatever the cards are. `host` is this host's address as the machine sees it.
    fn names(&self, host: Option<IpAddr>) -> Result<Network, Failure> {
        let mut hosts = Vec::new();
        for HostName { name, address } in &self.add_host {
            let address = address.or(host).ok_or_else(|| {
                let what = format!("this host has no address for {name} that the machine would know");
                Failure::new(what, "host-gateway is known with --network user: write the address here")
            })?;
            hosts.push((address, name.clone()));
        }
        Ok(Network {
            interfaces: Vec::new(),
            nameservers: self.dns.clone(),
            search: self.dns_search.clone(),
            hosts,
        })
    }
}

/// A card that configures itself, but for what is said. `built` is what the image was built with for it.
fn automatic(card: &CardSettings, built: Option<&InterfaceConfig>) -> Result<InterfaceConfig, Failure> {
    let built = built.cloned().unwrap_or_default();
    let method = |subnet: Option<Subnet>, built: Method, is_ipv6: bool| {
        let gateway = card.gateways.iter().copied().find(|gateway| gateway.is_ipv6() == is_ipv6);
        match subnet {
            Some(Subnet { address, prefix: Some(prefix) }) if gateway != Some(address) => {
                Ok(Method::Static { address, prefix, gateway })
            }
            Some(Subnet { address, prefix: Some(_) }) => Err(Failure::new(
                format!("{address} is both the machine's and the router's"),
                "name two addresses",
            )),
            Some(Subnet { address, prefix: None }) => {
                let flag = if is_ipv6 { "--ip6" } else { "--ip" };
                let bits = if is_ipv6 { 64 } else { 24 };
                Err(Failure::new(
                    format!("it is not said how large the network of {address} is"),
                    format!("put the length of its prefix behind it: {flag} {address}/{bits}"),
                ))
            }
            None => match gateway {
                Some(gateway) => Err(Failure::new(
                    format!("a router {gateway} is given, but no address of the machine in its network"),
                    "give one with --ip or --ip6, or leave out --gateway".to_owned(),
                )),
                None => Ok(built),
            },
        }
    };
    let (ipv4, ipv6) = (method(card.ip, built.ipv4, false)?, method(card.ip6, built.ipv6, true)?);
    Ok(InterfaceConfig { ipv4, ipv6, mtu: card.mtu.or(built.mtu) })
}
