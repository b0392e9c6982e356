//! Files and credentials that go along with messages.

use libc::*;

use super::helpers::{
    accept, close_all, connect, control, credentials, listener, name_of, option, pair, parts, receive,
    receive_message, rights, send, send_message, set_option, socket,
};
use crate::cases::helpers::{CLOSED, close, must_open, status_of};
use crate::report::Report;

pub fn run(t: &mut Report) {
    files(t);
    cut(t);
    streams(t);
    circles(t);
    senders(t);
    mistakes(t);
}

fn files(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("sequence", SOCK_SEQPACKET), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        let file = must_open(c"sent", O_CREAT | O_RDWR);
        t.call(&format!("{case}_send_file"), send_message(one, b"file", &rights(&[file]), 0));
        close(file);
        t.show(&format!("{case}_receive_file"), receive_message(other, 16, 64, 0));
        t.call(&format!("{case}_send_two"), send_message(one, b"two", &rights(&[one, other]), 0));
        t.show(&format!("{case}_peek_two"), receive_message(other, 16, 64, MSG_PEEK));
        t.show(&format!("{case}_receive_two"), receive_message(other, 16, 64, MSG_CMSG_CLOEXEC));
        t.call(&format!("{case}_send_three"), send_message(one, b"three", &rights(&[0, 1, 2]), 0));
        t.show(&format!("{case}_no_control"), receive_message(other, 16, 0, 0));
        send_message(one, b"three", &rights(&[0, 1, 2]), 0).expect("there is room");
        t.call(&format!("{case}_plain_read"), sys!(SYS_read, other, &mut [0u8; 16], 16));
        t.call(&format!("{case}_no_bytes"), send_message(one, b"", &rights(&[0]), 0));
        t.show(&format!("{case}_receive_no_bytes"), receive_message(other, 16, 64, 0));
        close(one);
        close(other);
    }
    // What arrives shares its position with what was sent.
    let [one, other] = pair(SOCK_STREAM);
    crate::cases::helpers::put("shared", "abcdef");
    let file = must_open(c"shared", O_RDONLY);
    send_message(one, b"x", &rights(&[file]), 0).expect("there is room");
    let mut message = parts(&[0; 4], &[0; 24]);
    sys!(SYS_recvmsg, other, &raw mut message.header, 0).expect("a message");
    let received = i32::from_le_bytes(message.control[16..20].try_into().expect("four bytes"));
    t.show("lowest_number", received - file);
    let _ = sys!(SYS_read, received, &mut [0u8; 2], 2);
    t.call("shared_position", sys!(SYS_lseek, file, 0, SEEK_CUR));
    for fd in [file, received, one, other] {
        close(fd);
    }
}

fn cut(t: &mut Report) {
    let [one, other] = pair(SOCK_DGRAM | SOCK_NONBLOCK);
    for room in [1, 8, 15, 16, 17, 19, 20, 23, 24, 27, 28, 32, 40] {
        send_message(one, b"cut", &rights(&[0, 1, 2]), 0).expect("there is room");
        t.show(&format!("room_{room}"), receive_message(other, 16, room, 0));
    }
    let most = vec![0; 253];
    t.call("most_files", send_message(one, b"most", &rights(&most), 0));
    t.is("most_files_arrive", receive_message(other, 16, 2000, 0).matches("fd").count() == 253);
    t.call("too_many_files", send_message(one, b"more", &rights(&vec![0; 254]), 0));
    t.call("two_parts", send_message(one, b"parts", &[rights(&[0]), rights(&[1, 2])].concat(), 0));
    t.show("two_parts_arrive", receive_message(other, 16, 200, 0));
    t.call("too_many_in_parts", send_message(one, b"parts", &[rights(&most), rights(&[1])].concat(), 0));
    t.call("empty_part", send_message(one, b"empty", &rights(&[]), 0));
    t.show("empty_part_arrives", receive_message(other, 16, 200, 0));
    // No descriptor free for the second.
    t.show(
        "numbers_used_up",
        status_of(|| {
            let limit = rlimit { rlim_cur: other as u64 + 2, rlim_max: other as u64 + 2 };
            send_message(one, b"two", &rights(&[0, 1]), 0).expect("there is room");
            sys!(SYS_setrlimit, RLIMIT_NOFILE, &raw const limit).expect("root may");
            let found = receive_message(other, 16, 64, 0);
            i32::from(found == "3 \"two\" flags 0x8 control 24 [20 1 1: fd]")
        }),
    );
    let _ = receive_message(other, 16, 64, 0);
    close(one);
    close(other);
}

