//! Sockets of frames: packet(7), and programs that choose what a socket receives: `SO_ATTACH_FILTER`.

use libc::*;

use super::helpers::{bound, error, option, receive, send_to, set_option, socket, try_socket};
use crate::cases::helpers::{close, status_of};
use crate::cases::sockets::helpers::events;
use crate::report::Report;
use crate::sys::Errno;

const ALL: u16 = 3;
const IP: u16 = 0x800;
/// A protocol for experiments (IEEE 802).
const STRANGE: u16 = 0x88b5;
const SOL_PACKET: i32 = 263;
const LOCK_FILTER: i32 = 44;

pub fn run(t: &mut Report) {
    making(t);
    names(t);
    frames(t);
    sending(t);
    memberships(t);
    rings(t);
    filters(t);
    refused(t);
    others(t);
    bound_to_interfaces(t);
}

fn packet(kind: i32, protocol: u16) -> i32 {
    try_socket(AF_PACKET, kind | SOCK_NONBLOCK, i32::from(protocol.to_be())).expect("root may") as i32
}

/// `struct sockaddr_ll`
fn name(interface: u32, protocol: u16, hardware: &[u8]) -> Vec<u8> {
    let mut bytes = (AF_PACKET as u16).to_ne_bytes().to_vec();
    bytes.extend(protocol.to_be_bytes());
    bytes.extend(interface.to_ne_bytes());
    bytes.extend([0, 0, 0, hardware.len() as u8]);
    bytes.extend(hardware);
    bytes.resize(20, 0);
    bytes
}

fn bind(fd: i32, to: &[u8]) -> Result<usize, Errno> {
    sys!(SYS_bind, fd, to.as_ptr(), to.len())
}

fn send(fd: i32, bytes: &[u8], to: &[u8]) -> Result<usize, Errno> {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), 0, to.as_ptr(), to.len())
}

fn own_name(fd: i32) -> String {
    let (mut address, mut length) = ([0u8; 128], 128i32);
    sys!(SYS_getsockname, fd, &mut address, &mut length).expect("a name");
    format!("{:?}", &address[..length as usize])
}

/// The frames that wait: how long they are, their first bytes, and from where they are.
fn seen(fd: i32) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut bytes = [0u8; 256];
        let (mut from, mut length) = ([0u8; 128], 128i32);
        let words =
            [fd as usize, &raw mut bytes as usize, 256, 0, &raw mut from as usize, &raw mut length as usize];
        let Ok(count) = crate::sys::call(SYS_recvfrom, crate::sys::pad(&words)) else { return all };
        // Who is asked in this machine, about nothing that the program did.
        let start = if bytes[12..14] == [0x86, 0xdd] || bytes[0] >> 4 == 6 { 0 } else { 24 };
        if start == 0 {
            continue;
        }
        all.push(format!(
            "{count} {:?} from {:?}",
            &bytes[count.saturating_sub(5)..count],
            &from[..length as usize]
        ));
    }
}

fn making(t: &mut Report) {
    for (kind, protocol) in
        [(SOCK_RAW, ALL), (SOCK_DGRAM, IP), (SOCK_RAW, 0), (SOCK_STREAM, ALL), (SOCK_SEQPACKET, ALL)]
    {
        let made = try_socket(AF_PACKET, kind, i32::from(protocol.to_be()));
        t.ok(&format!("packet_{kind}_{protocol}"), made);
        if let Ok(fd) = made {
            t.show(&format!("packet_{kind}_{protocol}_type"), option(fd as i32, SOL_SOCKET, SO_TYPE));
            t.show(&format!("packet_{kind}_{protocol}_protocol"), option(fd as i32, SOL_SOCKET, SO_PROTOCOL));
            close(fd as i32);
        }
    }
    t.show(
        "packet_unprivileged",
        status_of(|| {
            sys!(SYS_setuid, 1000).expect("root may");
            try_socket(AF_PACKET, SOCK_STREAM, 0).map_or_else(|errno| errno.0, |_| 0)
        }),
    );
}

