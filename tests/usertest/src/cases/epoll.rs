//! `epoll`: level, edge, one shot, nested.

use libc::*;

use super::helpers::{CLOSED, close, must_open, now, until_others_sleep};
use crate::report::Report;
use crate::sys::{self, Errno};

/// Runs the group.
pub fn run(t: &mut Report) {
    errors(t);
    triggers(t);
    room(t);
    waiting(t);
    lifetimes(t);
    pages(t);
}

/// Events are told on pages that are not there yet, and as far as there are pages.
fn pages(t: &mut Report) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an instance") as i32;
    let (_, writer) = pipe();
    for fd in 0..500 {
        let copy = sys!(SYS_dup, writer).expect("a descriptor") as i32;
        control(epoll, EPOLL_CTL_ADD, copy, EPOLLOUT | EPOLLET, fd).expect("an entry");
    }
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let memory = sys!(SYS_mmap, 0, 3 << 12, PROT_READ | PROT_WRITE, flags, -1, 0).expect("memory");
    let _ = sys!(SYS_munmap, memory + (2 << 12), 1 << 12);
    // 341 events have room on a page.
    t.call("pages_that_come", sys!(SYS_epoll_wait, epoll, memory, 400, 0));
    t.call("pages_that_end", sys!(SYS_epoll_wait, epoll, memory + (2 << 12) - 13, 400, 0));
    t.call("pages_that_are_not", sys!(SYS_epoll_wait, epoll, memory + (2 << 12), 400, 0));
    t.call("pages_left", sys!(SYS_epoll_wait, epoll, memory, 400, 0));
    let _ = sys!(SYS_munmap, memory, 2 << 12);
    let _ = sys!(SYS_close_range, 3, u32::MAX, 0);
}

fn control(epoll: i32, operation: i32, fd: i32, events: i32, data: u64) -> Result<usize, Errno> {
    let event = epoll_event { events: events.cast_unsigned(), u64: data };
    sys!(SYS_epoll_ctl, epoll, operation, fd, &event)
}

/// What is ready now, as `data:events` in hexadecimal, sorted.
fn ready(epoll: i32, timeout: i32) -> String {
    let mut events = [sys::zeroed::<epoll_event>(); 8];
    match sys!(SYS_epoll_wait, epoll, &mut events, 8, timeout) {
        Err(errno) => errno.to_string(),
        Ok(0) => "none".to_owned(),
        Ok(count) => {
            let mut shown: Vec<_> = events[..count]
                .iter()
                .map(|event| format!("{}:{:x}", { event.u64 }, { event.events }))
                .collect();
            shown.sort();
            shown.join(" ")
        }
    }
}

fn pipe() -> (i32, i32) {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    (ends[0], ends[1])
}

fn errors(t: &mut Report) {
    t.call("create_zero", sys!(SYS_epoll_create, 0));
    t.call("create", sys!(SYS_epoll_create, 1));
    t.call("create1_bad_flag", sys!(SYS_epoll_create1, 1));
    t.call("create1", sys!(SYS_epoll_create1, EPOLL_CLOEXEC));
    let (epoll, second) = (3, 4);
    let file = must_open(c"file", O_CREAT | O_RDWR);
    t.call("add_file", control(epoll, EPOLL_CTL_ADD, file, EPOLLIN, 0));
    t.call("add_closed", control(epoll, EPOLL_CTL_ADD, CLOSED, EPOLLIN, 0));
    t.call("add_itself", control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 0));
    t.call("add_to_closed", control(CLOSED, EPOLL_CTL_ADD, epoll, EPOLLIN, 0));
    t.call("add_to_file", control(file, EPOLL_CTL_ADD, epoll, EPOLLIN, 0));
    let (reader, writer) = pipe();
    t.call("modify_missing", control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN, 0));
    t.call("delete_missing", control(epoll, EPOLL_CTL_DEL, reader, 0, 0));
    t.call("add", control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN, 0));
    t.call("add_again", control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN, 0));
    t.call("delete", control(epoll, EPOLL_CTL_DEL, reader, 0, 0));
    t.call("delete_null_event", {
        let _ = control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN, 0);
        sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, reader, 0)
    });
    t.call("unknown_operation", control(epoll, 9, reader, EPOLLIN, 0));
    t.call("add_fault", sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, reader, 8));
    t.call("exclusive_modify", {
        let _ = control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN | EPOLLEXCLUSIVE, 0);
        control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLEXCLUSIVE, 0)
    });
    t.call("nest", control(epoll, EPOLL_CTL_ADD, second, EPOLLIN, 0));
    t.call("nest_loop", control(second, EPOLL_CTL_ADD, epoll, EPOLLIN, 0));
    let mut events = [sys::zeroed::<epoll_event>(); 1];
    t.call("wait_zero_events", sys!(SYS_epoll_wait, epoll, &mut events, 0, 0));
    t.call("wait_negative_events", sys!(SYS_epoll_wait, epoll, &mut events, -1, 0));
    t.call("wait_on_file", sys!(SYS_epoll_wait, file, &mut events, 1, 0));
    t.call("wait_closed", sys!(SYS_epoll_wait, CLOSED, &mut events, 1, 0));
    t.call("pwait_bad_mask_size", sys!(SYS_epoll_pwait, epoll, &mut events, 1, 0, &0u64, 4));
    for fd in [epoll, second, file, reader, writer] {
        close(fd);
    }
}

