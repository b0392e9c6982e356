//! Sizes: truncation, holes, reserved space.

use libc::*;

use super::helpers::{CLOSED, close, fstat, get, must_open, put};
use crate::report::Report;

/// Runs the group.
pub fn run(t: &mut Report) {
    truncation(t);
    holes(t);
    allocation(t);
    anonymous_files(t);
    endless(t);
    sealed_mappings(t);
}

fn sealed_mappings(t: &mut Report) {
    let map = |fd, protection| sys!(SYS_mmap, 0, 4096, protection, MAP_SHARED, fd, 0);
    let seal = |fd, seals| sys!(SYS_fcntl, fd, F_ADD_SEALS, seals);
    let (read, both) = (PROT_READ, PROT_READ | PROT_WRITE);
    for (name, protection) in [("written", both), ("read", read)] {
        let fd = sys!(SYS_memfd_create, c"sealed", MFD_ALLOW_SEALING).expect("a file") as i32;
        sys!(SYS_ftruncate, fd, 4096).expect("a page");
        let mapped = map(fd, protection).expect("a mapping");
        t.call(&format!("seal_write_while_{name}"), seal(fd, F_SEAL_WRITE));
        sys!(SYS_munmap, mapped, 4096).expect("no mapping");
        t.call(&format!("seal_write_after_{name}"), seal(fd, F_SEAL_WRITE));
        t.call("sealed_map_to_write", map(fd, both));
        let mapped = map(fd, read).unwrap_or(0);
        t.is("sealed_map_to_read", mapped != 0);
        t.call("sealed_mprotect", sys!(SYS_mprotect, mapped, 4096, both));
        close(fd);
    }
    let fd = sys!(SYS_memfd_create, c"sealed", MFD_ALLOW_SEALING).expect("a file") as i32;
    sys!(SYS_ftruncate, fd, 4096).expect("a page");
    let mapped = map(fd, both).expect("a mapping");
    t.call("seal_future_write", seal(fd, F_SEAL_FUTURE_WRITE));
    t.call("future_write", sys!(SYS_pwrite64, fd, b"x", 1, 0));
    t.call("future_map", map(fd, both));
    t.call("future_old_mapping", sys!(SYS_getrandom, mapped, 8, 0));
    t.call("future_then_write", seal(fd, F_SEAL_WRITE));
    t.ok("future_map_to_read", map(fd, read));
    close(fd);
}

fn truncation(t: &mut Report) {
    put("file", "0123456789");
    t.call("truncate_shrink", sys!(SYS_truncate, c"file", 4));
    t.show("truncate_shrunk", get("file"));
    t.call("truncate_grow", sys!(SYS_truncate, c"file", 6));
    t.show("truncate_grown", get("file").replace('\0', "."));
    t.call("truncate_negative", sys!(SYS_truncate, c"file", -1));
    t.call("truncate_directory", sys!(SYS_truncate, c".", 0));
    t.call("truncate_missing", sys!(SYS_truncate, c"missing", 0));
    let fd = must_open(c"file", O_RDWR);
    t.call("ftruncate", sys!(SYS_ftruncate, fd, 3));
    t.call("ftruncate_negative", sys!(SYS_ftruncate, fd, -1));
    sys!(SYS_lseek, fd, 0, SEEK_END).expect("a seek");
    sys!(SYS_ftruncate, fd, 0).expect("empty");
    t.call("ftruncate_keeps_position", sys!(SYS_lseek, fd, 0, SEEK_CUR));
    close(fd);
    let fd = must_open(c"file", O_RDONLY);
    t.call("ftruncate_read_only", sys!(SYS_ftruncate, fd, 0));
    close(fd);
    t.call("ftruncate_closed", sys!(SYS_ftruncate, CLOSED, 0));
    // What a shrunk file held does not come back when it grows again.
    let fd = must_open(c"secret", O_CREAT | O_RDWR);
    sys!(SYS_write, fd, [b's'; 5000].as_ptr(), 5000).expect("5000 bytes");
    sys!(SYS_ftruncate, fd, 100).expect("a shorter file");
    sys!(SYS_ftruncate, fd, 5000).expect("a longer file");
    t.show("grown_is_zero", get("secret").bytes().filter(|&byte| byte != 0).count());
    close(fd);
}

fn holes(t: &mut Report) {
    let fd = must_open(c"sparse", O_CREAT | O_RDWR);
    sys!(SYS_pwrite64, fd, b"data", 4, 1 << 20).expect("four bytes");
    t.show("sparse_size", fstat(fd).st_size);
    t.is("sparse_blocks", fstat(fd).st_blocks < 64);
    t.call("seek_data", sys!(SYS_lseek, fd, 0, SEEK_DATA));
    t.call("seek_hole_at_start", sys!(SYS_lseek, fd, 0, SEEK_HOLE));
    t.call("seek_hole_after_data", sys!(SYS_lseek, fd, 1 << 20, SEEK_HOLE));
    t.call("seek_data_past_end", sys!(SYS_lseek, fd, 2 << 20, SEEK_DATA));
    let mut byte = [1u8; 4];
    t.call("read_hole", sys!(SYS_pread64, fd, &mut byte, 4, 5000));
    t.show("read_hole_bytes", format!("{byte:?}"));
    close(fd);
}