fn names(t: &mut Report) {
    let fd = packet(SOCK_RAW, ALL);
    t.show("packet_name", own_name(fd));
    t.call("packet_bind_short", sys!(SYS_bind, fd, name(1, ALL, &[]).as_ptr(), 19));
    let mut other = name(1, ALL, &[]);
    other[0] = AF_INET as u8;
    t.call("packet_bind_other_family", bind(fd, &other));
    t.call("packet_bind_nowhere", bind(fd, &name(77, ALL, &[])));
    t.call("packet_bind", bind(fd, &name(1, IP, &[])));
    t.show("packet_bound", own_name(fd));
    t.call("packet_bind_no_protocol", bind(fd, &name(1, 0, &[])));
    t.show("packet_bound_no_protocol", own_name(fd));
    t.call("packet_bind_any", bind(fd, &name(0, ALL, &[])));
    t.show("packet_bound_any", own_name(fd));
    let mut there = [0u8; 20];
    t.call("packet_peer", sys!(SYS_getpeername, fd, &mut there, &20i32));
    t.call("packet_connect", sys!(SYS_connect, fd, name(1, ALL, &[]).as_ptr(), 20));
    t.call("packet_listen", sys!(SYS_listen, fd, 1));
    t.call("packet_shutdown", sys!(SYS_shutdown, fd, SHUT_RDWR));
    t.call("packet_pair", sys!(SYS_socketpair, AF_PACKET, SOCK_RAW, 0, &mut [0i32; 2]));
    close(fd);
}

fn frames(t: &mut Report) {
    let (all, cooked, typed) = (packet(SOCK_RAW, ALL), packet(SOCK_DGRAM, ALL), packet(SOCK_RAW, IP));
    set_option(all, SOL_PACKET, PACKET_AUXDATA, 1).expect("an option");
    t.show("packet_auxiliary", option(all, SOL_PACKET, PACKET_AUXDATA));
    let udp = bound(SOCK_DGRAM, "127.0.0.1:5400");
    send_to(udp, b"seen?", "127.0.0.1:5400").expect("it goes");
    t.show("packet_events", events(all));
    t.show("packet_waiting", {
        let mut waiting = 0i32;
        sys!(SYS_ioctl, all, FIONREAD, &raw mut waiting).expect("a number");
        waiting
    });
    t.show("packet_all", seen(all).join("; "));
    t.show("packet_cooked", seen(cooked).join("; "));
    t.show("packet_typed", seen(typed).join("; "));
    t.show("packet_nothing", receive(all, 10, 0));
    let (mut counts, mut length) = ([0u32; 2], 8u32);
    t.call(
        "packet_statistics",
        sys!(SYS_getsockopt, typed, SOL_PACKET, PACKET_STATISTICS, &mut counts, &mut length),
    );
    t.show("packet_counts", format!("{counts:?} {length}"));
    sys!(SYS_getsockopt, typed, SOL_PACKET, PACKET_STATISTICS, &mut counts, &mut length).expect("counts");
    t.show("packet_counts_then", format!("{counts:?}"));
    t.call("packet_ignore", set_option(all, SOL_PACKET, 23, 1));
    t.call("packet_ignore_oddly", set_option(all, SOL_PACKET, 23, 2));
    send_to(udp, b"again", "127.0.0.1:5400").expect("it goes");
    t.show("packet_all_but_sent", seen(all).join("; "));
    send_to(udp, b"again", "127.0.0.1:5400").expect("it goes");
    let mut parts = crate::cases::sockets::helpers::parts(&[0; 20], &[0; 64]);
    t.call("packet_message", sys!(SYS_recvmsg, all, &raw mut parts.header, MSG_TRUNC));
    t.show("packet_message_flags", format!("{:#x}", parts.header.msg_flags));
    t.show("packet_message_control", format!("{:?}", &parts.control[..parts.header.msg_controllen]));
    t.call("packet_close_udp", sys!(SYS_close, udp));
    [all, cooked, typed].into_iter().for_each(close);
}

/// The header of Ethernet of a frame that the machine sends itself.
fn framed(protocol: u16, bytes: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &protocol.to_be_bytes(), bytes].concat()
}

