//! Ancillary data at the levels of IP: ip(7), ipv6(7), `IP_PKTINFO` and its kin.

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::clock;
use isopod_net::address::{ANY, Address, SocketAddress, is_v4};
use isopod_net::endpoint::Datagram;
use isopod_net::icmp::{Origin, Report};

use super::address::shown;
use super::options::{self, IpOptions, SOL_IP, SOL_IPV6};
use super::{AF_INET, AF_INET6};
use crate::socket::control::Part;
use crate::socket::options as socket;

/// What a program says of a single message.
#[derive(Clone, Copy, Debug)]
pub struct IpControl {
    /// From which address.
    pub source: Address,
    /// By which interface.
    pub interface: u32,
    /// Its hop limit.
    pub hop_limit: Option<u8>,
    /// Its traffic class.
    pub traffic_class: Option<u8>,
    /// How long the messages are that it is cut into.
    pub segment: Option<u16>,
}

impl Default for IpControl {
    fn default() -> Self {
        Self { source: ANY, interface: 0, hop_limit: None, traffic_class: None, segment: None }
    }
}

/// `IPV6_PKTINFO`
const PACKET_INFO_V6: u32 = 50;
/// `IPV6_HOPLIMIT`
const HOP_LIMIT_V6: u32 = 52;
/// `IPV6_TCLASS`
const CLASS_V6: u32 = 67;
/// The same for IPv4.
const PACKET_INFO: u32 = options::PACKET_INFO.1;
const TTL: u32 = options::TTL.1;
const TOS: u32 = options::TOS.1;
/// `IP_ORIGDSTADDR`, `IPV6_ORIGDSTADDR`
const DESTINATION: u32 = options::RECEIVE_DESTINATION.1;
const DESTINATION_V6: u32 = options::RECEIVE_DESTINATION_V6.1;

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A number from -1, which stands for what is usual, to 255.
fn byte(data: &[u8]) -> Result<Option<u8>, Errno> {
    match options::number_or_byte(data) {
        _ if data.is_empty() => Err(Errno::EINVAL),
        -1 => Ok(None),
        number => u8::try_from(number).map(Some).map_err(|_| Errno::EINVAL),
    }
}

/// Understands a part on a socket of `family` (`ip_cmsg_send`, `ip6_datagram_send_ctl`). EINVAL for what is not known.
pub fn understand(
    family: u16,
    (level, kind): (u32, u32),
    data: &[u8],
    said: &mut IpControl,
) -> Result<(), Errno> {
    match (level, kind) {
        (SOL_IPV6, _) if family == AF_INET => {}
        (SOL_IPV6, PACKET_INFO_V6) => {
            let octets: [u8; 16] =
                data.get(..16).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::EINVAL)?;
            said.source = Address::from(octets);
            said.interface = word(data, 16).ok_or(Errno::EINVAL)?;
        }
        (SOL_IPV6, HOP_LIMIT_V6) if data.len() == 4 => said.hop_limit = byte(data)?,
        (SOL_IPV6, CLASS_V6) if data.len() == 4 => said.traffic_class = byte(data)?,
        (SOL_IPV6, _) => return Err(Errno::EINVAL),
        (SOL_IP, PACKET_INFO) if data.len() == 12 => {
            said.interface = word(data, 0).ok_or(Errno::EINVAL)?;
            said.source = isopod_net::address::v4(data[4], data[5], data[6], data[7]);
        }
        (SOL_IP, TTL) if data.len() == 4 => {
            let hops = byte(data)?.filter(|hops| *hops > 0);
            said.hop_limit = Some(hops.ok_or(Errno::EINVAL)?);
        }
        (SOL_IP, TOS) if matches!(data.len(), 1 | 4) => said.traffic_class = byte(data)?,
        options::SEGMENT => {
            let size = data.try_into().map_err(|_| Errno::EINVAL)?;
            said.segment = Some(u16::from_ne_bytes(size));
        }
        (SOL_IP, _) if family == AF_INET => return Err(Errno::EINVAL),
        _ => {}
    }
    Ok(())
}