fn streams(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    for (bytes, files) in [("ab", 0), ("cd", 1), ("ef", 0), ("gh", 2), ("ij", 1), ("kl", 0)] {
        let control = if files > 0 { rights(&vec![0; files]) } else { Vec::new() };
        send_message(one, bytes.as_bytes(), &control, 0).expect("there is room");
    }
    for index in 0..6 {
        t.show(&format!("stream_run_{index}"), receive_message(other, 100, 64, 0));
    }
    // A part takes the files; the rest goes on with what follows.
    send_message(one, b"abcd", &rights(&[0]), 0).expect("there is room");
    send(one, b"efgh", 0).expect("there is room");
    t.show("stream_part", receive_message(other, 2, 64, 0));
    t.show("stream_rest", receive_message(other, 100, 64, 0));
    send(one, b"ab", 0).expect("there is room");
    send_message(one, b"cd", &rights(&[0]), 0).expect("there is room");
    send(one, b"ef", 0).expect("there is room");
    t.show("stream_peek_run", receive_message(other, 100, 64, MSG_PEEK));
    sys!(SYS_fcntl, other, F_SETFL, O_RDWR).expect("flags");
    t.show("stream_all_run", receive_message(other, 4, 64, MSG_WAITALL));
    t.show("stream_read_run", receive(other, 100, 0));
    close(one);
    close(other);
}

/// Sockets that only their own queues refer to; what they hold is closed.
fn circles(t: &mut Report) {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    let [reader, writer] = ends;
    let is_closed = |case: &str, t: &mut Report| {
        // Linux looks for circles when another socket is closed, and some time after.
        let mut found = Err(crate::sys::Errno(EAGAIN));
        for _ in 0..200 {
            close_all(pair(SOCK_STREAM));
            found = sys!(SYS_read, reader, &mut [0u8; 1], 1);
            if found.is_ok() {
                break;
            }
            crate::cases::helpers::sleep_ms(5);
        }
        t.call(case, found);
    };
    // Each case lets go of the last writer of a pipe that waits in a queue with the socket itself.
    let own = sys!(SYS_dup, writer).expect("a descriptor") as i32;
    close(writer);
    let [one, other] = pair(SOCK_STREAM);
    send_message(one, b"x", &rights(&[other, own]), 0).expect("there is room");
    close(own);
    close(one);
    t.call("circle_not_yet", sys!(SYS_read, reader, &mut [0u8; 1], 1));
    close(other);
    is_closed("circle_of_one", t);
    close(reader);
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    let [reader2, writer] = ends;
    assert_eq!(reader2, reader);
    let ([one, other], [third, fourth]) = (pair(SOCK_DGRAM), pair(SOCK_SEQPACKET));
    send_message(one, b"x", &rights(&[fourth, writer]), 0).expect("there is room");
    send_message(third, b"x", &rights(&[other, writer]), 0).expect("there is room");
    close(writer);
    for fd in [one, third, fourth] {
        close(fd);
    }
    close_all(pair(SOCK_STREAM));
    t.call("circle_of_two_held", sys!(SYS_read, reader, &mut [0u8; 1], 1));
    close(other);
    is_closed("circle_of_two", t);
    close(reader);
    // In the queue of one that was never accepted.
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    let writer = ends[1];
    let server = listener(SOCK_STREAM, "\0usertest-circle", 1);
    let client = socket(SOCK_STREAM);
    connect(client, "\0usertest-circle").expect("it listens");
    send_message(client, b"x", &rights(&[server, client, writer]), 0).expect("there is room");
    for fd in [writer, client, server] {
        close(fd);
    }
    is_closed("circle_of_arrival", t);
    close(reader);
    // A chain as long as many descriptors is no circle, and closes at once.
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    let mut held = ends[1];
    for _ in 0..3000 {
        let [one, other] = pair(SOCK_DGRAM);
        send_message(one, b"x", &rights(&[held]), 0).expect("there is room");
        close(held);
        close(one);
        held = other;
    }
    close(held);
    is_closed("chain", t);
    close(reader);
}