fn triggers(t: &mut Report) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let (reader, writer) = pipe();
    let write = || sys!(SYS_write, writer, b"x", 1).expect("a byte");
    let read = || sys!(SYS_read, reader, &mut [0u8; 8], 1).expect("a byte");
    control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN, 1).expect("added");
    t.show("empty", ready(epoll, 0));
    write();
    t.show("level", ready(epoll, 0));
    t.show("level_stays", ready(epoll, 0));
    read();
    t.show("level_ends", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLET, 2).expect("modified");
    write();
    t.show("edge", ready(epoll, 0));
    t.show("edge_once", ready(epoll, 0));
    write();
    t.show("edge_again", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLET, 3).expect("modified");
    t.show("modify_arms_edge", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLONESHOT, 4).expect("modified");
    t.show("one_shot", ready(epoll, 0));
    t.show("one_shot_disarmed", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLONESHOT, 5).expect("modified");
    t.show("one_shot_armed_again", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, 0, 6).expect("modified");
    t.show("no_events_asked", ready(epoll, 0));
    control(epoll, EPOLL_CTL_ADD, writer, EPOLLOUT, 7).expect("added");
    t.show("writable", ready(epoll, 0));
    control(epoll, EPOLL_CTL_MOD, reader, EPOLLIN, 8).expect("modified");
    t.show("both", ready(epoll, 0));
    let outer = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    control(outer, EPOLL_CTL_ADD, epoll, EPOLLIN, 9).expect("nested");
    t.show("nested", ready(outer, 0));
    let mut entry = [pollfd { fd: outer, events: POLLIN, revents: 0 }];
    t.call("poll_of_epoll", sys!(SYS_poll, &mut entry, 1, 0));
    close(writer);
    t.show("hang_up", ready(epoll, 0));
    for fd in [epoll, outer, reader] {
        close(fd);
    }
}