/// What a message tells a socket that wants to know (`ip_cmsg_recv_offset`, `ip6_datagram_recv_ctl`).
pub fn about(datagram: &Datagram, family: u16, options: &IpOptions, parts: &mut Vec<Part>) {
    let header = &datagram.header;
    let v4 = is_v4(&header.source);
    let destination = header.destination.octets();
    let interface = header.interface.to_ne_bytes();
    let to = SocketAddress { address: header.destination, port: datagram.ports.1 };
    let has_port = to.port != 0;
    let mut put = |level, kind, data: &[u8]| parts.push(Part { level, kind, data: data.to_vec() });
    if family == AF_INET6 && options.has(options::RECEIVE_PACKET_INFO) {
        put(SOL_IPV6, PACKET_INFO_V6, &[&destination[..], &interface].concat());
    }
    if v4 {
        if options.has(options::PACKET_INFO) {
            put(SOL_IP, PACKET_INFO, &[&interface[..], &destination[12..], &destination[12..]].concat());
        }
        if options.has(options::RECEIVE_TTL) {
            put(SOL_IP, TTL, &u32::from(header.hop_limit).to_ne_bytes());
        }
        if options.has(options::RECEIVE_TOS) {
            put(SOL_IP, TOS, &[header.traffic_class]);
        }
        if has_port && options.has(options::RECEIVE_DESTINATION) {
            put(SOL_IP, DESTINATION, shown(AF_INET, &to, 0).bytes());
        }
    } else {
        if options.has(options::RECEIVE_HOPS) {
            put(SOL_IPV6, HOP_LIMIT_V6, &u32::from(header.hop_limit).to_ne_bytes());
        }
        if options.has(options::RECEIVE_CLASS) {
            put(SOL_IPV6, CLASS_V6, &u32::from(header.traffic_class).to_ne_bytes());
        }
        if has_port && options.has(options::RECEIVE_DESTINATION_V6) {
            put(SOL_IPV6, DESTINATION_V6, shown(AF_INET6, &to, header.interface).bytes());
        }
    }
}

/// What a message tells any socket that wants to know: when it came, and how many were lost (`__sock_recv_cmsgs`).
pub fn about_arrival(datagram: &Datagram, options: &socket::Options, parts: &mut Vec<Part>) {
    let ago = clock::monotonic_ns().saturating_sub(datagram.at);
    let at = clock::realtime_ns().saturating_sub(ago);
    options.set_stamp(at);
    tell_time(at, options, parts);
    if options.has(socket::OVERFLOW) && datagram.dropped > 0 {
        let (level, data) = (socket::SOL_SOCKET, datagram.dropped.to_ne_bytes().to_vec());
        parts.push(Part { level, kind: socket::OVERFLOW, data });
    }
}

/// When something came, to a socket that wants to know.
pub fn tell_time(at: u64, options: &socket::Options, parts: &mut Vec<Part>) {
    let mut put = |kind, data: Vec<u8>| parts.push(Part { level: socket::SOL_SOCKET, kind, data });
    let words = |fraction: u64| [(at / 1_000_000_000).to_ne_bytes(), fraction.to_ne_bytes()].concat();
    if options.has(socket::TIMESTAMP) {
        put(socket::TIMESTAMP, words(at % 1_000_000_000 / 1000));
    }
    if options.has(socket::TIMESTAMP_NS) {
        put(socket::TIMESTAMP_NS, words(at % 1_000_000_000));
    }
}

/// An error as a message tells it: `struct sock_extended_err`, and who said so.
pub fn of_report(report: &Report, family: u16) -> Part {
    let v4 = report.is_v4();
    let mut data = u32::from(super::errno(report.error).number()).to_ne_bytes().to_vec();
    data.extend([report.origin as u8, report.kind.0, report.kind.1, 0]);
    data.extend(report.info.to_ne_bytes());
    data.extend([0; 4]);
    let offender = SocketAddress { address: report.offender, port: 0 };
    let told = shown(if family == AF_INET || v4 { AF_INET } else { AF_INET6 }, &offender, report.interface);
    let length = told.bytes().len();
    if report.origin == Origin::Local {
        data.resize(data.len() + length, 0);
    } else {
        data.extend_from_slice(told.bytes());
    }
    let name = if v4 { options::RECEIVE_ERRORS } else { options::RECEIVE_ERRORS_V6 };
    Part { level: name.0, kind: name.1, data }
}
