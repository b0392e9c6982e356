//! Bytes of a stream.

use libc::*;

use super::helpers::{bind, events, option, pair, receive, send, send_to, set_option, socket};
use crate::cases::helpers::{NOWHERE, close, must_open, put, until_others_sleep};
use crate::report::Report;

pub fn run(t: &mut Report) {
    bytes(t);
    peeking(t);
    whole(t);
    parts_of_much(t);
    counting(t);
    files(t);
    signals(t);
}

fn bytes(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    t.call("send", send(one, b"hello", 0));
    t.call("write", sys!(SYS_write, one, b" world", 6));
    t.show("receive_part", receive(other, 3, 0));
    t.call("read_rest", sys!(SYS_read, other, &mut [0u8; 32], 32));
    t.show("receive_none", receive(other, 3, 0));
    t.show("receive_no_room", receive(other, 0, 0));
    t.call("send_nothing", send(one, b"", 0));
    t.show("receive_after_nothing", receive(other, 3, 0));
    t.call("send_address", send_to(one, b"x", "\0usertest-nobody"));
    t.call("send_address_long", sys!(SYS_sendto, one, b"x", 1, 0, NOWHERE, 200));
    t.call("send_address_fault", sys!(SYS_sendto, one, b"x", 1, 0, NOWHERE, 10));
    t.call("send_address_empty", sys!(SYS_sendto, one, b"x", 1, 0, NOWHERE, 0));
    t.call("send_fault", sys!(SYS_sendto, one, NOWHERE, 4, 0, 0, 0));
    t.call("receive_fault", sys!(SYS_recvfrom, other, NOWHERE, 4, 0, 0, 0));
    t.show("receive_after_fault", receive(other, 8, 0));
    let mut vectors = [
        iovec { iov_base: b"ab".as_ptr() as *mut _, iov_len: 2 },
        iovec { iov_base: b"cde".as_ptr() as *mut _, iov_len: 3 },
    ];
    t.call("writev", sys!(SYS_writev, one, vectors.as_ptr(), 2));
    let (mut first, mut second) = ([0u8; 1], [0u8; 10]);
    vectors[0] = iovec { iov_base: first.as_mut_ptr().cast(), iov_len: 1 };
    vectors[1] = iovec { iov_base: second.as_mut_ptr().cast(), iov_len: 10 };
    t.call("readv", sys!(SYS_readv, other, vectors.as_ptr(), 2));
    t.show("readv_bytes", format!("{} {}", first[0], String::from_utf8_lossy(&second[..4])));
    let mut address = crate::sys::zeroed::<sockaddr_un>();
    let mut length = size_of::<sockaddr_un>() as i32;
    send(one, b"who", 0).expect("there is room");
    t.call("recvfrom", sys!(SYS_recvfrom, other, &mut [0u8; 8], 8, 0, &raw mut address, &mut length));
    t.show("recvfrom_length", length);
    send(one, b"who", 0).expect("there is room");
    t.call(
        "recvfrom_length_fault",
        sys!(SYS_recvfrom, other, &mut [0u8; 8], 8, 0, &raw mut address, NOWHERE),
    );
    t.show("recvfrom_length_fault_took", receive(other, 8, 0));
    send(one, b"who", 0).expect("there is room");
    length = -1;
    t.call(
        "recvfrom_length_negative",
        sys!(SYS_recvfrom, other, &mut [0u8; 8], 8, 0, &raw mut address, &mut length),
    );
    bind(one, "\0usertest-stream").expect("a name");
    send(one, b"who", 0).expect("there is room");
    length = 6;
    t.call("recvfrom_named", sys!(SYS_recvfrom, other, &mut [0u8; 8], 8, 0, &raw mut address, &mut length));
    t.show("recvfrom_named_length", length);
    t.call("oob_receive", sys!(SYS_recvfrom, socket(SOCK_DGRAM), &mut [0u8; 8], 8, MSG_OOB, 0, 0));
    close(other + 1);
    close(one);
    close(other);
}

