//! What `/proc/net` tells of the Internet: `proc_pid_net(5)`.

use core::sync::atomic::Ordering;

use isopod_fs::{Errno, Result};
use isopod_net::address::{Address, V4_PREFIX, is_v4};
use isopod_net::interface::{FOREVER, SCOPE_HOST, SCOPE_LINK};

use super::subject::Subject;
use super::table::put;
use super::text::Text;
use crate::socket::inet::{
    AF_INET, AF_INET6, counters, interfaces, routes, stack,
    table::{All, DATAGRAMS, RAWS, STREAMS, Shown, of_nobody},
};

/// `TCP_TIME_WAIT`
const TIME_WAIT: u8 = 6;
/// Each line of a table of IPv4 is so long.
const LINE: usize = 149;
/// The same of UDP.
const LINE_UDP: usize = 127;

/// An address as words in the machine's order, and a port.
fn put_place(text: &mut Text, family: u16, address: &Address, port: u16) {
    let octets = address.octets();
    let words = octets.as_chunks::<4>().0;
    let words = if family == AF_INET { &words[3..] } else { words };
    for word in words {
        put!(text, "{:08X}", u32::from_ne_bytes(*word));
    }
    put!(text, ":{port:04X}");
}

fn put_socket(text: &mut Text, slot: usize, shown: &Shown, tail: &str, (width, length): (usize, usize)) {
    let begin = text.bytes().len();
    put!(text, "{slot:width$}: ");
    put_place(text, shown.family, &shown.local.address, shown.local.port);
    text.put(b" ");
    put_place(text, shown.family, &shown.remote.address, shown.remote.port);
    put!(
        text,
        " {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5}        0 {} {tail}",
        shown.state,
        shown.sending,
        shown.receiving,
        shown.owner,
        shown.inode
    );
    pad(text, begin, length);
}

/// Ends a line that has a length.
fn pad(text: &mut Text, begin: usize, length: usize) {
    while text.bytes().len() - begin < length {
        text.put(b" ");
    }
    text.put(b"\n");
}

/// The heading of a table, of messages or of connections.
fn put_heading(text: &mut Text, family: u16, messages: bool, length: usize) {
    let first = if length == LINE_UDP { "   sl" } else { "  sl" };
    let tail = if messages { " ref pointer drops" } else { "" };
    let places = if family == AF_INET {
        "local_address rem_address  "
    } else {
        "local_address                         remote_address                       "
    };
    let begin = text.bytes().len();
    put!(text, "{first}  {places} st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode{tail}");
    pad(text, begin, length);
}

fn streams(family: u16, text: &mut Text) -> Result<()> {
    let length = if family == AF_INET { LINE } else { 0 };
    put_heading(text, family, false, length);
    let all = STREAMS.shown(family)?.into_iter().chain(of_nobody(family)?);
    for (slot, shown) in all.enumerate() {
        let tail =
            if shown.state == TIME_WAIT { "3 0000000000000000" } else { "1 0000000000000000 100 0 0 10 0" };
        put_socket(text, slot, &shown, tail, (4, length));
    }
    Ok(())
}

fn messages(all: &All, family: u16, text: &mut Text, (width, length): (usize, usize)) -> Result<()> {
    put_heading(text, family, true, length);
    for (slot, shown) in all.shown(family)?.iter().enumerate() {
        let mut tail = Text::default();
        put!(&mut tail, "2 0000000000000000 {}", shown.dropped);
        let tail = tail.finish()?;
        let tail = core::str::from_utf8(&tail).map_err(|_| Errno::EIO)?;
        put_socket(text, slot, shown, tail, (width, length));
    }
    Ok(())
}

/// `/proc/net/tcp`
pub(super) fn tcp(_: &Subject, text: &mut Text) -> Result<()> {
    streams(AF_INET, text)
}

/// `/proc/net/tcp6`
pub(super) fn tcp6(_: &Subject, text: &mut Text) -> Result<()> {
    streams(AF_INET6, text)
}

