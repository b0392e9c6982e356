//! Pipes, named and not.

use libc::*;

use super::helpers::{close, fstat, must_open, until_others_sleep};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    basics(t);
    capacity(t);
    blocking(t);
    named(t);
    splicing(t);
}

/// A new pipe: its reading and its writing end.
fn pipe(flags: i32) -> (i32, i32) {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, flags).expect("a pipe");
    (ends[0], ends[1])
}

fn basics(t: &mut Report) {
    let mut ends = [0i32; 2];
    t.call("pipe", sys!(SYS_pipe, &mut ends));
    t.show("pipe_ends", format!("{ends:?}"));
    let [reader, writer] = ends;
    let mut buffer = [0u8; 16];
    t.call("write", sys!(SYS_write, writer, b"hello", 5));
    let mut available = 0i32;
    t.call("fionread", sys!(SYS_ioctl, reader, FIONREAD, &mut available));
    t.show("fionread_bytes", available);
    t.call("read_some", sys!(SYS_read, reader, &mut buffer, 2));
    t.call("read_rest", sys!(SYS_read, reader, &mut buffer, 16));
    t.call("write_nothing", sys!(SYS_write, writer, b"", 0));
    t.call("read_from_writer", sys!(SYS_read, writer, &mut buffer, 1));
    t.call("write_to_reader", sys!(SYS_write, reader, b"x", 1));
    t.call("seek", sys!(SYS_lseek, reader, 0, SEEK_SET));
    t.call("pread", sys!(SYS_pread64, reader, &mut buffer, 1, 0));
    t.call("pwrite", sys!(SYS_pwrite64, writer, b"x", 1, 0));
    t.call("ftruncate", sys!(SYS_ftruncate, writer, 0));
    t.call("fsync", sys!(SYS_fsync, writer));
    t.call("mmap", sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, reader, 0));
    t.show("type", format!("{:o}", fstat(reader).st_mode));
    t.call("read_fault", {
        let _ = sys!(SYS_write, writer, b"x", 1);
        sys!(SYS_read, reader, 8, 1)
    });
    close(writer);
    t.call("read_left_after_close", sys!(SYS_read, reader, &mut buffer, 16));
    t.call("read_end", sys!(SYS_read, reader, &mut buffer, 16));
    close(reader);
    t.call("pipe2_bad_flag", sys!(SYS_pipe2, &mut ends, O_CREAT));
    t.call("pipe_fault", sys!(SYS_pipe, 8));
    // SAFETY: no handler is installed.
    unsafe { signal(SIGPIPE, SIG_IGN) };
    let (reader, writer) = pipe(O_CLOEXEC);
    t.call("cloexec", sys!(SYS_fcntl, reader, F_GETFD));
    close(reader);
    t.call("write_without_reader", sys!(SYS_write, writer, b"x", 1));
    t.call("write_nothing_without_reader", sys!(SYS_write, writer, b"x", 0));
    close(writer);
}

fn capacity(t: &mut Report) {
    let (reader, writer) = pipe(O_NONBLOCK);
    let mut buffer = [0u8; 8192];
    t.call("read_empty", sys!(SYS_read, reader, &mut buffer, 1));
    t.call("size", sys!(SYS_fcntl, writer, F_GETPIPE_SZ));
    let mut written = 0;
    while let Ok(bytes) = sys!(SYS_write, writer, &buffer, 4096) {
        written += bytes;
    }
    t.show("filled", written);
    t.call("write_full", sys!(SYS_write, writer, &buffer, 1));
    t.call("read_a_page", sys!(SYS_read, reader, &mut buffer, 4096));
    t.call("write_atomic_fits", sys!(SYS_write, writer, &buffer, 4096));
    t.call("read_half_a_page", sys!(SYS_read, reader, &mut buffer, 2048));
    t.call("write_atomic_does_not_fit", sys!(SYS_write, writer, &buffer, 4096));
    let _ = sys!(SYS_read, reader, &mut buffer, 8192);
    t.call("write_large_is_partial", sys!(SYS_write, writer, vec![0u8; 20_000].as_ptr(), 20_000));
    close(reader);
    close(writer);
    let (reader, writer) = pipe(0);
    t.call("set_size", sys!(SYS_fcntl, writer, F_SETPIPE_SZ, 4096));
    t.call("set_size_rounds_up", sys!(SYS_fcntl, writer, F_SETPIPE_SZ, 5000));
    t.call("set_size_zero_rounds_up", sys!(SYS_fcntl, writer, F_SETPIPE_SZ, 0));
    let _ = sys!(SYS_fcntl, writer, F_SETPIPE_SZ, 8192);
    let _ = sys!(SYS_write, writer, &buffer, 8000);
    t.call("set_size_below_content", sys!(SYS_fcntl, writer, F_SETPIPE_SZ, 4096));
    close(reader);
    close(writer);
    let fd = must_open(c"file", O_CREAT | O_RDWR);
    t.call("size_of_file", sys!(SYS_fcntl, fd, F_GETPIPE_SZ));
    close(fd);
    let (reader, writer) = pipe(O_DIRECT | O_NONBLOCK);
    let _ = sys!(SYS_write, writer, b"one", 3);
    let _ = sys!(SYS_write, writer, b"three", 5);
    t.call("packet", sys!(SYS_read, reader, &mut buffer, 100));
    t.call("packet_cut", sys!(SYS_read, reader, &mut buffer, 2));
    t.call("packet_rest_is_gone", sys!(SYS_read, reader, &mut buffer, 100));
    close(reader);
    close(writer);
}