fn peeking(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    t.show("peek_none", receive(other, 4, MSG_PEEK));
    send(one, b"abc", 0).expect("there is room");
    send(one, b"defgh", 0).expect("there is room");
    t.show("peek", receive(other, 4, MSG_PEEK));
    t.show("peek_again", receive(other, 100, MSG_PEEK));
    t.show("peek_cut", receive(other, 2, MSG_PEEK | MSG_TRUNC));
    t.show("offset_unset", option(other, SO_PEEK_OFF));
    t.call("offset_set", set_option(other, SO_PEEK_OFF, 2));
    t.show("offset_peek", receive(other, 2, MSG_PEEK));
    t.show("offset_moved", option(other, SO_PEEK_OFF));
    t.show("offset_peek_on", receive(other, 100, MSG_PEEK));
    t.show("offset_peek_end", receive(other, 1, MSG_PEEK));
    t.show("offset_at_end", option(other, SO_PEEK_OFF));
    t.show("offset_receive", receive(other, 3, 0));
    t.show("offset_moved_back", option(other, SO_PEEK_OFF));
    t.call("offset_negative", set_option(other, SO_PEEK_OFF, -1));
    t.show("offset_off", receive(other, 2, MSG_PEEK));
    t.show("receive_all", receive(other, 100, 0));
    t.call("trunc_ignored", send(one, b"abcdef", 0));
    t.show("trunc_receive", receive(other, 3, MSG_TRUNC));
    t.show("trunc_rest", receive(other, 10, MSG_TRUNC));
    close(one);
    t.show("peek_end", receive(other, 4, MSG_PEEK));
    close(other);
}

fn whole(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM);
    let thread = std::thread::spawn(move || receive(other, 6, MSG_WAITALL));
    for part in [b"ab", b"cd", b"ef"] {
        until_others_sleep();
        send(one, part, 0).expect("there is room");
    }
    t.show("wait_all", thread.join().expect("a thread"));
    let thread = std::thread::spawn(move || receive(other, 6, MSG_WAITALL));
    until_others_sleep();
    send(one, b"xyz", 0).expect("there is room");
    close(one);
    t.show("wait_all_end", thread.join().expect("a thread"));
    close(other);
    // Much more than there is room for, in order.
    let [one, other] = pair(SOCK_STREAM);
    let total = 3 << 20;
    let thread = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|index| (index % 249) as u8).collect();
        let sent = send(one, &bytes, 0);
        close(one);
        sent
    });
    let (mut received, mut in_order) = (0usize, true);
    let mut buffer = vec![0u8; 5000];
    while let Ok(length @ 1..) = sys!(SYS_read, other, buffer.as_mut_ptr(), buffer.len()) {
        in_order &= (0..length).all(|index| usize::from(buffer[index]) == (received + index) % 249);
        received += length;
    }
    t.call("send_much", thread.join().expect("a thread"));
    t.show("received_much", received);
    t.is("received_in_order", in_order);
    close(other);
    let [one, other] = pair(SOCK_STREAM);
    let thread = std::thread::spawn(move || {
        let outcome = send(one, &vec![1u8; 1 << 20], MSG_NOSIGNAL);
        (outcome.is_ok_and(|sent| sent > 0 && sent < 1 << 20), send(one, b"x", MSG_NOSIGNAL))
    });
    until_others_sleep();
    close(other);
    let (part, after) = thread.join().expect("a thread");
    t.is("send_part_before_end", part);
    t.call("send_after_end", after);
    close(one);
}

