//! Messages that stay whole: datagrams, and those of connections.

use libc::*;

use super::helpers::{
    Parts, bind, connect, events, listener, name, name_of, option, pair, parts, receive, receive_message,
    send, send_to, set_option, shown, socket,
};
use crate::cases::helpers::{NOWHERE, close, until_others_sleep};
use crate::report::Report;
use crate::sys::zeroed;

pub fn run(t: &mut Report) {
    wholes(t);
    addressed(t);
    connected(t);
    queues(t);
    many(t);
}

fn wholes(t: &mut Report) {
    for (case, kind) in [("datagram", SOCK_DGRAM), ("sequence", SOCK_SEQPACKET)] {
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        t.call(&format!("{case}_send"), send(one, b"first", 0));
        t.call(&format!("{case}_send_empty"), send(one, b"", 0));
        t.call(&format!("{case}_write_empty"), sys!(SYS_write, one, b"", 0));
        t.call(&format!("{case}_send_end"), send(one, b"second", MSG_EOR));
        let mut count = 0i32;
        let _ = sys!(SYS_ioctl, other, FIONREAD, &mut count);
        t.show(&format!("{case}_fionread"), count);
        t.show(&format!("{case}_receive_cut"), receive(other, 3, 0));
        t.show(&format!("{case}_receive_empty"), receive(other, 3, 0));
        t.show(&format!("{case}_receive_empty_again"), receive(other, 3, 0));
        t.show(&format!("{case}_receive_trunc"), receive(other, 2, MSG_TRUNC));
        t.show(&format!("{case}_receive_none"), receive(other, 2, 0));
        send(one, b"third", 0).expect("there is room");
        t.show(&format!("{case}_receive_no_room"), receive(other, 0, 0));
        t.show(&format!("{case}_receive_no_room_took"), receive(other, 8, 0));
        send(one, b"peeked", 0).expect("there is room");
        send(one, b"next", 0).expect("there is room");
        t.show(&format!("{case}_peek"), receive(other, 3, MSG_PEEK));
        t.show(&format!("{case}_peek_trunc"), receive(other, 3, MSG_PEEK | MSG_TRUNC));
        t.call(&format!("{case}_offset"), set_option(other, SO_PEEK_OFF, 4));
        t.show(&format!("{case}_offset_peek"), receive(other, 8, MSG_PEEK));
        t.show(&format!("{case}_offset_next"), receive(other, 8, MSG_PEEK));
        t.show(&format!("{case}_offset_end"), receive(other, 8, MSG_PEEK));
        t.show(&format!("{case}_offset_value"), option(other, SO_PEEK_OFF));
        t.show(&format!("{case}_offset_receive"), receive(other, 8, 0));
        t.show(&format!("{case}_offset_after"), option(other, SO_PEEK_OFF));
        t.call(&format!("{case}_send_fault"), sys!(SYS_sendto, one, NOWHERE, 4, 0, 0, 0));
        t.call(&format!("{case}_too_long"), send(one, &vec![0u8; 212_961], 0));
        t.call(&format!("{case}_longest"), send(one, &vec![0u8; 212_960], 0));
        t.call(&format!("{case}_send_out_of_band"), send(one, b"x", MSG_OOB));
        close(one);
        close(other);
    }
    // What the flags of a received message say.
    let [one, other] = pair(SOCK_SEQPACKET);
    send(one, b"record", MSG_EOR).expect("there is room");
    t.show("sequence_flags", receive_message(other, 16, 0, 0));
    send(one, b"record", 0).expect("there is room");
    t.show("sequence_flags_cut", receive_message(other, 2, 0, 0));
    send(one, b"record", 0).expect("there is room");
    t.show("sequence_flags_trunc", receive_message(other, 2, 0, MSG_TRUNC));
    send(one, b"record", 0).expect("there is room");
    t.show("sequence_wait_all", receive_message(other, 16, 0, MSG_WAITALL));
    t.call("sequence_address_ignored", send_to(one, b"x", "\0usertest-nobody"));
    close(one);
    close(other);
}

