//! `poll`, `ppoll`, `select` and `pselect`.

use libc::*;

use super::helpers::{CLOSED, close, must_open, now, until_others_sleep};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    polling(t, ends);
    selecting(t, ends);
    let [reader, writer] = ends;
    close(writer);
    let mut entry = [pollfd { fd: reader, events: POLLIN, revents: 0 }];
    t.call("hang_up", sys!(SYS_poll, &mut entry, 1, 0));
    t.show("hang_up_events", entry[0].revents);
    close(reader);
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).expect("a pipe");
    close(ends[0]);
    let mut entry = [pollfd { fd: ends[1], events: POLLOUT, revents: 0 }];
    t.call("no_reader", sys!(SYS_poll, &mut entry, 1, 0));
    t.show("no_reader_events", entry[0].revents);
    close(ends[1]);
}

fn polling(t: &mut Report, [reader, writer]: [i32; 2]) {
    let many = [pollfd { fd: writer, events: POLLOUT, revents: 0 }; 1000];
    t.call("thousand_times_the_same", sys!(SYS_poll, &many, 1000, -1));
    t.show("thousand_ready", many.iter().filter(|entry| entry.revents == POLLOUT).count());
    let many = [pollfd { fd: reader, events: POLLIN, revents: 0 }; 1000];
    t.call("thousand_not_ready", sys!(SYS_poll, &many, 1000, 1));
    let entry = |fd, events| pollfd { fd, events, revents: -1 };
    let mut entries =
        [entry(reader, POLLIN), entry(writer, POLLOUT), entry(-1, POLLIN), entry(CLOSED, POLLIN)];
    t.call("poll", sys!(SYS_poll, &mut entries, 4, 0));
    t.show("poll_events", format!("{:?}", entries.map(|entry| entry.revents)));
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.call("poll_readable", sys!(SYS_poll, &mut entries, 1, 0));
    t.show("poll_readable_events", format!("{:?}", entries.map(|entry| entry.revents)));
    let mut wide = [entry(reader, POLLIN | POLLRDNORM | POLLPRI)];
    t.call("poll_normal", sys!(SYS_poll, &mut wide, 1, -1));
    t.show("poll_normal_events", wide[0].revents);
    let _ = sys!(SYS_read, reader, &mut [0u8; 1], 1);
    let start = now();
    t.call("poll_times_out", sys!(SYS_poll, &mut entries, 1, 20));
    t.is("poll_waits", now() - start >= 20_000_000);
    t.call("poll_sleeps", sys!(SYS_poll, 0, 0, 5));
    t.call("poll_fault", sys!(SYS_poll, 8, 1, 0));
    t.call("poll_too_many", sys!(SYS_poll, &mut entries, 1 << 30, 0));
    let thread = std::thread::spawn(move || {
        let mut entries = [pollfd { fd: reader, events: POLLIN, revents: 0 }];
        sys!(SYS_poll, &mut entries, 1, 5000).map(|count| count * 1000 + entries[0].revents as usize)
    });
    until_others_sleep();
    let _ = sys!(SYS_write, writer, b"x", 1);
    t.call("poll_woken", thread.join().expect("a thread"));
    let _ = sys!(SYS_read, reader, &mut [0u8; 1], 1);
    let file = must_open(c"file", O_CREAT | O_RDWR);
    let mut entries = [entry(file, POLLIN | POLLOUT)];
    t.call("poll_file", sys!(SYS_poll, &mut entries, 1, 0));
    t.show("poll_file_events", entries[0].revents);
    close(file);
    let mut time = timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let mut entries = [entry(reader, POLLIN)];
    t.call("ppoll_times_out", sys!(SYS_ppoll, &mut entries, 1, &mut time, 0, 8));
    t.show("ppoll_updates_time", format!("{} {}", time.tv_sec, time.tv_nsec));
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    t.call("ppoll_bad_time", sys!(SYS_ppoll, &mut entries, 1, &bad, 0, 8));
    t.call("ppoll_bad_mask_size", sys!(SYS_ppoll, &mut entries, 1, 0, &0u64, 4));
}

/// One word of descriptors.
const fn set(fd: i32) -> [u64; 16] {
    let mut words = [0; 16];
    words[fd as usize / 64] = 1 << (fd as usize % 64);
    words
}

fn selecting(t: &mut Report, [reader, writer]: [i32; 2]) {
    let zero = || timeval { tv_sec: 0, tv_usec: 0 };
    let mut read = set(reader);
    let mut write = set(writer);
    t.call("select", sys!(SYS_select, writer + 1, &mut read, &mut write, 0, &mut zero()));
    t.show("select_sets", format!("{:x} {:x}", read[0], write[0]));
    let _ = sys!(SYS_write, writer, b"x", 1);
    let mut read = set(reader);
    let mut write = set(writer);
    t.call("select_both", sys!(SYS_select, writer + 1, &mut read, &mut write, 0, 0));
    t.call("select_low_limit_ignores", sys!(SYS_select, reader, &mut read, 0, 0, &mut zero()));
    let _ = sys!(SYS_read, reader, &mut [0u8; 1], 1);
    let mut time = timeval { tv_sec: 0, tv_usec: 10_000 };
    let mut read = set(reader);
    t.call("select_times_out", sys!(SYS_select, writer + 1, &mut read, 0, 0, &mut time));
    t.show("select_clears", format!("{:x} {} {}", read[0], time.tv_sec, time.tv_usec));
    t.call("select_negative", sys!(SYS_select, -1, 0, 0, 0, &mut zero()));
    let mut closed = set(50);
    t.call("select_closed", sys!(SYS_select, 60, &mut closed, 0, 0, &mut zero()));
    t.call("select_fault", sys!(SYS_select, 60, 8, 0, 0, &mut zero()));
    t.call("select_bad_time", sys!(SYS_select, 0, 0, 0, 0, &mut timeval { tv_sec: -1, tv_usec: 0 }));
    let short = timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    t.call("pselect_times_out", sys!(SYS_pselect6, 0, 0, 0, 0, &short, 0));
    let mut write = set(writer);
    t.call("pselect", sys!(SYS_pselect6, writer + 1, 0, &mut write, 0, 0, 0));
    let bad_mask = [std::ptr::from_ref(&0u64) as usize, 4];
    t.call("pselect_bad_mask_size", sys!(SYS_pselect6, 0, 0, 0, 0, &short, &bad_mask));
}