/// Only a part fits, or is there.
fn parts_of_much(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    let much = vec![5u8; 1 << 20];
    let first = send(one, &much, 0).unwrap_or(0);
    t.is("much_in_part", first > 4096 && first < 1 << 20);
    t.call("much_again", send(one, &much, 0));
    let mut buffer = vec![0u8; 1 << 20];
    let received = sys!(SYS_recvfrom, other, buffer.as_mut_ptr(), buffer.len(), 0, 0, 0).unwrap_or(0);
    t.is("all_of_the_part", received == first);
    // New memory, whose pages come one by one.
    for (case, flags) in [("", 0), ("_peek", MSG_PEEK), ("_blocking", 0), ("_all", MSG_WAITALL)] {
        if case == "_blocking" {
            sys!(SYS_fcntl, other, F_SETFL, O_RDWR).expect("flags");
        }
        send(one, &much[..20_000], 0).expect("there is room");
        let room = if case == "_all" { 20_000 } else { 65_536 };
        let new = sys!(SYS_mmap, 0, 65_536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            .expect("memory");
        t.call(&format!("into_new_memory{case}"), sys!(SYS_recvfrom, other, new, room, flags, 0, 0));
        if flags & MSG_PEEK != 0 {
            let _ = sys!(SYS_read, other, buffer.as_mut_ptr(), buffer.len());
        }
        sys!(SYS_munmap, new, 65_536).expect("it is mapped");
    }
    close(one);
    close(other);
}

fn counting(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    let mut count = -1i32;
    t.call("fionread", sys!(SYS_ioctl, other, FIONREAD, &mut count));
    t.show("fionread_empty", count);
    send(one, b"abc", 0).expect("there is room");
    send(one, b"de", 0).expect("there is room");
    let _ = sys!(SYS_ioctl, other, FIONREAD, &mut count);
    t.show("fionread_some", count);
    let _ = sys!(SYS_ioctl, one, TIOCOUTQ, &mut count);
    t.is("outq_some", count > 0);
    t.call("fionread_fault", sys!(SYS_ioctl, other, FIONREAD, NOWHERE));
    let _ = receive(other, 100, 0);
    let _ = sys!(SYS_ioctl, one, TIOCOUTQ, &mut count);
    t.show("outq_empty", count);
    // Full: it is not writable long before it takes nothing more, nor at once when some is received.
    let mut sent = 0;
    while let Ok(bytes) = send(one, &[7u8; 4096], 0) {
        sent += bytes;
    }
    t.is("takes_some", (65_536..=1 << 20).contains(&sent));
    t.show("full", events(one));
    t.call("full_send", send(one, b"x", 0));
    t.call("full_write", sys!(SYS_write, one, b"x", 1));
    let _ = receive(other, 100, 0);
    t.show("full_still", events(one));
    let mut received = 100;
    while sys!(SYS_read, other, &mut [0u8; 4096], 4096).is_ok_and(|length| {
        received += length;
        true
    }) {}
    t.is("received_all", received == sent);
    t.show("room_again", events(one));
    close(one);
    close(other);
}

fn files(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    put("content", "0123456789");
    let file = must_open(c"content", O_RDWR);
    t.call("sendfile", sys!(SYS_sendfile, one, file, 0, 6));
    t.show("sendfile_bytes", receive(other, 100, 0));
    t.call("sendfile_from_socket", sys!(SYS_sendfile, file, one, 0, 6));
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    sys!(SYS_write, ends[1], b"through a pipe", 14).expect("there is room");
    t.call("splice_in", sys!(SYS_splice, ends[0], 0, one, 0, 100, 0));
    t.call("splice_out", sys!(SYS_splice, other, 0, ends[1], 0, 7, 0));
    let mut buffer = [0u8; 32];
    t.call("splice_read", sys!(SYS_read, ends[0], &mut buffer, 32));
    t.show("splice_bytes", String::from_utf8_lossy(&buffer[..7]));
    t.show("splice_rest", receive(other, 100, 0));
    t.call("splice_none", sys!(SYS_splice, other, 0, ends[1], 0, 7, SPLICE_F_NONBLOCK));
    close(other);
    close(ends[0]);
    for (case, target) in [("socket", one), ("pipe", ends[1])] {
        let outcome = crate::cases::helpers::status_of(|| {
            // SAFETY: the default action runs no code of this program.
            unsafe { signal(SIGPIPE, SIG_DFL) };
            let _ = sys!(SYS_lseek, file, 0, SEEK_SET);
            sys!(SYS_sendfile, target, file, 0, 6).map_or_else(|errno| errno.0, |_| 0)
        });
        t.show(&format!("sendfile_broken_{case}"), outcome);
    }
    for fd in [one, file, ends[1]] {
        close(fd);
    }
}

fn signals(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        for (how, flags) in [("loud", 0), ("quiet", MSG_NOSIGNAL)] {
            t.show(
                &format!("{case}_sigpipe_{how}"),
                crate::cases::helpers::status_of(|| {
                    // SAFETY: the default action runs no code of this program.
                    unsafe { signal(SIGPIPE, SIG_DFL) };
                    let [one, _other] = pair(kind);
                    let _ = sys!(SYS_shutdown, one, SHUT_WR);
                    send(one, b"x", flags).map_or_else(|errno| errno.0, |_| 0)
                }),
            );
        }
        t.show(
            &format!("{case}_sigpipe_write"),
            crate::cases::helpers::status_of(|| {
                // SAFETY: as above.
                unsafe { signal(SIGPIPE, SIG_DFL) };
                let [one, other] = pair(kind);
                close(other);
                sys!(SYS_write, one, b"x", 1).map_or_else(|errno| errno.0, |_| 0)
            }),
        );
    }
}
