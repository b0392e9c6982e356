//! Asynchronous I/O: `io_setup(2)` and its family.

use std::ptr::{from_ref, null};

use libc::*;

use super::helpers::{close, get, must_open, pipe, status_of, until_others_sleep};
use crate::report::Report;
use crate::sys::{self, Errno};

/// The C library does not know it.
#[expect(non_upper_case_globals, reason = "named as it names the others")]
const SYS_io_pgetevents: i64 = 333;

const READ: u16 = 0;
const WRITE: u16 = 1;
const SYNC: u16 = 2;
const DATA_SYNC: u16 = 3;
const POLL: u16 = 5;
const READ_VECTOR: u16 = 7;
const WRITE_VECTOR: u16 = 8;
/// `IOCB_FLAG_RESFD`
const TELL: u32 = 1;

/// `struct iocb`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Control {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: i32,
    buffer: u64,
    count: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    tell: i32,
}

impl Control {
    fn new(opcode: u16, fd: i32, bytes: &[u8], offset: i64) -> Self {
        let (buffer, count) = (bytes.as_ptr() as u64, bytes.len() as u64);
        Self { data: 7, key: 9, opcode, fd, buffer, count, offset, ..Self::default() }
    }

    fn bare(opcode: u16, fd: i32) -> Self {
        Self { opcode, fd, ..Self::default() }
    }
}

/// `data`, `obj`, `res`, `res2`
type Event = [i64; 4];

fn submit(context: u64, control: &Control) -> Result<usize, Errno> {
    sys!(SYS_io_submit, context, 1, &[from_ref(control)])
}

/// Takes what has been done, up to `events` of it, without waiting.
fn take(context: u64, events: &mut [Event]) -> Result<usize, Errno> {
    let none = timespec { tv_sec: 0, tv_nsec: 0 };
    sys!(SYS_io_getevents, context, 0, events.len(), events.as_mut_ptr(), &none)
}

/// The result of a request that ends by itself.
fn result(t: &mut Report, case: &str, context: u64, control: &Control) {
    let mut events = [Event::default(); 2];
    match submit(context, control) {
        Ok(1) => {
            // A flush takes its time on Linux.
            let taken = sys!(SYS_io_getevents, context, 1, 2, events.as_mut_ptr(), 0);
            let same = events[0][1] == from_ref(control).addr().cast_signed() as i64;
            t.show(case, format!("{taken:?} {} {} {same}", events[0][0], events[0][2]));
        }
        other => t.call(case, other),
    }
}

/// Runs the group.
pub fn run(t: &mut Report) {
    let context = contexts(t);
    transfers(t, context);
    refused(t, context);
    events(t, context);
    notices(t, context);
    polls(t, context);
    end(t, context);
}

fn contexts(t: &mut Report) -> u64 {
    let mut context = 0u64;
    t.call("setup_none", sys!(SYS_io_setup, 0, &mut context));
    t.call("setup_null", sys!(SYS_io_setup, 1, 0));
    t.call("setup_far_too_many", sys!(SYS_io_setup, 0x1000_0000, &mut context));
    t.call("setup_too_many", sys!(SYS_io_setup, 100_000, &mut context));
    t.call("setup", sys!(SYS_io_setup, 128, &mut context));
    t.call("setup_again", sys!(SYS_io_setup, 128, &mut context));
    let maps = get("/proc/self/maps");
    let line = maps.lines().find(|line| line.ends_with("/[aio] (deleted)")).unwrap_or("none");
    t.is("ring_is_mapped", line.starts_with(&format!("{context:x}-{:x} rw-s ", context + 3 * 4096)));
    let mut header = [0u32; 8];
    let mut local = iovec { iov_base: header.as_mut_ptr().cast(), iov_len: 32 };
    let mut remote = iovec { iov_base: context as *mut c_void, iov_len: 32 };
    let pid = sys!(SYS_getpid).expect("an id");
    t.call("ring_can_be_read", sys!(SYS_process_vm_readv, pid, &mut local, 1, &mut remote, 1, 0));
    t.show("ring", format!("{:?}", &header[1..]));
    context
}