fn senders(t: &mut Report) {
    for (case, kind) in [("stream", SOCK_STREAM), ("datagram", SOCK_DGRAM)] {
        let [one, other] = pair(kind | SOCK_NONBLOCK);
        send(one, b"before", 0).expect("there is room");
        t.call(&format!("{case}_pass"), set_option(other, SO_PASSCRED, 1));
        t.show(&format!("{case}_unknown"), receive_message(other, 16, 64, 0));
        send(one, b"plain", 0).expect("there is room");
        t.show(&format!("{case}_plain"), receive_message(other, 16, 64, 0));
        sys!(SYS_write, one, b"written", 7).expect("there is room");
        t.show(&format!("{case}_written"), receive_message(other, 16, 64, 0));
        let me = std::process::id().cast_signed();
        t.call(&format!("{case}_said"), send_message(one, b"said", &credentials(me, 7, 8), 0));
        t.show(&format!("{case}_said_so"), receive_message(other, 16, 64, 0));
        let both = [credentials(me, 0, 0), rights(&[0])].concat();
        t.call(&format!("{case}_both"), send_message(one, b"both", &both, 0));
        t.show(&format!("{case}_both_came"), receive_message(other, 16, 64, 0));
        let swapped = [rights(&[0]), credentials(me, 0, 0)].concat();
        send_message(one, b"both", &swapped, 0).expect("there is room");
        t.show(&format!("{case}_both_cut"), receive_message(other, 16, 50, 0));
        send(one, b"plain", 0).expect("there is room");
        t.show(&format!("{case}_no_room"), receive_message(other, 16, 0, 0));
        for room in [15, 16, 20, 27, 28, 31] {
            send(one, b"plain", 0).expect("there is room");
            t.show(&format!("{case}_room_{room}"), receive_message(other, 16, room, 0));
        }
        t.call(&format!("{case}_pid_unknown"), send_message(one, b"x", &credentials(4_000_000, 0, 0), 0));
        t.call(&format!("{case}_pid_of_init"), send_message(one, b"x", &credentials(1, 0, 0), 0));
        let as_other = |pid: i32, uid: u32, gid: u32| {
            status_of(|| {
                sys!(SYS_setresgid, 10, 11, 12).expect("root may");
                sys!(SYS_setresuid, 20, 21, 22).expect("root may");
                let pid = if pid == 0 { std::process::id().cast_signed() } else { pid };
                send_message(one, b"claim", &credentials(pid, uid, gid), 0)
                    .map_or_else(|errno| errno.0, |_| 0)
            })
        };
        for (claim, [uid, gid]) in [
            ("real", [20, 10]),
            ("effective", [21, 11]),
            ("saved", [22, 12]),
            ("user", [0, 10]),
            ("group", [20, 0]),
        ] {
            t.show(&format!("{case}_claim_{claim}"), as_other(0, uid, gid));
        }
        t.show(&format!("{case}_claim_pid"), as_other(1, 20, 10));
        t.show(&format!("{case}_real_ids"), {
            let _ = receive(other, 4000, 0);
            while !receive(other, 4000, 0).starts_with('E') {}
            status_of(|| {
                sys!(SYS_setresgid, 10, 11, 12).expect("root may");
                sys!(SYS_setresuid, 20, 21, 22).expect("root may");
                send(one, b"who", 0).map_or_else(|errno| errno.0, |_| 0)
            });
            receive_message(other, 16, 64, 0)
                .rsplit_once(" 20 ")
                .map_or("no 20".to_owned(), |(_, rest)| rest.to_owned())
        });
        close(one);
        close(other);
    }
    // Bytes of different senders do not come together.
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    set_option(other, SO_PASSCRED, 1).expect("an option");
    let me = std::process::id().cast_signed();
    for (bytes, uid) in [("ab", 31), ("cd", 31), ("ef", 32)] {
        send_message(one, bytes.as_bytes(), &credentials(me, uid, 0), 0).expect("there is room");
    }
    t.show("runs_peek", receive_message(other, 100, 64, MSG_PEEK));
    t.show("runs_first", receive_message(other, 100, 64, 0));
    t.show("runs_second", receive_message(other, 100, 64, 0));
    close(one);
    close(other);
    // A listening socket's wish is that of what it accepts, and who passes credentials gets a name.
    let server = listener(SOCK_STREAM, "\0usertest-pass", 1);
    set_option(server, SO_PASSCRED, 1).expect("an option");
    let client = socket(SOCK_STREAM);
    set_option(client, SO_PASSCRED, 1).expect("an option");
    connect(client, "\0usertest-pass").expect("it listens");
    t.is("connect_names", name_of(SYS_getsockname, client).starts_with("8 1"));
    let fd = accept(server).expect("a connection") as i32;
    t.show("inherited", option(fd, SO_PASSCRED));
    for fd in [server, client, fd] {
        close(fd);
    }
}