fn addressed(t: &mut Report) {
    let server = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    bind(server, "datagrams").expect("a name");
    let client = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    t.call("send_to_path", send_to(client, b"anonymous", "datagrams"));
    let mut address = zeroed::<sockaddr_un>();
    let mut length = size_of::<sockaddr_un>() as i32;
    t.call("from_nobody", sys!(SYS_recvfrom, server, &mut [0u8; 32], 32, 0, &raw mut address, &mut length));
    t.show("from_nobody_length", length);
    bind(client, "\0usertest-datagrams").expect("a name");
    t.call("send_named", send_to(client, b"named", "datagrams"));
    length = size_of::<sockaddr_un>() as i32;
    t.call(
        "from_named",
        sys!(SYS_recvfrom, server, &mut [0u8; 32], 32, MSG_PEEK, &raw mut address, &mut length),
    );
    t.show("from_named_address", shown(&address, length));
    close(client);
    length = size_of::<sockaddr_un>() as i32;
    t.call("from_closed", sys!(SYS_recvfrom, server, &mut [0u8; 32], 32, 0, &raw mut address, &mut length));
    t.show("from_closed_address", shown(&address, length));
    let client = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    t.call("send_to_nowhere", send_to(client, b"x", "none"));
    t.call("send_to_file", send_to(client, b"x", "plain"));
    t.call("send_to_stream", send_to(socket(SOCK_STREAM), b"x", "datagrams"));
    close(client + 1);
    let stream = listener(SOCK_STREAM, "stream", 1);
    t.call("send_to_other_kind", send_to(client, b"x", "stream"));
    close(stream);
    t.call("send_to_left_behind", send_to(client, b"x", "stream"));
    t.call("send_to_self", {
        bind(client, "\0usertest-self").expect("a name");
        send_to(client, b"echo", "\0usertest-self")
    });
    t.show("receive_from_self", receive(client, 8, 0));
    let _ = sys!(SYS_shutdown, server, SHUT_RD);
    t.call("send_to_shut", send_to(client, b"x", "datagrams"));
    t.call("send_to_bad_length", sys!(SYS_sendto, client, b"x", 1, 0, &name("datagrams").0, 2));
    t.call("send_to_bad_family", sys!(SYS_sendto, client, b"x", 1, 0, &[2u8, 0, 0, 0], 4));
    t.call(
        "send_to_long_and_nowhere",
        sys!(SYS_sendto, client, vec![0u8; 300_000].as_ptr(), 300_000, 0, &name("none").0, 7),
    );
    close(client);
    close(server);
}

fn connected(t: &mut Report) {
    let [server, client, third] = [0; 3].map(|_| socket(SOCK_DGRAM | SOCK_NONBLOCK));
    bind(server, "\0usertest-server").expect("a name");
    bind(client, "\0usertest-client").expect("a name");
    t.call("connect", connect(client, "\0usertest-server"));
    t.show("peer", name_of(SYS_getpeername, client));
    t.call("peer_one_way", sys!(SYS_getpeername, server, 0, 0));
    t.call("send", send(client, b"one way", 0));
    t.show("receive", receive(server, 16, 0));
    t.call("others_send", send_to(third, b"x", "\0usertest-server"));
    t.call("connect_back", connect(server, "\0usertest-client"));
    t.show("connect_back_drops", receive(server, 16, 0));
    t.call("others_send_now", send_to(third, b"x", "\0usertest-server"));
    t.call("others_connect_now", connect(third, "\0usertest-server"));
    t.call("send_back", send(server, b"back", 0));
    t.call("elsewhere_while_connected", send_to(client, b"x", "\0usertest-server"));
    let mut unspecified = zeroed::<sockaddr_un>();
    unspecified.sun_family = AF_UNSPEC as u16;
    t.call("dissolve_short", sys!(SYS_connect, client, &unspecified, 1));
    t.call("dissolve", sys!(SYS_connect, client, &unspecified, 2));
    t.call("dissolve_again", sys!(SYS_connect, client, &unspecified, 16));
    t.call("peer_dissolved", sys!(SYS_getpeername, client, 0, 0));
    t.call("send_dissolved", send(client, b"x", 0));
    t.show("dissolve_drops", receive(client, 16, 0));
    t.show("dissolve_tells", option(server, SO_ERROR));
    t.show("dissolve_told", option(server, SO_ERROR));
    close(client);
    t.call("send_to_closed", send(server, b"x", 0));
    t.call("send_to_closed_again", send(server, b"x", 0));
    t.call("peer_closed", sys!(SYS_getpeername, server, 0, 0));
    close(server);
    bind(third, "\0usertest-third").expect("a name");
    t.call("connect_self", connect(third, "\0usertest-third"));
    t.call("send_self", send(third, b"me", 0));
    t.show("receive_self", receive(third, 8, 0));
    close(third);
}