fn sending(t: &mut Report) {
    let (raw, cooked) = (packet(SOCK_RAW, 0), packet(SOCK_DGRAM, 0));
    let watcher = packet(SOCK_RAW, ALL);
    t.call("packet_send_unbound", sys!(SYS_sendto, raw, [0u8; 20].as_ptr(), 20, 0, 0, 0));
    t.call(
        "packet_send_short_name",
        sys!(SYS_sendto, raw, [0u8; 20].as_ptr(), 20, 0, name(1, IP, &[]).as_ptr(), 19),
    );
    t.call("packet_send_nowhere", send(raw, &[0; 20], &name(77, IP, &[])));
    t.call("packet_send_short", send(raw, &[0; 13], &name(1, IP, &[])));
    t.call("packet_send_empty", send(raw, &[], &name(1, IP, &[])));
    t.call("packet_send_long", send(raw, &vec![0; 70_000], &name(1, IP, &[])));
    t.call("packet_send_strange", send(raw, &framed(STRANGE, b"whatever"), &name(1, 0, &[])));
    t.show("packet_sent_strange", seen(watcher).join("; "));
    t.call("packet_send_cooked", send(cooked, b"something", &name(1, STRANGE, &[0; 6])));
    t.show("packet_sent_cooked", seen(watcher).join("; "));
    // A datagram that was put together by hand, with no checksum.
    let udp = bound(SOCK_DGRAM, "127.0.0.1:5401");
    let mut datagram = vec![0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    let mut sum: u32 = datagram.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    datagram[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    datagram.extend([0, 9, 0x15, 0x19, 0, 13, 0, 0]);
    datagram.extend(b"hello");
    t.call("packet_send_datagram", send(cooked, &datagram, &name(1, IP, &[0; 6])));
    t.show("packet_sent_datagram", receive(udp, 20, 0));
    close(udp);
    t.call("packet_bound_bind", bind(raw, &name(1, STRANGE, &[])));
    t.call("packet_bound_send", sys!(SYS_sendto, raw, framed(STRANGE, b"x").as_ptr(), 15, 0, 0, 0));
    t.show("packet_bound_sees", seen(raw).join("; "));
    [raw, cooked, watcher].into_iter().for_each(close);
}

fn memberships(t: &mut Report) {
    let fd = packet(SOCK_RAW, 0);
    let change = |name: i32, interface: i32, kind: u16, length: u16| {
        let mut request = interface.to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(length.to_ne_bytes());
        request.extend([1, 0, 0x5e, 0, 0, 9, 0, 0]);
        sys!(SYS_setsockopt, fd, SOL_PACKET, name, request.as_ptr(), request.len())
    };
    t.call("packet_leave_before", change(PACKET_DROP_MEMBERSHIP, 1, 1, 0));
    t.call("packet_promiscuous", change(PACKET_ADD_MEMBERSHIP, 1, 1, 0));
    t.call("packet_promiscuous_again", change(PACKET_ADD_MEMBERSHIP, 1, 1, 0));
    t.call("packet_join", change(PACKET_ADD_MEMBERSHIP, 1, 0, 6));
    t.call("packet_join_long", change(PACKET_ADD_MEMBERSHIP, 1, 0, 7));
    t.call("packet_join_longer", change(PACKET_ADD_MEMBERSHIP, 1, 0, 9));
    t.call("packet_join_nowhere", change(PACKET_ADD_MEMBERSHIP, 77, 0, 6));
    for case in ["leave", "leave_again"] {
        t.call(&format!("packet_{case}"), change(PACKET_DROP_MEMBERSHIP, 1, 1, 0));
    }
    t.call("packet_join_short", sys!(SYS_setsockopt, fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &[0u8; 15], 15));
    t.call("packet_unknown", set_option(fd, SOL_PACKET, 99, 1));
    t.show("packet_get_unknown", option(fd, SOL_PACKET, 99));
    t.call("packet_other_level", set_option(fd, IPPROTO_IP, IP_TTL, 1));
    close(fd);
}

/// `PACKET_RX_RING` in its second form.
fn rings(t: &mut Report) {
    let fd = packet(SOCK_RAW, ALL);
    let (mut version, mut length) = (1i32, 4u32);
    t.call("ring_header", sys!(SYS_getsockopt, fd, SOL_PACKET, PACKET_HDRLEN, &mut version, &mut length));
    t.show("ring_header_length", version);
    version = 9;
    t.call(
        "ring_header_of_nothing",
        sys!(SYS_getsockopt, fd, SOL_PACKET, PACKET_HDRLEN, &mut version, &mut length),
    );
    t.call("ring_version_of_nothing", set_option(fd, SOL_PACKET, PACKET_VERSION, 9));
    t.call("ring_version", set_option(fd, SOL_PACKET, PACKET_VERSION, 1));
    t.call("ring_reserve", set_option(fd, SOL_PACKET, PACKET_RESERVE, 16));
    let ring = |words: [u32; 4]| sys!(SYS_setsockopt, fd, SOL_PACKET, PACKET_RX_RING, &words, 16);
    t.call("ring_odd_block", ring([1000, 1, 500, 2]));
    t.call("ring_small_frame", ring([4096, 1, 64, 64]));
    t.call("ring_odd_frame", ring([4096, 1, 1000, 4]));
    t.call("ring_wrong_count", ring([4096, 2, 1024, 7]));
    t.call("ring_no_blocks", ring([4096, 0, 1024, 4]));
    t.call("ring", ring([4096, 2, 1024, 8]));
    t.call("ring_again", ring([4096, 2, 1024, 8]));
    t.call("ring_version_then", set_option(fd, SOL_PACKET, PACKET_VERSION, 1));
    let memory =
        sys!(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).expect("a ring can be mapped");
    t.show("ring_events", events(fd));
    let place = |frame: usize, at: usize| (memory + frame * 1024 + at) as *mut u32;
    // SAFETY: the ring has eight frames of 1024 bytes, which are mapped, and words are at multiples of four.
    let word = |frame: usize, at: usize| unsafe { place(frame, at).read_volatile() };
    let udp = bound(SOCK_DGRAM, "127.0.0.1:5402");
    for round in 0..5 {
        send_to(udp, format!("number {round}").as_bytes(), "127.0.0.1:5402").expect("it goes");
    }
    t.show("ring_filled", events(fd));
    for frame in 0..8 {
        let offsets = word(frame, 12);
        let (mac, network) = (offsets & 0xffff, offsets >> 16);
        let last = mac + word(frame, 8) - 8;
        t.show(
            &format!("ring_frame_{frame}"),
            format!(
                "{} {} {} at {mac} and {network}: {:x} {:x} {:x}",
                word(frame, 0) & 1,
                word(frame, 4),
                word(frame, 8),
                word(frame, 32),
                word(frame, 40),
                word(frame, last as usize + 4),
            ),
        );
    }
    let (mut counts, mut length) = ([0u32; 2], 8u32);
    sys!(SYS_getsockopt, fd, SOL_PACKET, PACKET_STATISTICS, &mut counts, &mut length).expect("counts");
    t.show("ring_counts", format!("{counts:?}"));
    // SAFETY: as above; it gives all frames back.
    (0..8).for_each(|frame| unsafe { place(frame, 0).write_volatile(0) });
    t.show("ring_given_back", events(fd));
    send_to(udp, b"once more", "127.0.0.1:5402").expect("it goes");
    t.show("ring_goes_on", format!("{} {} {}", word(0, 0) & 1, word(1, 0) & 1, word(2, 0) & 1));
    sys!(SYS_munmap, memory, 8192).expect("it is mapped");
    t.call("ring_end", ring([0; 4]));
    [fd, udp].into_iter().for_each(close);
}

/// `struct sock_filter`
fn op(code: u16, k: u32) -> u64 {
    u64::from(code) | u64::from(k) << 32
}

fn attach(fd: i32, program: &[u64]) -> Result<usize, Errno> {
    let fprog = [program.len() as u64, program.as_ptr() as u64];
    sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, 16)
}

fn filters(t: &mut Report) {
    const RETURN: u16 = 6;
    const BYTE: u16 = 0x30;
    const HALF: u16 = 0x28;
    const EQUAL: u64 = 0x15 | 1 << 24;
    let udp = bound(SOCK_DGRAM, "127.0.0.1:5403");
    t.show("filter_extensions", option(udp, SOL_SOCKET, 48));
    t.call("filter_detach_none", set_option(udp, SOL_SOCKET, SO_DETACH_FILTER, 0));
    t.call("filter_short", sys!(SYS_setsockopt, udp, SOL_SOCKET, SO_ATTACH_FILTER, &[0u64; 2], 15));
    t.call("filter_empty", attach(udp, &[]));
    t.call("filter_bad", attach(udp, &[op(0xffff, 0)]));
    t.call("filter_nothing", attach(udp, &[op(RETURN, 0)]));
    t.call("filter_send", send_to(udp, b"one", "127.0.0.1:5403"));
    t.show("filter_dropped", receive(udp, 10, 0));
    // Those whose first byte behind the header of UDP is an `y`.
    let yes = [op(BYTE, 8), EQUAL | u64::from(b'y') << 32, op(RETURN, u32::MAX), op(RETURN, 0)];
    t.call("filter_first_byte", attach(udp, &yes));
    for text in ["no", "yes", "none", "you"] {
        send_to(udp, text.as_bytes(), "127.0.0.1:5403").expect("it goes");
    }
    t.show("filter_kept", format!("{} {}", receive(udp, 10, 0), receive(udp, 10, 0)));
    t.show("filter_kept_all", receive(udp, 10, 0));
    t.call("filter_cut", attach(udp, &[op(RETURN, 11)]));
    send_to(udp, b"abcdef", "127.0.0.1:5403").expect("it goes");
    t.show("filter_was_cut", receive(udp, 10, 0));
    t.call(
        "filter_port",
        attach(udp, &[op(HALF, 2), EQUAL | 5403 << 32, op(RETURN, u32::MAX), op(RETURN, 0)]),
    );
    send_to(udp, b"port", "127.0.0.1:5403").expect("it goes");
    t.show("filter_port_kept", receive(udp, 10, 0));
    let (mut found, mut count) = ([0u64; 4], 0u32);
    t.call(
        "filter_get_count",
        sys!(SYS_getsockopt, udp, SOL_SOCKET, SO_ATTACH_FILTER, &mut found, &mut count),
    );
    t.show("filter_count", count);
    count = 3;
    t.call(
        "filter_get_short",
        sys!(SYS_getsockopt, udp, SOL_SOCKET, SO_ATTACH_FILTER, &mut found, &mut count),
    );
    count = 4;
    t.call("filter_get", sys!(SYS_getsockopt, udp, SOL_SOCKET, SO_ATTACH_FILTER, &mut found, &mut count));
    t.show("filter_got", format!("{count} {found:x?}"));
    t.call("filter_detach", set_option(udp, SOL_SOCKET, SO_DETACH_FILTER, 0));
    t.show("filter_locked", option(udp, SOL_SOCKET, LOCK_FILTER));
    t.call("filter_unlock", set_option(udp, SOL_SOCKET, LOCK_FILTER, 0));
    t.call("filter_lock", set_option(udp, SOL_SOCKET, LOCK_FILTER, 5));
    t.show("filter_locked_then", option(udp, SOL_SOCKET, LOCK_FILTER));
    t.call("filter_unlock_then", set_option(udp, SOL_SOCKET, LOCK_FILTER, 0));
    t.call("filter_attach_locked", attach(udp, &[op(RETURN, 0)]));
    t.call("filter_detach_locked", set_option(udp, SOL_SOCKET, SO_DETACH_FILTER, 0));
    close(udp);
}

/// Programs of which the kernel says that they cannot be.
fn refused(t: &mut Report) {
    let udp = socket(AF_INET, SOCK_DGRAM);
    let end = op(6, 0);
    for (case, program) in [
        ("modulo", vec![op(0x94, 3), end]),
        ("modulo_0", vec![op(0x94, 0), end]),
        ("divide_0", vec![op(0x34, 0), end]),
        ("shift", vec![op(0x64, 32), end]),
        ("ancillary", vec![op(0x20, 0xffff_f000), end]),
        ("ancillary_odd", vec![op(0x20, 0xffff_f001), end]),
        ("ancillary_last", vec![op(0x20, 0xffff_f03c), end]),
        ("ancillary_beyond", vec![op(0x20, 0xffff_f040), end]),
        ("network", vec![op(0x30, 0xfff0_0000), end]),
        ("indirect", vec![op(0x50, 1), end]),
        ("header_length", vec![op(0xb1, 0), end]),
        ("header_length_of_a_word", vec![op(0xa1, 0), end]),
        ("index_from_packet", vec![op(0x21, 0), end]),
        ("cell", vec![op(0x60, 0), end]),
        ("jump", vec![op(5, 1), end]),
        ("no_end", vec![op(0, 0)]),
    ] {
        t.call(&format!("filter_{case}"), attach(udp, &program));
    }
    close(udp);
}

/// Other sockets that are filtered.
fn others(t: &mut Report) {
    let packets = packet(SOCK_RAW, IP);
    let udp = bound(SOCK_DGRAM, "127.0.0.1:5404");
    // Datagrams of UDP, told by the header of IP wherever that begins; 40 bytes of them.
    let program = [op(0x30, 0xfff0_0009), 0x15 | 1 << 24 | 17 << 32, op(6, 40), op(6, 0)];
    t.call("filter_packets", attach(packets, &program));
    send_to(udp, b"a datagram", "127.0.0.1:5404").expect("it goes");
    t.show("filter_packets_kept", seen(packets).join("; "));
    t.call("filter_kind", attach(packets, &[op(0x20, 0xffff_f004), 0x16]));
    send_to(udp, b"a datagram", "127.0.0.1:5404").expect("it goes");
    t.show("filter_kind_of_ours", seen(packets).join("; "));
    t.show("filter_error", error(packets));
    close(packets);
    let raw = try_socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP).expect("root may") as i32;
    t.call("filter_raw", attach(raw, &[op(0x80, 0), op(0x16, 0)]));
    send_to(udp, b"whole", "127.0.0.1:5404").expect("it goes");
    let mut bytes = [0; 64];
    t.call("filter_raw_kept", sys!(SYS_recvfrom, raw, &mut bytes, 64, 0, 0, 0));
    t.call(
        "filter_raw_indirect",
        attach(raw, &[op(0xb1, 0), op(0x50, 8), 0x15 | 1 << 24 | u64::from(b'y') << 32, op(6, 30), op(6, 0)]),
    );
    send_to(udp, b"no", "127.0.0.1:5404").expect("it goes");
    send_to(udp, b"yes yes", "127.0.0.1:5404").expect("it goes");
    t.call("filter_raw_indirect_kept", sys!(SYS_recvfrom, raw, &mut bytes, 64, 0, 0, 0));
    t.call("filter_raw_indirect_only", sys!(SYS_recvfrom, raw, &mut bytes, 64, 0, 0, 0));
    [raw, udp].into_iter().for_each(close);
}