/// `/proc/net/udp`
pub(super) fn udp(_: &Subject, text: &mut Text) -> Result<()> {
    messages(&DATAGRAMS, AF_INET, text, (5, LINE_UDP))
}

/// `/proc/net/udp6`
pub(super) fn udp6(_: &Subject, text: &mut Text) -> Result<()> {
    messages(&DATAGRAMS, AF_INET6, text, (5, 0))
}

/// `/proc/net/raw`
pub(super) fn raw(_: &Subject, text: &mut Text) -> Result<()> {
    messages(&RAWS, AF_INET, text, (4, 0))
}

/// `/proc/net/raw6`
pub(super) fn raw6(_: &Subject, text: &mut Text) -> Result<()> {
    messages(&RAWS, AF_INET6, text, (5, 0))
}

/// `/proc/net/dev`
pub(super) fn dev(_: &Subject, text: &mut Text) -> Result<()> {
    text.put(b"Inter-|   Receive                                                |  Transmit\n");
    text.put(b" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n");
    for interface in interfaces()? {
        let [received, sent] = [&interface.received, &interface.sent]
            .map(|traffic| [&traffic.bytes, &traffic.packets].map(|number| number.load(Ordering::Relaxed)));
        put!(text, "{:>6}: {:7} {:7} ", interface.name, received[0], received[1]);
        put!(text, "{:4} {:4} {:4} {:5} {:10} {:9} ", 0, 0, 0, 0, 0, 0);
        put!(text, "{:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}\n", sent[0], sent[1], 0, 0, 0, 0, 0, 0);
    }
    Ok(())
}