fn queues(t: &mut Report) {
    let server = socket(SOCK_DGRAM);
    bind(server, "\0usertest-queue").expect("a name");
    let client = socket(SOCK_DGRAM | SOCK_NONBLOCK);
    connect(client, "\0usertest-queue").expect("it is there");
    let mut sent = 0;
    while send(client, b"x", 0).is_ok() {
        sent += 1;
    }
    t.show("queue_length", sent);
    t.show("queue_full_events", events(client));
    t.call("queue_full_other", send_to(socket(SOCK_DGRAM), b"x", "\0usertest-queue"));
    close(client + 1);
    let _ = receive(server, 1, 0);
    t.show("queue_room_events", events(client));
    t.call("queue_room", send(client, b"x", 0));
    let waiting = socket(SOCK_DGRAM);
    connect(waiting, "\0usertest-queue").expect("it is there");
    let thread = std::thread::spawn(move || send(waiting, b"last", 0));
    until_others_sleep();
    let mut received = 0;
    while receive(server, 8, 0) != "4 \"last\"" {
        received += 1;
    }
    t.call("queue_send_waits", thread.join().expect("a thread"));
    t.show("queue_received", received);
    let mut fill = 0;
    while send(client, b"x", 0).is_ok() {
        fill += 1;
    }
    t.show("queue_length_again", fill);
    let thread = std::thread::spawn(move || send(waiting, b"last", 0));
    until_others_sleep();
    close(server);
    t.call("queue_closed", thread.join().expect("a thread"));
    t.show("queue_closed_events", events(client));
    close(client);
    close(waiting);
    // Between two that are connected to each other only the sender's buffer counts.
    for (case, kind) in [("datagram", SOCK_DGRAM), ("sequence", SOCK_SEQPACKET)] {
        for length in [0usize, 1, 64, 65, 192, 193, 700, 2000, 4000, 8000, 16_000, 30_000, 60_000] {
            let [one, other] = pair(kind | SOCK_NONBLOCK);
            let mut sent = 0;
            while send(one, &vec![1u8; length], 0).is_ok() {
                sent += 1;
            }
            t.show(&format!("{case}_pair_queue_{length}"), sent);
            t.show(&format!("{case}_pair_queue_{length}_events"), events(one));
            close(one);
            close(other);
        }
    }
}

fn many(t: &mut Report) {
    let [one, other] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    let mut out = [parts(b"one", b""), parts(b"three", b""), parts(b"", b"")];
    let headers =
        |parts: &mut [Parts; 3]| parts.each_ref().map(|parts| mmsghdr { msg_hdr: parts.header, msg_len: 77 });
    let mut sending = headers(&mut out);
    t.call("sendmmsg", sys!(SYS_sendmmsg, one, sending.as_mut_ptr(), 3, 0));
    t.show("sendmmsg_lengths", format!("{:?}", sending.map(|message| message.msg_len)));
    let mut rooms = [parts(&[0; 2], b""), parts(&[0; 16], b""), parts(&[0; 16], b"")];
    let mut receiving = headers(&mut rooms);
    t.call("recvmmsg", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, 0, 0));
    t.show(
        "recvmmsg_lengths",
        format!("{:?}", receiving.map(|message| (message.msg_len, message.msg_hdr.msg_flags))),
    );
    t.call("recvmmsg_none", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, 0, 0));
    t.call("recvmmsg_nothing_wanted", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 0, 0, 0));
    t.call("sendmmsg_nothing_wanted", sys!(SYS_sendmmsg, one, sending.as_mut_ptr(), 0, 0));
    t.call("sendmmsg_fault", sys!(SYS_sendmmsg, one, NOWHERE, 3, 0));
    sending[1].msg_hdr.msg_iovlen = 2000;
    t.call("sendmmsg_stops", sys!(SYS_sendmmsg, one, sending.as_mut_ptr(), 3, 0));
    t.call("recvmmsg_fewer", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, 0, 0));
    t.call("sendmmsg_first_bad", sys!(SYS_sendmmsg, one, sending[1..].as_mut_ptr(), 1, 0));
    let mut time = timespec { tv_sec: -1, tv_nsec: 0 };
    t.call("recvmmsg_bad_time", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, 0, &raw mut time));
    time = timespec { tv_sec: 5, tv_nsec: 0 };
    send(one, b"x", 0).expect("there is room");
    t.call(
        "recvmmsg_timed",
        sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, MSG_DONTWAIT, &raw mut time),
    );
    t.is("recvmmsg_time_left", time.tv_sec == 4);
    sys!(SYS_fcntl, other, F_SETFL, O_RDWR).expect("flags");
    send(one, b"x", 0).expect("there is room");
    t.call("recvmmsg_for_one", sys!(SYS_recvmmsg, other, receiving.as_mut_ptr(), 3, MSG_WAITFORONE, 0));
    close(one);
    close(other);
    // A header's own mistakes.
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    let mut message = parts(b"bytes", b"");
    message.header.msg_iovlen = 1025;
    t.call("vectors_too_many", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    t.call("vectors_too_many_receive", sys!(SYS_recvmsg, other, &raw const message.header, 0));
    message.header.msg_iovlen = 1;
    message.header.msg_iov = NOWHERE as *mut iovec;
    t.call("vectors_fault", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_iovlen = 0;
    t.call("no_vectors", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_name = NOWHERE as *mut _;
    message.header.msg_namelen = 10;
    t.call("name_fault", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_namelen = u32::MAX;
    t.call("name_negative", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    t.call("name_negative_receive", sys!(SYS_recvmsg, other, &raw const message.header, 0));
    message.header.msg_namelen = 0;
    t.call("name_empty", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_name = std::ptr::null_mut();
    message.header.msg_namelen = u32::MAX;
    t.call("no_name_negative", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_control = NOWHERE as *mut _;
    message.header.msg_controllen = 32;
    t.call("control_fault", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_controllen = 200_000;
    t.call("control_long", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    message.header.msg_controllen = usize::MAX;
    t.call("control_huge", sys!(SYS_sendmsg, one, &raw const message.header, 0));
    close(one);
    close(other);
}