fn blocking(t: &mut Report) {
    let (reader, writer) = pipe(0);
    let thread = std::thread::spawn(move || sys!(SYS_read, reader, &mut [0u8; 8], 8));
    until_others_sleep();
    let _ = sys!(SYS_write, writer, b"abc", 3);
    t.call("read_waits", thread.join().expect("a thread"));
    let thread = std::thread::spawn(move || sys!(SYS_read, reader, &mut [0u8; 8], 8));
    until_others_sleep();
    close(writer);
    t.call("read_ends_with_last_writer", thread.join().expect("a thread"));
    close(reader);
    // More than the pipe holds, through two threads, in order.
    let (reader, writer) = pipe(0);
    let total = 1 << 20;
    let thread = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|index| (index % 251) as u8).collect();
        let result = sys!(SYS_write, writer, bytes.as_ptr(), bytes.len());
        close(writer);
        result
    });
    let (mut received, mut in_order) = (0usize, true);
    let mut buffer = [0u8; 3000];
    while let Ok(length @ 1..) = sys!(SYS_read, reader, &mut buffer, 3000) {
        in_order &= (0..length).all(|index| usize::from(buffer[index]) == (received + index) % 251);
        received += length;
    }
    t.call("write_waits_for_all", thread.join().expect("a thread"));
    t.show("received", received);
    t.is("received_in_order", in_order);
    close(reader);
    let (reader, writer) = pipe(0);
    let thread = std::thread::spawn(move || sys!(SYS_write, writer, vec![0u8; 100_000].as_ptr(), 100_000));
    until_others_sleep();
    close(reader);
    t.call("write_ends_with_last_reader", thread.join().expect("a thread"));
    close(writer);
}

fn named(t: &mut Report) {
    sys!(SYS_mknodat, AT_FDCWD, c"fifo", S_IFIFO | 0o600, 0).expect("a pipe");
    t.call("fifo_write_nonblock_alone", sys!(SYS_openat, AT_FDCWD, c"fifo", O_WRONLY | O_NONBLOCK, 0));
    t.call("fifo_read_nonblock_alone", sys!(SYS_openat, AT_FDCWD, c"fifo", O_RDONLY | O_NONBLOCK, 0));
    t.call("fifo_write_with_reader", sys!(SYS_openat, AT_FDCWD, c"fifo", O_WRONLY | O_NONBLOCK, 0));
    t.call("fifo_write", sys!(SYS_write, 4, b"abc", 3));
    t.call("fifo_read", sys!(SYS_read, 3, &mut [0u8; 8], 8));
    close(3);
    close(4);
    let thread = std::thread::spawn(|| sys!(SYS_openat, AT_FDCWD, c"fifo", O_RDONLY, 0));
    until_others_sleep();
    let writer = sys!(SYS_openat, AT_FDCWD, c"fifo", O_WRONLY, 0);
    t.ok("fifo_open_meets", writer);
    // Its number depends on what was open in the moment when the other thread began to wait.
    let reader = thread.join().expect("a thread");
    t.ok("fifo_open_met", reader);
    for end in [writer, reader] {
        close(end.expect("an open end") as i32);
    }
    t.call("fifo_both_ways", sys!(SYS_openat, AT_FDCWD, c"fifo", O_RDWR, 0));
    close(3);
}

fn splicing(t: &mut Report) {
    super::helpers::put("source", "0123456789");
    let file = must_open(c"source", O_RDONLY);
    let (reader, writer) = pipe(O_NONBLOCK);
    t.call("splice_from_file", sys!(SYS_splice, file, 0, writer, 0, 6, 0));
    let (second, to_second) = pipe(O_NONBLOCK);
    t.call("tee", sys!(SYS_tee, reader, to_second, 4, 0));
    let mut buffer = [0u8; 16];
    t.call("tee_copy", sys!(SYS_read, second, &mut buffer, 16));
    t.show("tee_bytes", String::from_utf8_lossy(&buffer[..4]));
    let out = must_open(c"out", O_CREAT | O_RDWR);
    t.call("splice_to_file", sys!(SYS_splice, reader, 0, out, 0, 100, 0));
    t.show("splice_content", super::helpers::get("out"));
    t.call("splice_empty", sys!(SYS_splice, reader, 0, out, 0, 100, SPLICE_F_NONBLOCK));
    t.call("splice_no_pipe", sys!(SYS_splice, file, 0, out, 0, 100, 0));
    t.call("splice_offset_of_pipe", sys!(SYS_splice, file, 0, writer, &mut 0i64, 1, 0));
    for fd in [file, reader, writer, second, to_second, out] {
        close(fd);
    }
}