fn mistakes(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM | SOCK_NONBLOCK);
    let part = |length: u64, level: i32, kind: i32| {
        let mut bytes = control(level, kind, &[0; 8]);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    t.call("bad_fd", send_message(one, b"x", &rights(&[CLOSED]), 0));
    t.call("negative_fd", send_message(one, b"x", &rights(&[-1]), 0));
    t.call("good_and_bad_fd", send_message(one, b"x", &rights(&[0, CLOSED]), 0));
    t.call("length_small", send_message(one, b"x", &part(15, SOL_SOCKET, SCM_RIGHTS), 0));
    t.call("length_zero", send_message(one, b"x", &part(0, SOL_SOCKET, SCM_RIGHTS), 0));
    t.call("length_long", send_message(one, b"x", &part(25, SOL_SOCKET, SCM_RIGHTS), 0));
    t.call("length_huge", send_message(one, b"x", &part(u64::MAX, SOL_SOCKET, SCM_RIGHTS), 0));
    t.call("length_odd", send_message(one, b"x", &part(18, SOL_SOCKET, SCM_RIGHTS), 0));
    t.call("credentials_short", send_message(one, b"x", &part(24, SOL_SOCKET, SCM_CREDENTIALS), 0));
    t.call("kind_unknown", send_message(one, b"x", &part(24, SOL_SOCKET, 99), 0));
    t.call("level_unknown", send_message(one, b"x", &part(24, 99, 99), 0));
    t.call("header_cut", send_message(one, b"x", &[0; 8], 0));
    t.call("second_cut", send_message(one, b"x", &[part(24, 99, 1), vec![0; 8]].concat(), 0));
    t.call("second_bad", send_message(one, b"x", &[rights(&[0]), part(3, SOL_SOCKET, 1)].concat(), 0));
    t.show("received", receive(other, 100, 0));
    let place = must_open(c"sent", O_PATH);
    t.call("place", send_message(one, b"x", &rights(&[place]), 0));
    t.show("place_arrives", receive_message(other, 16, 64, 0));
    // Control data is looked at before the socket is.
    let alone = socket(SOCK_STREAM);
    t.call("alone_bad_fd", send_message(alone, b"x", &rights(&[CLOSED]), 0));
    t.call("alone_good_fd", send_message(alone, b"x", &rights(&[0]), 0));
    t.show(
        "bad_fd_limit",
        status_of(|| {
            // Without privilege only so many may be on their way.
            let limit = rlimit { rlim_cur: 32, rlim_max: 32 };
            sys!(SYS_setrlimit, RLIMIT_NOFILE, &raw const limit).expect("root may");
            sys!(SYS_setuid, 4321).expect("root may");
            let mut outcome = 0;
            for _ in 0..20 {
                match send_message(one, b"x", &rights(&[0, 1]), 0) {
                    Ok(_) => outcome += 1,
                    Err(errno) => return outcome + 100 * i32::from(errno.0 == ETOOMANYREFS),
                }
            }
            outcome
        }),
    );
    for fd in [one, other, place, alone] {
        close(fd);
    }
}
