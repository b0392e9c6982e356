//! Reading, writing and positions.

use libc::*;

use super::helpers::{CLOSED, NOWHERE, close, fstat, get, must_open, open, put};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    reading(t);
    writing(t);
    positions(t);
    vectors(t);
    between_files(t);
    flushing(t);
}

fn reading(t: &mut Report) {
    put("digits", "0123456789");
    let fd = must_open(c"digits", O_RDONLY);
    let mut buffer = [0u8; 32];
    t.call("read", sys!(SYS_read, fd, &mut buffer, 4));
    t.show("read_bytes", String::from_utf8_lossy(&buffer[..4]));
    t.call("read_short", sys!(SYS_read, fd, &mut buffer, 32));
    t.call("read_end", sys!(SYS_read, fd, &mut buffer, 32));
    t.call("read_nothing", sys!(SYS_read, fd, &mut buffer, 0));
    t.call("read_nothing_fault", sys!(SYS_read, fd, NOWHERE, 0));
    t.call("read_fault_at_end", sys!(SYS_read, fd, NOWHERE, 8));
    t.call("pread", sys!(SYS_pread64, fd, &mut buffer, 3, 7));
    t.call("pread_beyond", sys!(SYS_pread64, fd, &mut buffer, 3, 100));
    t.call("pread_negative", sys!(SYS_pread64, fd, &mut buffer, 3, -1));
    t.call("pread_fault", sys!(SYS_pread64, fd, NOWHERE, 3, 0));
    t.call("pread_keeps_position", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    t.call("read_kernel_address", sys!(SYS_pread64, fd, usize::MAX - 4095, 3, 0));
    t.call("write_read_only", sys!(SYS_write, fd, &buffer, 1));
    t.call("write_read_only_nothing", sys!(SYS_write, fd, &buffer, 0));
    close(fd);
    t.call("read_closed", sys!(SYS_read, CLOSED, &mut buffer, 1));
    let fd = must_open(c".", O_RDONLY);
    t.call("read_directory", sys!(SYS_read, fd, &mut buffer, 1));
    t.call("pread_directory", sys!(SYS_pread64, fd, &mut buffer, 1, 0));
    close(fd);
}

fn writing(t: &mut Report) {
    let fd = must_open(c"out", O_CREAT | O_WRONLY);
    let mut buffer = [0u8; 8];
    t.call("write", sys!(SYS_write, fd, b"hello", 5));
    t.call("write_nothing", sys!(SYS_write, fd, NOWHERE, 0));
    t.call("write_fault", sys!(SYS_write, fd, NOWHERE, 5));
    t.call("read_write_only", sys!(SYS_read, fd, &mut buffer, 1));
    t.call("pwrite", sys!(SYS_pwrite64, fd, b"J", 1, 0));
    t.call("pwrite_negative", sys!(SYS_pwrite64, fd, b"J", 1, -5));
    t.show("written", get("out"));
    t.call("pwrite_hole", sys!(SYS_pwrite64, fd, b"end", 3, 8));
    t.show("hole", get("out").replace('\0', "."));
    close(fd);
    let fd = must_open(c"out", O_WRONLY | O_APPEND);
    t.call("append", sys!(SYS_write, fd, b"+", 1));
    t.call("append_position", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    t.call("append_pwrite_appends", sys!(SYS_pwrite64, fd, b"*", 1, 0));
    t.show("appended", get("out").replace('\0', "."));
    close(fd);
    t.call("write_closed", sys!(SYS_write, CLOSED, b"x", 1));
    // A write that ends in a page that is not there is cut short where the page begins.
    let page = sys!(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        .expect("two pages");
    sys!(SYS_munmap, page + 4096, 4096).expect("the second page goes");
    let fd = must_open(c"cut", O_CREAT | O_RDWR);
    t.call("write_cut_by_fault", sys!(SYS_write, fd, page + 4096 - 10, 20));
    t.show("write_cut_size", fstat(fd).st_size);
    sys!(SYS_pwrite64, fd, b"0123456789abcdefghij", 20, 0).expect("twenty bytes");
    t.call("read_cut_by_fault", sys!(SYS_pread64, fd, page + 4096 - 10, 20, 0));
    close(fd);
    sys!(SYS_munmap, page, 4096).expect("the first page goes");
}

fn positions(t: &mut Report) {
    put("digits", "0123456789");
    let fd = must_open(c"digits", O_RDWR);
    for (name, offset, length, flags) in [
        ("", 0, 10, 7),
        ("_flags", 0, 10, 8),
        ("_negative", -1i64, 10, 0),
        ("_backwards", 5, -6, 0),
        ("_overflow", 5, i64::MAX, 0),
    ] {
        t.call(&format!("sync_file_range{name}"), sys!(SYS_sync_file_range, fd, offset, length, flags));
    }
    t.call("sync_file_range_closed", sys!(SYS_sync_file_range, CLOSED, 0, 0, 8));
    t.call("seek_set", sys!(SYS_lseek, fd, 4, SEEK_SET));
    t.call("seek_cur", sys!(SYS_lseek, fd, 2, SEEK_CUR));
    t.call("seek_back", sys!(SYS_lseek, fd, -6, SEEK_CUR));
    t.call("seek_before_start", sys!(SYS_lseek, fd, -1, SEEK_CUR));
    t.call("seek_negative", sys!(SYS_lseek, fd, -1, SEEK_SET));
    t.call("seek_end", sys!(SYS_lseek, fd, 0, SEEK_END));
    t.call("seek_beyond", sys!(SYS_lseek, fd, 100, SEEK_END));
    t.call("seek_overflow", sys!(SYS_lseek, fd, i64::MAX, SEEK_CUR));
    t.call("seek_bad_whence", sys!(SYS_lseek, fd, 0, 9));
    t.call("seek_data", sys!(SYS_lseek, fd, 0, SEEK_DATA));
    t.call("seek_hole", sys!(SYS_lseek, fd, 0, SEEK_HOLE));
    t.call("seek_data_at_end", sys!(SYS_lseek, fd, 10, SEEK_DATA));
    t.call("seek_hole_at_end", sys!(SYS_lseek, fd, 10, SEEK_HOLE));
    t.call("seek_closed", sys!(SYS_lseek, CLOSED, 0, SEEK_SET));
    let second = sys!(SYS_dup, fd).expect("a duplicate") as i32;
    sys!(SYS_lseek, fd, 3, SEEK_SET).expect("a seek");
    t.call("dup_shares_position", sys!(SYS_lseek, second, 0, SEEK_CUR));
    close(second);
    let other = must_open(c"digits", O_RDONLY);
    t.call("open_has_own_position", sys!(SYS_lseek, other, 0, SEEK_CUR));
    close(other);
    close(fd);
}

fn vectors(t: &mut Report) {
    let vector = |bytes: &[u8]| iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let fd = must_open(c"vector", O_CREAT | O_RDWR);
    let parts = [vector(b"one"), vector(b""), vector(b"-two")];
    t.call("writev", sys!(SYS_writev, fd, &parts, 3));
    t.call("writev_none", sys!(SYS_writev, fd, &parts, 0));
    t.call("writev_negative_count", sys!(SYS_writev, fd, &parts, -1));
    t.call("writev_too_many", sys!(SYS_writev, fd, &parts, 1025));
    t.call("writev_fault", sys!(SYS_writev, fd, NOWHERE, 1));
    let huge = [iovec { iov_base: std::ptr::null_mut(), iov_len: usize::MAX }];
    t.call("writev_negative_length", sys!(SYS_writev, fd, &huge, 1));
    let (mut first, mut second) = ([0u8; 2], [0u8; 10]);
    let into = [
        iovec { iov_base: first.as_mut_ptr().cast(), iov_len: 2 },
        iovec { iov_base: second.as_mut_ptr().cast(), iov_len: 10 },
    ];
    sys!(SYS_lseek, fd, 0, SEEK_SET).expect("a seek");
    t.call("readv", sys!(SYS_readv, fd, &into, 2));
    t.show(
        "readv_bytes",
        format!("{}|{}", String::from_utf8_lossy(&first), String::from_utf8_lossy(&second[..5])),
    );
    t.call("preadv", sys!(SYS_preadv, fd, &into, 2, 4, 0));
    t.call("pwritev", sys!(SYS_pwritev, fd, &parts, 3, 1, 0));
    t.show("pwritev_content", get("vector"));
    t.call("preadv2_position", sys!(SYS_preadv2, fd, &into, 2, -1, -1, 0));
    t.call("preadv2_unknown_flag", sys!(SYS_preadv2, fd, &into, 2, 0, 0, 0x4000_0000));
    t.call("pwritev2_append", sys!(SYS_pwritev2, fd, &parts, 1, 0, 0, 0x10));
    t.show("pwritev2_content", get("vector"));
    t.call("preadv_negative", sys!(SYS_preadv, fd, &into, 2, -9, -1));
    close(fd);
    t.call("readv_closed", sys!(SYS_readv, CLOSED, &into, 2));
}

fn between_files(t: &mut Report) {
    put("source", "0123456789");
    let from = must_open(c"source", O_RDONLY);
    let to = must_open(c"copy", O_CREAT | O_RDWR);
    let mut offset = 2i64;
    t.call("sendfile", sys!(SYS_sendfile, to, from, &mut offset, 5));
    t.show("sendfile_offset", offset);
    t.show("sendfile_content", get("copy"));
    t.call("sendfile_position", sys!(SYS_sendfile, to, from, 0, 3));
    t.call("sendfile_moves", sys!(SYS_lseek, from, 0, SEEK_CUR));
    t.call("sendfile_to_read_only", sys!(SYS_sendfile, from, to, 0, 3));
    t.call("sendfile_closed", sys!(SYS_sendfile, to, CLOSED, 0, 3));
    let (mut off_in, mut off_out) = (0i64, 0i64);
    t.call("copy_file_range", sys!(SYS_copy_file_range, from, &mut off_in, to, &mut off_out, 4, 0));
    t.show("copy_file_range_content", get("copy"));
    t.call("copy_file_range_flags", sys!(SYS_copy_file_range, from, &mut off_in, to, &mut off_out, 4, 1));
    close(from);
    close(to);
}

fn flushing(t: &mut Report) {
    let fd = must_open(c"source", O_RDWR);
    t.call("fsync", sys!(SYS_fsync, fd));
    t.call("fdatasync", sys!(SYS_fdatasync, fd));
    t.call("syncfs", sys!(SYS_syncfs, fd));
    t.call("sync", sys!(SYS_sync));
    t.call("fadvise", sys!(SYS_fadvise64, fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    t.call("fadvise_bad", sys!(SYS_fadvise64, fd, 0, 0, 77));
    t.call("readahead", sys!(SYS_readahead, fd, 0, 4096));
    close(fd);
    t.call("fsync_closed", sys!(SYS_fsync, CLOSED));
    t.ok("reopen", open(c"source", O_RDONLY | O_NOATIME));
    close(3);
}