/// `SO_BINDTODEVICE`, `SO_BINDTOIFINDEX`
fn bound_to_interfaces(t: &mut Report) {
    const INDEX: i32 = 62;
    let udp = socket(AF_INET, SOCK_DGRAM);
    let device = |fd: i32, name: &[u8]| {
        sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, name.as_ptr(), name.len())
    };
    let told = |fd: i32, room: u32| {
        let (mut name, mut length) = ([0u8; 20], room);
        match sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, &mut name, &mut length) {
            Ok(_) => format!("{:?}", &name[..length as usize]),
            Err(errno) => errno.to_string(),
        }
    };
    t.show("device_none", told(udp, 20));
    t.call("device_unknown", device(udp, b"none\0"));
    t.call("device", device(udp, b"lo"));
    t.show("device_then", told(udp, 20));
    t.show("device_without_room", told(udp, 15));
    t.show("device_index", option(udp, SOL_SOCKET, INDEX));
    t.call("device_send", send_to(udp, b"x", "127.0.0.1:5405"));
    t.call("device_index_of_none", set_option(udp, SOL_SOCKET, INDEX, -1));
    t.call("device_other", set_option(udp, SOL_SOCKET, INDEX, 77));
    t.show("device_other_then", option(udp, SOL_SOCKET, INDEX));
    t.call("device_any", device(udp, b""));
    t.show("device_any_then", told(udp, 20));
    let again = status_of(|| {
        device(udp, b"lo").expect("anybody may");
        sys!(SYS_setuid, 1000).expect("root may");
        device(udp, b"lo").map_or_else(|errno| errno.0, |_| 0)
    });
    t.show("device_again_unprivileged", again);
    close(udp);
}