fn transfers(t: &mut Report, context: u64) {
    let fd = must_open(c"file", O_RDWR | O_CREAT);
    result(t, "write", context, &Control::new(WRITE, fd, b"hello", 3));
    t.show("written", format!("{:?}", get("file")));
    let bytes = [0u8; 16];
    result(t, "read", context, &Control::new(READ, fd, &bytes, 4));
    t.show("bytes", String::from_utf8_lossy(&bytes[..4]));
    result(t, "read_at_end", context, &Control::new(READ, fd, &bytes, 8));
    result(t, "read_nothing", context, &Control::new(READ, fd, &[], 0));
    let vectors = [b"ab".as_slice(), b"cde"]
        .map(|part| iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    let parts = Control { buffer: vectors.as_ptr() as u64, count: 2, ..Control::bare(WRITE_VECTOR, fd) };
    result(t, "write_parts", context, &parts);
    let one = [iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: 16 }];
    let parts = Control { buffer: one.as_ptr() as u64, count: 1, ..Control::bare(READ_VECTOR, fd) };
    result(t, "read_parts", context, &parts);
    t.show("parts", String::from_utf8_lossy(&bytes[..8]));
    result(t, "too_many_parts", context, &Control { count: 1025, ..parts });
    result(t, "sync", context, &Control::bare(SYNC, fd));
    result(t, "data_sync", context, &Control::bare(DATA_SYNC, fd));
    result(t, "append", context, &Control { rw_flags: 16, ..Control::new(WRITE, fd, b"!", 0) });
    t.show("appended", format!("{:?}", get("file")));
    let nowhere = Control { buffer: 0x1000, count: 4, ..Control::bare(READ, fd) };
    result(t, "read_to_nowhere", context, &nowhere);
    result(t, "write_from_nowhere", context, &Control { opcode: WRITE, ..nowhere });
    result(t, "read_to_kernel", context, &Control { buffer: 1 << 63, ..nowhere });
    close(fd);
    let ends = pipe();
    result(t, "write_pipe", context, &Control::new(WRITE, ends[1], b"pipe", 0));
    result(t, "read_pipe", context, &Control::new(READ, ends[0], &bytes, 1));
    result(t, "sync_pipe", context, &Control::bare(SYNC, ends[0]));
    close(ends[0]);
    close(ends[1]);
}

fn refused(t: &mut Report, context: u64) {
    let reader = must_open(c"file", O_RDONLY);
    let folder = must_open(c".", O_RDONLY | O_DIRECTORY);
    let bytes = [0u8; 4];
    let good = Control::new(READ, reader, &bytes, 0);
    for (case, control) in [
        ("closed", Control { fd: 99, ..good }),
        ("operation", Control { opcode: 4, ..good }),
        ("operation_none", Control { opcode: 6, ..good }),
        ("operation_beyond", Control { opcode: 9, ..good }),
        ("reserved", Control { reserved: 1, ..good }),
        ("count", Control { count: 1 << 63, ..good }),
        ("offset", Control { offset: -1, ..good }),
        ("not_writable", Control { opcode: WRITE, ..good }),
        ("flags", Control { rw_flags: 1 << 30, ..good }),
        ("folder", Control { fd: folder, ..good }),
        ("sync_with_buffer", Control { opcode: SYNC, ..good }),
        ("poll_with_count", Control { opcode: POLL, ..good }),
        ("poll_events", Control { buffer: 1 << 16, ..Control::bare(POLL, reader) }),
        ("tell_closed", Control { flags: TELL, tell: 99, ..good }),
        ("tell_file", Control { flags: TELL, tell: reader, ..good }),
        ("closed_and_flags", Control { fd: 99, rw_flags: 1 << 30, ..good }),
        ("folder_and_offset", Control { fd: folder, offset: -1, ..good }),
    ] {
        result(t, &format!("refused_{case}"), context, &control);
    }
    t.call("submit_nothing", sys!(SYS_io_submit, context, 0, 0));
    t.call("submit_below_nothing", sys!(SYS_io_submit, context, -1i64, 0));
    t.call("submit_null", sys!(SYS_io_submit, context, 1, 0));
    t.call("submit_null_request", sys!(SYS_io_submit, context, 1, &[0u64]));
    t.call("submit_nowhere", sys!(SYS_io_submit, 0x1000, 1, &[from_ref(&good)]));
    let bad = Control { opcode: 4, ..good };
    t.call(
        "submit_two",
        sys!(SYS_io_submit, context, 3, &[from_ref(&good), from_ref(&bad), from_ref(&good)]),
    );
    let mut events = [Event::default(); 4];
    t.call("submitted_one", take(context, &mut events));
    t.call("submit_key", submit(context, &good));
    t.show("key", good.key);
    let _ = take(context, &mut events);
    close(reader);
    close(folder);
}