/// What was sent and is gone makes room, which is news to who waits for edges even if there was room before.
fn room(t: &mut Report) {
    let mut pair = [0i32; 2];
    for (word, kind) in [("stream", SOCK_STREAM), ("datagram", SOCK_DGRAM), ("sequence", SOCK_SEQPACKET)] {
        let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
        sys!(SYS_socketpair, AF_UNIX, kind, 0, &mut pair).expect("a pair");
        let [one, other] = pair;
        let write = |fd: i32| sys!(SYS_write, fd, b"x", 1).expect("a byte");
        let read = |fd: i32| sys!(SYS_read, fd, &mut [0u8; 8], 8).expect("a byte");
        let mut show = |case: &str| t.show(&format!("room_{word}_{case}"), ready(epoll, 0));
        control(epoll, EPOLL_CTL_ADD, one, EPOLLIN | EPOLLOUT | EPOLLET, 1).expect("added");
        show("first");
        write(one);
        show("written");
        read(other);
        show("read");
        show("read_once");
        write(other);
        show("comes");
        write(one);
        read(other);
        show("comes_and_read");
        control(epoll, EPOLL_CTL_MOD, one, EPOLLIN | EPOLLET, 2).expect("modified");
        show("only_reads");
        write(one);
        read(other);
        show("only_reads_and_read");
        control(epoll, EPOLL_CTL_MOD, one, EPOLLOUT, 3).expect("modified");
        show("level");
        [epoll, one, other].into_iter().for_each(close);
    }
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let fd = sys!(SYS_socket, AF_INET, SOCK_DGRAM, 0).expect("a socket") as i32;
    let mut name = [0u8; 16];
    name[0] = AF_INET as u8;
    name[4..8].copy_from_slice(&[127, 0, 0, 1]);
    sys!(SYS_bind, fd, &name, 16).expect("an address");
    sys!(SYS_getsockname, fd, &mut name, &mut 16i32).expect("a name");
    let send = || sys!(SYS_sendto, fd, b"x", 1, 0, &name, 16).expect("it goes");
    let mut show = |case: &str| t.show(&format!("room_udp_{case}"), ready(epoll, 0));
    control(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLET, 1).expect("added");
    show("first");
    show("once");
    send();
    show("sent");
    show("sent_once");
    control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 2).expect("modified");
    show("reads");
    show("reads_once");
    [epoll, fd].into_iter().for_each(close);
}

fn waiting(t: &mut Report) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let (reader, writer) = pipe();
    control(epoll, EPOLL_CTL_ADD, reader, EPOLLIN, 1).expect("added");
    let start = now();
    t.show("times_out", ready(epoll, 20));
    t.is("waits", now() - start >= 20_000_000);
    let thread = std::thread::spawn(move || ready(epoll, 5000));
    until_others_sleep();
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.show("woken", thread.join().expect("a thread"));
    let _ = sys!(SYS_read, reader, &mut [0u8; 8], 8);
    // A descriptor that is added while a thread waits can wake it.
    let event = sys!(SYS_eventfd2, 1, 0).expect("an event") as i32;
    let thread = std::thread::spawn(move || ready(epoll, 5000));
    until_others_sleep();
    control(epoll, EPOLL_CTL_ADD, event, EPOLLIN, 2).expect("added");
    t.show("woken_by_add", thread.join().expect("a thread"));
    let short = timespec { tv_sec: 0, tv_nsec: 1000 };
    let mut events = [sys::zeroed::<epoll_event>(); 4];
    t.call("pwait2", sys!(SYS_epoll_pwait2, epoll, &mut events, 4, &short, 0, 8));
    // With room for one event at a time, all come round.
    let second = sys!(SYS_eventfd2, 1, 0).expect("an event") as i32;
    control(epoll, EPOLL_CTL_ADD, second, EPOLLIN, 3).expect("added");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        if sys!(SYS_epoll_wait, epoll, &mut events, 1, 0) == Ok(1) {
            seen.insert(events[0].u64);
        }
    }
    t.show("fair", format!("{seen:?}"));
    for fd in [epoll, reader, writer, event, second] {
        close(fd);
    }
}

/// An entry lives as long as its open file description, not its number.
fn lifetimes(t: &mut Report) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll") as i32;
    let event = sys!(SYS_eventfd2, 1, 0).expect("an event") as i32;
    control(epoll, EPOLL_CTL_ADD, event, EPOLLIN, 1).expect("added");
    let duplicate = sys!(SYS_dup, event).expect("a duplicate") as i32;
    t.call("add_duplicate", control(epoll, EPOLL_CTL_ADD, duplicate, EPOLLIN, 2));
    t.show("both_ready", ready(epoll, 0));
    close(event);
    t.show("survives_close_of_one", ready(epoll, 0));
    t.call("closed_number_cannot_be_deleted", control(epoll, EPOLL_CTL_DEL, event, 0, 0));
    close(duplicate);
    t.show("gone_with_last", ready(epoll, 0));
    close(epoll);
}