/// `/proc/net/route`: what leads to others, by IPv4.
pub(super) fn route(_: &Subject, text: &mut Text) -> Result<()> {
    const LINE: usize = 127;
    let mut line = Text::default();
    put!(&mut line, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    let mut end = |mut line: Text| -> Result<()> {
        while line.bytes().len() < LINE {
            line.put(b" ");
        }
        text.put_line(&line.finish()?);
        Ok(())
    };
    end(line)?;
    let interfaces = interfaces()?;
    let mut all = routes()?;
    all.sort_unstable_by_key(isopod_net::route::Route::place_in_dump);
    let others = all
        .iter()
        .filter(|route| route.kind == isopod_net::route::Kind::Unicast && is_v4(&route.destination));
    for route in others {
        let word = |address: &Address| u32::from_ne_bytes(*address.octets().last_chunk().unwrap_or(&[0; 4]));
        let name =
            interfaces.iter().find(|known| known.index == route.interface).map_or("*", |known| &known.name);
        let gateway = route.gateway.as_ref().map_or(0, word);
        let flags = 1 | if route.gateway.is_some() { 2 } else { 0 };
        let mask = u32::MAX.checked_shl(32 - u32::from(route.prefix - V4_PREFIX)).unwrap_or(0).swap_bytes();
        let mut line = Text::default();
        put!(
            &mut line,
            "{name}\t{:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{}\t{mask:08X}\t0\t0\t0",
            word(&route.destination),
            route.metric
        );
        end(line)?;
    }
    Ok(())
}

/// `/proc/net/arp`: the neighbours of IPv4.
pub(super) fn arp(text: &mut Text) {
    text.put(b"IP address       HW type     Flags       HW address            Mask     Device\n");
    stack().neighbours(&mut |interface, address, hardware, _| {
        if let Some(address) = address.to_ipv4_mapped() {
            put!(text, "{address:<16} 0x1         0x2         ");
            for (place, byte) in hardware.iter().enumerate() {
                put!(text, "{}{byte:02x}", if place == 0 { "" } else { ":" });
            }
            put!(text, "     *        {}\n", interface.name);
        }
    });
}

/// `/proc/net/ipv6_route`
pub(super) fn ipv6_route(_: &Subject, text: &mut Text) -> Result<()> {
    /// `RTF_UP`, `RTF_GATEWAY`, `RTF_HOST`, `RTF_LOCAL`
    const UP: u32 = 1;
    const GATEWAY: u32 = 2;
    const HOST: u32 = 4;
    const LOCAL: u32 = 0x8000_0000;
    let (interfaces, all) = (interfaces()?, routes()?);
    for route in all.iter().filter(|route| !is_v4(&route.destination)) {
        let name =
            interfaces.iter().find(|known| known.index == route.interface).map_or("*", |known| &known.name);
        let kind = if route.kind == isopod_net::route::Kind::Local { LOCAL } else { 0 };
        let far = route.gateway.map_or(0, |_| GATEWAY);
        let flags = UP | kind | far | if route.prefix == 128 && kind == 0 { HOST } else { 0 };
        put!(
            text,
            "{:032x} {:02x} {:032x} 00 {:032x} {:08x} {:08x} {:08x} {flags:08x} {name:>8}\n",
            route.destination.to_bits(),
            route.prefix,
            0,
            route.gateway.map_or(0, Address::to_bits),
            route.metric,
            1,
            0
        );
    }
    Ok(())
}

/// `/proc/net/if_inet6`
pub(super) fn if_inet6(_: &Subject, text: &mut Text) -> Result<()> {
    /// `IFA_F_PERMANENT`
    const PERMANENT: u8 = 0x80;
    for interface in interfaces()? {
        let addresses = interface.addresses().map_err(|_| Errno::ENOMEM)?;
        for known in addresses.iter().filter(|known| !is_v4(&known.address)) {
            // `IPV6_ADDR_LOOPBACK`, `IPV6_ADDR_LINKLOCAL`, or any.
            let scope = match known.scope {
                SCOPE_HOST => 0x10,
                SCOPE_LINK => 0x20,
                _ => 0,
            };
            put!(
                text,
                "{:032x} {:02x} {:02x} {scope:02x} {:02x} {:>8}\n",
                known.address.to_bits(),
                interface.index,
                known.prefix,
                if known.valid_until == FOREVER { PERMANENT } else { 0 },
                interface.name
            );
        }
    }
    Ok(())
}

/// How many sockets of a family there are of TCP, of UDP, and of whole packets.
fn counts(family: u16) -> Result<[usize; 3]> {
    Ok([STREAMS.shown(family)?.len(), DATAGRAMS.shown(family)?.len(), RAWS.shown(family)?.len()])
}

/// `/proc/net/sockstat`
pub(super) fn sockstat(_: &Subject, text: &mut Text) -> Result<()> {
    let [streams, datagrams, raws] = counts(AF_INET)?;
    let waits = of_nobody(AF_INET)?.iter().filter(|shown| shown.state == TIME_WAIT).count();
    put!(text, "sockets: used {}\n", streams + datagrams + raws);
    put!(text, "TCP: inuse {streams} orphan 0 tw {waits} alloc {streams} mem 0\n");
    put!(text, "UDP: inuse {datagrams} mem 0\nUDPLITE: inuse 0\nRAW: inuse {raws}\nFRAG: inuse 0 memory 0\n");
    Ok(())
}

/// `/proc/net/sockstat6`
pub(super) fn sockstat6(_: &Subject, text: &mut Text) -> Result<()> {
    let [streams, datagrams, raws] = counts(AF_INET6)?;
    put!(text, "TCP6: inuse {streams}\nUDP6: inuse {datagrams}\nUDPLITE6: inuse 0\nRAW6: inuse {raws}\n");
    put!(text, "FRAG6: inuse 0 memory 0\n");
    Ok(())
}

/// `/proc/net/snmp`: what is counted; the rest of Linux's counters are not kept.
#[expect(clippy::unnecessary_wraps, reason = "it is a row of a table")]
pub(super) fn snmp(_: &Subject, text: &mut Text) -> Result<()> {
    let counters = counters();
    let [received, refused, sent, dropped] =
        [&counters.udp_received, &counters.udp_refused, &counters.udp_sent, &counters.udp_dropped]
            .map(|number| number.load(Ordering::Relaxed));
    text.put(b"Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n");
    put!(text, "Udp: {received} {refused} {dropped} {sent} {dropped} 0 0 0 0\n");
    Ok(())
}