fn events(t: &mut Report, context: u64) {
    let fd = must_open(c"file", O_RDONLY);
    let bytes = [0u8; 1];
    let control = Control::new(READ, fd, &bytes, 0);
    let mut events = [Event::default(); 4];
    let at = events.as_mut_ptr();
    let soon = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    t.call("take_nothing", take(context, &mut events));
    t.call("take_least_above_most", sys!(SYS_io_getevents, context, 2, 1, at, &soon));
    t.call("take_least_below", sys!(SYS_io_getevents, context, -1i64, 1, at, &soon));
    t.call("take_most_below", sys!(SYS_io_getevents, context, 0, -1i64, at, &soon));
    t.call("take_bad_time", sys!(SYS_io_getevents, context, 0, 1, at, 8));
    t.call("take_nowhere", sys!(SYS_io_getevents, 0x1000, 0, 1, at, &soon));
    t.call("take_late", sys!(SYS_io_getevents, context, 1, 1, at, &soon));
    for _ in 0..3 {
        let _ = submit(context, &control);
    }
    t.call("take_two", sys!(SYS_io_getevents, context, 2, 2, at, 0));
    t.call("take_some_late", sys!(SYS_io_getevents, context, 2, 4, at, &soon));
    let _ = submit(context, &control);
    t.call("take_to_nowhere", sys!(SYS_io_getevents, context, 1, 1, 0x1000, 0));
    t.call("take_still_there", take(context, &mut events));
    t.call("least_zero_never_waits", sys!(SYS_io_getevents, context, 0, 1, at, 0));
    let _ = submit(context, &control);
    let mask = 0u64;
    let masked = |time: *const timespec, size: usize| {
        let set = [from_ref(&mask).addr(), size];
        let words = [context as usize, 1, 1, at.addr(), time.addr(), set.as_ptr().addr()];
        sys::call(SYS_io_pgetevents, words)
    };
    t.call("take_masked", masked(null(), 8));
    t.call("take_bad_mask", masked(from_ref(&soon), 4));
    t.call("take_masked_late", masked(from_ref(&soon), 8));
    t.show("child", status_of(|| take(context, &mut [Event::default()]).map_or_else(|errno| errno.0, |_| 0)));
    close(fd);
}

fn notices(t: &mut Report, context: u64) {
    let fd = must_open(c"file", O_RDONLY);
    let counter = sys!(SYS_eventfd2, 0, EFD_NONBLOCK).expect("a counter") as i32;
    let control = Control { flags: TELL, tell: counter, ..Control::new(READ, fd, &[], 0) };
    for _ in 0..2 {
        let _ = submit(context, &control);
    }
    let mut value = 0u64;
    t.call("told", sys!(SYS_read, counter, &mut value, 8));
    t.show("told_times", value);
    t.call("told_of", take(context, &mut [Event::default(); 4]));
    close(counter);
    close(fd);
}

fn polls(t: &mut Report, context: u64) {
    let ends = pipe();
    let mut events = [Event::default(); 4];
    let writable = Control { buffer: POLLOUT as u64, ..Control::bare(POLL, ends[1]) };
    result(t, "poll_writable", context, &writable);
    let readable = Control { buffer: POLLIN as u64, data: 5, ..Control::bare(POLL, ends[0]) };
    t.call("poll_readable", submit(context, &readable));
    t.call("poll_not_yet", take(context, &mut events));
    let waiting = std::thread::spawn(move || {
        let mut event = Event::default();
        sys!(SYS_io_getevents, context, 1, 1, &mut event, 0).map(|_| event)
    });
    until_others_sleep();
    t.call("poll_write", sys!(SYS_write, ends[1], b"x", 1));
    let event = waiting.join().expect("a thread").unwrap_or_default();
    // Whoever wakes a poll on Linux may tell of more than it asks for.
    t.show("poll_woken", format!("{} {} {}", event[0], event[2] & i64::from(POLLIN), event[3]));
    let mut byte = [0u8];
    let _ = sys!(SYS_read, ends[0], byte.as_mut_ptr(), 1);
    t.call("cancel_nothing", sys!(SYS_io_cancel, context, &readable, events.as_mut_ptr()));
    let _ = submit(context, &readable);
    t.call("cancel", sys!(SYS_io_cancel, context, &readable, events.as_mut_ptr()));
    t.call("cancelled", sys!(SYS_io_getevents, context, 1, 4, events.as_mut_ptr(), 0));
    t.show("cancelled_with", events[0][2]);
    t.call("cancel_null", sys!(SYS_io_cancel, context, 0, 0));
    t.call("cancel_key", sys!(SYS_io_cancel, context, &Control { key: 1, ..readable }, 0));
    t.call("cancel_nowhere", sys!(SYS_io_cancel, 0x1000, &readable, 0));
    let _ = submit(context, &readable);
    close(ends[1]);
    t.call("poll_hang_up", sys!(SYS_io_getevents, context, 1, 4, events.as_mut_ptr(), 0));
    t.show("poll_hang_up_events", events[0][2]);
    close(ends[0]);
}

fn end(t: &mut Report, context: u64) {
    let ends = pipe();
    let waits = Control { buffer: POLLIN as u64, ..Control::bare(POLL, ends[0]) };
    t.call("end_waits", submit(context, &waits));
    t.call("destroy", sys!(SYS_io_destroy, context));
    t.call("destroy_again", sys!(SYS_io_destroy, context));
    t.call("after", take(context, &mut [Event::default()]));
    let mut page = [0u8];
    t.call("ring_is_gone", sys!(SYS_mincore, context, 4096, page.as_mut_ptr()));
    close(ends[0]);
    close(ends[1]);
}