fn allocation(t: &mut Report) {
    let fd = must_open(c"room", O_CREAT | O_RDWR);
    t.call("fallocate", sys!(SYS_fallocate, fd, 0, 0, 8192));
    t.show("fallocate_size", fstat(fd).st_size);
    t.is("fallocate_blocks", fstat(fd).st_blocks >= 16);
    t.call("fallocate_keep_size", sys!(SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, 0, 65536));
    t.show("fallocate_keep_size_size", fstat(fd).st_size);
    sys!(SYS_pwrite64, fd, [b'x'; 8192].as_ptr(), 8192, 0).expect("8192 bytes");
    t.call("punch_hole", sys!(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 4000));
    t.show("punch_hole_left", get("room").bytes().filter(|&byte| byte == b'x').count());
    t.call("punch_hole_without_keep", sys!(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE, 0, 100));
    t.call("fallocate_zero_length", sys!(SYS_fallocate, fd, 0, 0, 0));
    t.call("fallocate_negative", sys!(SYS_fallocate, fd, 0, -1, 10));
    t.call("fallocate_overflow", sys!(SYS_fallocate, fd, 0, i64::MAX, 10));
    t.call("fallocate_unknown_mode", sys!(SYS_fallocate, fd, 0x4000, 0, 10));
    close(fd);
    let fd = must_open(c"room", O_RDONLY);
    t.call("fallocate_read_only", sys!(SYS_fallocate, fd, 0, 0, 10));
    close(fd);
    let fd = must_open(c".", O_RDONLY);
    t.call("fallocate_directory", sys!(SYS_fallocate, fd, 0, 0, 10));
    close(fd);
    t.call("fallocate_closed", sys!(SYS_fallocate, CLOSED, 0, 0, 10));
}

/// A file as large as one can be, which nothing may look at page by page.
fn endless(t: &mut Report) {
    const PUNCH: i32 = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const FAR: i64 = 1 << 60;
    let fd = sys!(SYS_memfd_create, c"endless", 0).expect("a file") as i32;
    let seek = |offset: i64, whence| sys!(SYS_lseek, fd, offset, whence);
    t.call("endless_truncate", sys!(SYS_ftruncate, fd, i64::MAX));
    t.show("endless_size", fstat(fd).st_size);
    t.call("endless_no_data", seek(0, SEEK_DATA));
    t.call("endless_hole", seek(5, SEEK_HOLE));
    t.call("endless_write", sys!(SYS_pwrite64, fd, b"data", 4, FAR));
    t.show("endless_blocks", fstat(fd).st_blocks);
    t.call("endless_data", seek(1, SEEK_DATA));
    t.call("endless_hole_after", seek(FAR + 2, SEEK_HOLE));
    t.call("endless_no_more_data", seek(FAR + 4096, SEEK_DATA));
    t.call("endless_punch", sys!(SYS_fallocate, fd, PUNCH, 0, FAR));
    t.call("endless_data_stays", seek(0, SEEK_DATA));
    t.call("endless_punch_all", sys!(SYS_fallocate, fd, PUNCH, 0, i64::MAX));
    t.call("endless_data_gone", seek(0, SEEK_DATA));
    t.show("endless_punched_blocks", fstat(fd).st_blocks);
    t.call("endless_cut", sys!(SYS_ftruncate, fd, 1));
    close(fd);
}

fn anonymous_files(t: &mut Report) {
    t.call("memfd", sys!(SYS_memfd_create, c"name", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    t.call("memfd_write", sys!(SYS_write, 3, b"hello", 5));
    t.show("memfd_size", fstat(3).st_size);
    t.show("memfd_links", fstat(3).st_nlink);
    let name = std::fs::read_link("/proc/self/fd/3")
        .map_or_else(|error| error.to_string(), |path| path.display().to_string());
    t.show("memfd_name", name);
    t.call("memfd_seals", sys!(SYS_fcntl, 3, F_GET_SEALS));
    t.call("memfd_seal_shrink", sys!(SYS_fcntl, 3, F_ADD_SEALS, F_SEAL_SHRINK));
    t.call("memfd_sealed_shrink", sys!(SYS_ftruncate, 3, 1));
    t.call("memfd_sealed_grow_allowed", sys!(SYS_ftruncate, 3, 10));
    t.call("memfd_seal_write", sys!(SYS_fcntl, 3, F_ADD_SEALS, F_SEAL_WRITE));
    t.call("memfd_sealed_write", sys!(SYS_pwrite64, 3, b"x", 1, 0));
    t.call("memfd_seal_seal", sys!(SYS_fcntl, 3, F_ADD_SEALS, F_SEAL_SEAL));
    t.call("memfd_sealed_seal", sys!(SYS_fcntl, 3, F_ADD_SEALS, F_SEAL_GROW));
    close(3);
    t.call("memfd_unsealable", sys!(SYS_memfd_create, c"name", 0));
    t.call("memfd_unsealable_seals", sys!(SYS_fcntl, 3, F_GET_SEALS));
    close(3);
    t.call("memfd_bad_flag", sys!(SYS_memfd_create, c"name", 0x800));
    t.call("memfd_fault", sys!(SYS_memfd_create, 8, 0));
    let long = super::helpers::long_name(250);
    t.call("memfd_long_name", sys!(SYS_memfd_create, long.as_c_str(), 0));
}
