//! Mappings: anonymous and of files, protection, moving, the heap's end.

use std::io::Read as _;

use libc::*;

use super::helpers::{CLOSED, allow_core, close, get, must_open, put, status_of};
use crate::report::Report;
use crate::sys::Errno;

const PAGE: usize = 4096;
const RW: i32 = PROT_READ | PROT_WRITE;
const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

/// Runs the group.
pub fn run(t: &mut Report) {
    dumps(t);
    anonymous(t);
    placement(t);
    files(t);
    protection(t);
    moving(t);
    other_pages(t);
    advice(t);
    heap(t);
    locking(t);
    locking_as_a_user(t);
    data_limit(t);
    limits(t);
    promises(t);
    stacks(t);
}

/// More than there is is promised to nobody (`vm.overcommit_memory` 0).
fn promises(t: &mut Report) {
    const ABSURD: usize = 1 << 45;
    const SHARED: i32 = MAP_SHARED | MAP_ANONYMOUS;
    let ways = [("private", ANONYMOUS), ("shared", SHARED)];
    for (name, flags) in ways {
        for (rights, protection) in [("none", PROT_NONE), ("read", PROT_READ), ("write", RW)] {
            for (reserve, flag) in [("", 0), ("_without_reserve", MAP_NORESERVE)] {
                let mapped = map(ABSURD, protection, flags | flag);
                t.ok(&format!("promise_{name}_{rights}{reserve}"), mapped);
                let Ok(at) = mapped else { continue };
                t.call(
                    &format!("promise_{name}_{rights}{reserve}_later"),
                    sys!(SYS_mprotect, at, ABSURD, RW),
                );
                sys!(SYS_munmap, at, ABSURD).expect("no mapping");
            }
        }
    }
    let at = map(ABSURD, PROT_NONE, ANONYMOUS).expect("room");
    t.call("promise_of_a_part", sys!(SYS_mprotect, at + PAGE, PAGE, RW));
    t.call("promise_of_all", sys!(SYS_mprotect, at, ABSURD, RW));
    t.call("promise_of_a_part_again", sys!(SYS_mprotect, at, 4 * PAGE, RW));
    sys!(SYS_munmap, at, ABSURD).expect("no mapping");
}

/// mremap(2) heeds the same limits as mmap(2).
fn limits(t: &mut Report) {
    let at = must_map(4);
    let target = must_map(64);
    t.call("mremap_absurd", sys!(SYS_mremap, at, PAGE, 1usize << 46, MREMAP_MAYMOVE));
    let mut old = crate::sys::zeroed::<rlimit>();
    let limit = |new: *const rlimit, old: *mut rlimit| sys!(SYS_prlimit64, 0, RLIMIT_AS, new, old);
    limit(std::ptr::null(), &raw mut old).expect("the limit");
    limit(&rlimit { rlim_cur: 4096, ..old }, std::ptr::null_mut()).expect("a lower limit");
    let outcomes = [
        sys!(SYS_mremap, at, PAGE, 64 * PAGE, MREMAP_MAYMOVE),
        sys!(SYS_mremap, at, PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target),
        sys!(SYS_mremap, at + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP),
        sys!(SYS_mremap, at, 4 * PAGE, PAGE, 0).map(|_| 0),
    ];
    limit(&raw const old, std::ptr::null_mut()).expect("the old limit");
    for (name, outcome) in ["grow", "grow_fixed", "keep", "shrink"].into_iter().zip(outcomes) {
        t.call(&format!("mremap_limited_{name}"), outcome);
    }
}

/// Areas that grow downwards keep their distance from what lies below, and have nothing placed there.
fn stacks(t: &mut Report) {
    let zero = must_open(c"/dev/zero", O_RDONLY);
    // The room is inaccessible, so that nothing else comes there, until a case takes a part of it away.
    let room = map(1024 * PAGE, PROT_NONE, ANONYMOUS).expect("room");
    let top = room + 1023 * PAGE;
    let fixed =
        |at, protection, flags| sys!(SYS_mmap, at, PAGE, protection, ANONYMOUS | MAP_FIXED | flags, -1, 0);
    let touch = |at: usize| sys!(SYS_read, zero, at, 1);
    fixed(top, RW, MAP_GROWSDOWN).expect("a stack");
    sys!(SYS_munmap, room + PAGE, 1022 * PAGE).expect("room below it");
    t.call("stack_grows", touch(top - PAGE));
    t.call("stack_grows_far", touch(top - 100 * PAGE));
    t.is("stack_has_grown", is_mapped(top - 50 * PAGE));
    let hint = top - 110 * PAGE;
    t.is("hint_in_stack_gap_moves", sys!(SYS_mmap, hint, PAGE, RW, ANONYMOUS, -1, 0) != Ok(hint));
    t.is("fixed_in_stack_gap", fixed(top - 300 * PAGE, RW, 0).is_ok());
    t.call("stack_keeps_distance", touch(top - 101 * PAGE));
    t.is("inaccessible_in_stack_gap", fixed(top - 300 * PAGE, PROT_NONE, 0).is_ok());
    t.call("stack_grows_to_inaccessible", touch(top - 101 * PAGE));
    close(zero);
    sys!(SYS_munmap, room, 1024 * PAGE).expect("gone");
}

fn map(length: usize, protection: i32, flags: i32) -> Result<usize, Errno> {
    sys!(SYS_mmap, 0, length, protection, flags, -1, 0)
}

fn must_map(pages: usize) -> usize {
    map(pages * PAGE, RW, ANONYMOUS).expect("a mapping")
}

/// One byte of the program's own memory.
fn peek(address: usize) -> u8 {
    // SAFETY: the callers pass addresses that they mapped readable.
    unsafe { (address as *const u8).read_volatile() }
}

/// Sets one byte of the program's own memory.
fn poke(address: usize, value: u8) {
    // SAFETY: the callers pass addresses that they mapped writable.
    unsafe { (address as *mut u8).write_volatile(value) }
}

/// So many pages are more than is looked at in one go.
const MANY: usize = 9000;

/// Whether a page is mapped, by what `mincore` says.
fn is_mapped(address: usize) -> bool {
    sys!(SYS_mincore, address, PAGE, &mut [0u8; 1]).is_ok()
}

fn anonymous(t: &mut Report) {
    let at = must_map(4);
    t.is("aligned", at.is_multiple_of(PAGE));
    t.is("zeroed", (0..4 * PAGE).all(|offset| peek(at + offset) == 0));
    poke(at + 5000, 7);
    t.show("written", peek(at + 5000));
    t.call("munmap_middle", sys!(SYS_munmap, at + PAGE, PAGE));
    t.is("munmap_middle_gone", !is_mapped(at + PAGE));
    t.is("munmap_spares_before", is_mapped(at));
    t.is("munmap_spares_after", is_mapped(at + 2 * PAGE));
    t.call("munmap_again", sys!(SYS_munmap, at + PAGE, PAGE));
    t.call("munmap_over_hole", sys!(SYS_munmap, at, 4 * PAGE));
    t.call("munmap_unaligned", sys!(SYS_munmap, at + 1, PAGE));
    t.call("munmap_nothing", sys!(SYS_munmap, at, 0));
    t.call("munmap_kernel", sys!(SYS_munmap, 1usize << 47, PAGE));
    t.call("map_nothing", map(0, RW, ANONYMOUS));
    t.call("map_neither_shared_nor_private", map(PAGE, RW, MAP_ANONYMOUS));
    t.call("map_too_big", map(1 << 47, RW, ANONYMOUS));
    t.call("map_overflow", map(usize::MAX, RW, ANONYMOUS));
    let shared = map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    t.ok("map_shared_anonymous", shared);
    t.ok("map_noreserve", map(1 << 36, RW, ANONYMOUS | MAP_NORESERVE));
    t.ok("map_none", map(PAGE, PROT_NONE, ANONYMOUS));
    t.ok("map_stack", map(PAGE, RW, ANONYMOUS | MAP_STACK));
    let populated = map(PAGE * 3, RW, ANONYMOUS | MAP_POPULATE).unwrap_or(0);
    let mut resident = [0u8; 3];
    t.call("mincore", sys!(SYS_mincore, populated, PAGE * 3, &mut resident));
    t.show("populate_is_resident", format!("{:?}", resident.map(|byte| byte & 1)));
}

fn placement(t: &mut Report) {
    let at = must_map(4);
    sys!(SYS_munmap, at, 4 * PAGE).expect("free room");
    let fixed = |flags, address: usize| sys!(SYS_mmap, address, PAGE, RW, ANONYMOUS | flags, -1, 0);
    t.is("hint_taken", fixed(0, at) == Ok(at));
    t.is("hint_occupied_moves", fixed(0, at).is_ok_and(|other| other != at));
    poke(at, 9);
    t.is("fixed_replaces", fixed(MAP_FIXED, at) == Ok(at) && peek(at) == 0);
    t.call("fixed_noreplace_occupied", fixed(MAP_FIXED_NOREPLACE, at));
    t.is("fixed_noreplace_free", fixed(MAP_FIXED_NOREPLACE, at + PAGE) == Ok(at + PAGE));
    t.call("fixed_unaligned", fixed(MAP_FIXED, at + 1));
    t.call("fixed_kernel", fixed(MAP_FIXED, 0xffff_8000_0000_0000));
    t.call("fixed_end_of_user", fixed(MAP_FIXED, 0x7fff_ffff_f000));
    t.is("low_2gb", map(PAGE, RW, ANONYMOUS | MAP_32BIT).is_ok_and(|low| low < 1 << 31));
}

fn files(t: &mut Report) {
    put("file", "0123456789");
    let fd = must_open(c"file", O_RDWR);
    let shared = sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED, fd, 0).unwrap_or(0);
    t.show("shared_reads", peek(shared + 3) as char);
    poke(shared + 3, b'X');
    t.show("shared_write_seen_by_read", get("file"));
    sys!(SYS_pwrite64, fd, b"Y", 1, 4).expect("a byte");
    t.show("write_seen_by_shared", peek(shared + 4) as char);
    t.show("tail_of_page_is_zero", peek(shared + 100));
    let private = sys!(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, fd, 0).unwrap_or(0);
    poke(private, b'P');
    t.show("private_write", format!("{} {}", peek(private) as char, get("file")));
    let second = sys!(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0).unwrap_or(0);
    poke(shared + 5, b'Z');
    t.show("two_shared_agree", peek(second + 5) as char);
    t.call("msync", sys!(SYS_msync, shared, PAGE, MS_SYNC));
    t.call("msync_async", sys!(SYS_msync, shared, PAGE, MS_ASYNC));
    t.call("msync_both", sys!(SYS_msync, shared, PAGE, MS_SYNC | MS_ASYNC));
    t.call("msync_unaligned", sys!(SYS_msync, shared + 1, PAGE, MS_SYNC));
    t.call("offset_unaligned", sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED, fd, 100));
    t.ok("offset_beyond_end", sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED, fd, 1 << 20));
    t.call("closed_file", sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED, CLOSED, 0));
    sys!(SYS_unlink, c"file").expect("the file goes");
    close(fd);
    t.show("mapping_outlives_file", peek(shared) as char);
    let _ = sys!(SYS_munmap, shared, PAGE);
    put("read_only", "content");
    let fd = must_open(c"read_only", O_RDONLY);
    t.call("shared_write_on_read_only", sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED, fd, 0));
    t.ok("private_write_on_read_only", sys!(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, fd, 0));
    let read_only = sys!(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0).unwrap_or(0);
    t.call("mprotect_shared_read_only", sys!(SYS_mprotect, read_only, PAGE, RW));
    close(fd);
    let fd = must_open(c"read_only", O_WRONLY);
    t.call("write_only_file", sys!(SYS_mmap, 0, PAGE, PROT_WRITE, MAP_PRIVATE, fd, 0));
    close(fd);
    let fd = must_open(c".", O_RDONLY);
    t.call("directory", sys!(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    close(fd);
    t.call(
        "shared_validate_unknown",
        sys!(SYS_mmap, 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0),
    );
}

fn protection(t: &mut Report) {
    let at = must_map(4);
    t.call("mprotect", sys!(SYS_mprotect, at + PAGE, PAGE, PROT_READ));
    poke(at, 1);
    poke(at + 2 * PAGE, 2);
    t.show("mprotect_spares_neighbours", peek(at) + peek(at + 2 * PAGE));
    t.call("write_to_protected", sys!(SYS_getrandom, at + PAGE, 8, 0));
    t.call("mprotect_none", sys!(SYS_mprotect, at + PAGE, PAGE, PROT_NONE));
    t.call("read_from_none", sys!(SYS_write, 1, at + PAGE, 1));
    t.call("mprotect_back", sys!(SYS_mprotect, at, 4 * PAGE, RW));
    t.show("content_survives", peek(at + 2 * PAGE));
    t.call("mprotect_unaligned", sys!(SYS_mprotect, at + 1, PAGE, RW));
    t.call("mprotect_nothing", sys!(SYS_mprotect, at, 0, RW));
    t.call("mprotect_bad", sys!(SYS_mprotect, at, PAGE, 0x100));
    sys!(SYS_munmap, at + PAGE, PAGE).expect("a hole");
    t.call("mprotect_over_hole", sys!(SYS_mprotect, at, 4 * PAGE, PROT_READ));
    t.call("mprotect_unmapped", sys!(SYS_mprotect, at + PAGE, PAGE, RW));
    let code = map(PAGE, RW, ANONYMOUS).expect("a page");
    // mov eax, 42; ret
    for (offset, byte) in [0xb8, 42, 0, 0, 0, 0xc3].into_iter().enumerate() {
        poke(code + offset, byte);
    }
    t.call("mprotect_execute", sys!(SYS_mprotect, code, PAGE, PROT_READ | PROT_EXEC));
    // SAFETY: the page holds a function of this type.
    let function = unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(code) };
    t.show("made_code_runs", function());
}

fn moving(t: &mut Report) {
    let at = must_map(8);
    poke(at, 11);
    poke(at + 3 * PAGE, 33);
    t.is("mremap_shrink", sys!(SYS_mremap, at, 8 * PAGE, 4 * PAGE, 0) == Ok(at));
    t.is("mremap_shrunk", !is_mapped(at + 4 * PAGE) && is_mapped(at + 3 * PAGE));
    t.is("mremap_grow_in_place", sys!(SYS_mremap, at, 4 * PAGE, 6 * PAGE, 0) == Ok(at));
    t.show("mremap_grown_zero", peek(at + 5 * PAGE));
    let barrier = sys!(SYS_mmap, at + 6 * PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    t.ok("barrier", barrier);
    t.call("mremap_no_room", sys!(SYS_mremap, at, 6 * PAGE, 9 * PAGE, 0));
    let moved = sys!(SYS_mremap, at, 6 * PAGE, 9 * PAGE, MREMAP_MAYMOVE).unwrap_or(0);
    t.is("mremap_moves", moved != at && !is_mapped(at));
    t.show("mremap_moves_content", format!("{} {}", peek(moved), peek(moved + 3 * PAGE)));
    let target = must_map(9);
    let fixed = sys!(SYS_mremap, moved, 9 * PAGE, 9 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    t.is("mremap_fixed", fixed == Ok(target) && peek(target) == 11);
    t.call("mremap_fixed_without_maymove", sys!(SYS_mremap, target, PAGE, PAGE, MREMAP_FIXED, moved));
    t.call(
        "mremap_overlap",
        sys!(SYS_mremap, target, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE),
    );
    t.call("mremap_to_nothing", sys!(SYS_mremap, target, PAGE, 0, MREMAP_MAYMOVE));
    t.call("mremap_unaligned", sys!(SYS_mremap, target + 1, PAGE, PAGE, MREMAP_MAYMOVE));
    t.call("mremap_unmapped", sys!(SYS_mremap, moved, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    t.call("mremap_bad_flag", sys!(SYS_mremap, target, PAGE, PAGE, 8));
}

/// `remap_file_pages(2)` on a file of four pages that hold their numbers.
fn other_pages(t: &mut Report) {
    let fd = sys!(SYS_memfd_create, c"pages", 0).expect("a file") as i32;
    for page in 0..4u8 {
        sys!(SYS_pwrite64, fd, &[page; PAGE], PAGE, usize::from(page) * PAGE).expect("a page");
    }
    let map_file = |flags| sys!(SYS_mmap, 0, 4 * PAGE, RW, flags, fd, 0).expect("a mapping");
    let at = map_file(MAP_SHARED);
    let shown = || (0..4).map(|page| peek(at + page * PAGE).to_string()).collect::<String>();
    let remap = |at: usize, size: usize, protection: i32, page: usize, flags: i32| {
        sys!(SYS_remap_file_pages, at, size, protection, page, flags)
    };
    t.call("other_page", remap(at, PAGE, 0, 3, 0));
    t.show("other_page_shown", shown());
    t.call("other_pages", remap(at + 2 * PAGE, 2 * PAGE, 0, 0, MAP_NONBLOCK));
    t.show("other_pages_shown", shown());
    poke(at, 9);
    t.show("other_page_is_the_same_file", {
        let mut byte = [0u8];
        sys!(SYS_pread64, fd, &mut byte, 1, 3 * PAGE).expect("a byte");
        byte[0]
    });
    t.call("other_pages_across", remap(at + PAGE / 2, 4 * PAGE + PAGE / 2, 0, 0, 0));
    t.show("other_pages_across_shown", shown());
    t.call("other_pages_too_many", remap(at, 5 * PAGE, 0, 0, 0));
    t.call("other_pages_none", remap(at, PAGE - 1, 0, 0, 0));
    t.call("other_pages_rights", remap(at, PAGE, PROT_READ, 0, 0));
    t.call("other_pages_flags", remap(at, PAGE, 0, 0, -1));
    t.call("other_pages_wrap", remap(at, PAGE, 0, usize::MAX, 0));
    t.call("other_pages_too_far", remap(at, PAGE, 0, usize::MAX - 1, 0));
    t.call("other_pages_too_far_nowhere", remap(8 * PAGE, PAGE, 0, usize::MAX - 1, 0));
    sys!(SYS_mprotect, at + PAGE, PAGE, PROT_READ).expect("fewer rights");
    t.call("other_pages_of_two_kinds", remap(at, 2 * PAGE, 0, 0, 0));
    t.call("other_pages_read_only", remap(at + PAGE, PAGE, 0, 3, 0));
    t.show("other_pages_read_only_shown", shown());
    t.call("other_pages_private", remap(map_file(MAP_PRIVATE), PAGE, 0, 3, 0));
    t.call("other_pages_anonymous", remap(must_map(1), PAGE, 0, 0, 0));
    t.call("other_pages_nowhere", remap(8 * PAGE, PAGE, 0, 0, 0));
    sys!(SYS_munmap, at, 4 * PAGE).expect("it is mapped");
    close(fd);
}

/// Whether a core file of this process holds the words of a page of its, about which it has given this advice.
fn is_dumped(advice: &[i32]) -> bool {
    const WORD: u64 = 0x7a1d_90c3_0b5e_1100;
    status_of(|| {
        allow_core();
        let at = must_map(1);
        for index in 0..PAGE / 8 {
            // SAFETY: the page is mapped, and nobody else's.
            unsafe { ((at + 8 * index) as *mut u64).write(std::hint::black_box(WORD) + index as u64) };
        }
        for advice in advice {
            sys!(SYS_madvise, at, PAGE, *advice).expect("advice");
        }
        std::process::abort()
    });
    let names = std::fs::read_dir(".").expect("the folder is there").flatten().map(|entry| entry.path());
    let path = names.into_iter().find(|path| path.display().to_string().contains("core")).expect("a core");
    let mut core = std::fs::File::open(&path).expect("it can be read");
    std::fs::remove_file(path).expect("it is there");
    let page: Vec<u8> = (0..PAGE as u64 / 8).flat_map(|index| (WORD + index).to_ne_bytes()).collect();
    let mut found = vec![0; PAGE];
    while core.read_exact(&mut found).is_ok() {
        if found == page {
            return true;
        }
    }
    false
}

fn dumps(t: &mut Report) {
    t.is("dumped", is_dumped(&[]));
    t.is("dumped_not", is_dumped(&[MADV_DONTDUMP]));
    t.is("dumped_after_all", is_dumped(&[MADV_DONTDUMP, MADV_DODUMP]));
}

fn advice(t: &mut Report) {
    let at = must_map(3);
    poke(at, 1);
    t.call("dontneed", sys!(SYS_madvise, at, PAGE, MADV_DONTNEED));
    t.show("dontneed_zeroes", peek(at));
    for (name, advice) in [
        ("normal", MADV_NORMAL),
        ("random", MADV_RANDOM),
        ("sequential", MADV_SEQUENTIAL),
        ("willneed", MADV_WILLNEED),
        ("free", MADV_FREE),
        ("hugepage_off", MADV_NOHUGEPAGE),
        ("dontdump", MADV_DONTDUMP),
        ("dontfork", MADV_DONTFORK),
    ] {
        t.call(&format!("madvise_{name}"), sys!(SYS_madvise, at, PAGE, advice));
    }
    t.call("madvise_unknown", sys!(SYS_madvise, at, PAGE, 9999));
    t.call("madvise_unaligned", sys!(SYS_madvise, at + 1, PAGE, MADV_NORMAL));
    t.call("madvise_nothing", sys!(SYS_madvise, at, 0, MADV_DONTNEED));
    sys!(SYS_munmap, at + PAGE, PAGE).expect("a hole");
    t.call("madvise_over_hole", sys!(SYS_madvise, at, 3 * PAGE, MADV_DONTNEED));
    t.call("mincore_hole", sys!(SYS_mincore, at + PAGE, PAGE, &mut [0u8; 1]));
    t.call("mincore_unaligned", sys!(SYS_mincore, at + 1, PAGE, &mut [0u8; 1]));
    t.call("mincore_fault", sys!(SYS_mincore, at, PAGE, 8));
    // With a hole behind its last page.
    let many = map((MANY + 1) * PAGE, RW, ANONYMOUS | MAP_NORESERVE).expect("a mapping");
    sys!(SYS_munmap, many + MANY * PAGE, PAGE).expect("a hole");
    sys!(SYS_madvise, many, MANY * PAGE, MADV_NOHUGEPAGE).expect("advice");
    for page in [1, MANY - 1] {
        // SAFETY: the page is mapped, and nobody else's.
        unsafe { ((many + page * PAGE) as *mut u8).write(1) };
    }
    let mut resident = vec![6u8; MANY + 1];
    t.call("mincore_many", sys!(SYS_mincore, many, MANY * PAGE, resident.as_mut_ptr()));
    let found: Vec<_> = (0..=MANY).filter(|page| resident[*page] & 1 == 1).collect();
    t.show("mincore_many_resident", format!("{found:?}"));
    t.call("mincore_many_and_a_hole", sys!(SYS_mincore, many, (MANY + 1) * PAGE, resident.as_mut_ptr()));
    t.call("madvise_many", sys!(SYS_madvise, many, MANY * PAGE, MADV_DONTNEED));
    sys!(SYS_munmap, many, MANY * PAGE).expect("it is mapped");
}

fn heap(t: &mut Report) {
    let start = sys!(SYS_brk, 0).unwrap_or(0);
    t.is("brk", start != 0);
    t.is("brk_grow", sys!(SYS_brk, start + 10 * PAGE) == Ok(start + 10 * PAGE));
    poke(start + 9 * PAGE, 5);
    t.show("brk_memory", peek(start + 9 * PAGE));
    t.is("brk_shrink", sys!(SYS_brk, start) == Ok(start));
    sys!(SYS_brk, start + 10 * PAGE).expect("the heap grows");
    t.show("brk_memory_is_new", peek(start + 9 * PAGE));
    t.is("brk_too_low", sys!(SYS_brk, 4096) == Ok(start + 10 * PAGE));
    t.is("brk_too_high", sys!(SYS_brk, 1usize << 47) == Ok(start + 10 * PAGE));
    sys!(SYS_brk, start).expect("the heap shrinks");
}

fn locking(t: &mut Report) {
    let at = must_map(2);
    t.call("mlock", sys!(SYS_mlock, at, PAGE));
    t.call("munlock", sys!(SYS_munlock, at, PAGE));
    t.call("mlock2_onfault", sys!(SYS_mlock2, at, PAGE, 1));
    t.call("mlock2_bad_flag", sys!(SYS_mlock2, at, PAGE, 2));
    sys!(SYS_munmap, at, 2 * PAGE).expect("gone");
    t.call("mlock_unmapped", sys!(SYS_mlock, at, PAGE));
    t.call("mlockall_bad_flag", sys!(SYS_mlockall, 0x100));
    t.call("munlockall", sys!(SYS_munlockall));
}

/// `RLIMIT_MEMLOCK`, which counts for whoever is not privileged.
fn locking_as_a_user(t: &mut Report) {
    let limit = |soft| {
        let new = rlimit { rlim_cur: soft, rlim_max: 64 << 10 };
        sys!(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &new, 0).expect("a limit");
    };
    let status = status_of(|| {
        let at = must_map(64);
        limit(64 << 10);
        sys!(SYS_setuid, 61_250).expect("another user");
        let locked = || sys!(SYS_mmap, 0, PAGE, RW, ANONYMOUS | MAP_LOCKED, -1, 0);
        t.call("mlock_beyond_the_limit", sys!(SYS_mlock, at, 17 * PAGE));
        t.call("mlock_within_the_limit", sys!(SYS_mlock, at, 16 * PAGE));
        t.call("mlock_again", sys!(SYS_mlock, at, 16 * PAGE));
        t.call("mlock_half_of_it_again", sys!(SYS_mlock, at + 8 * PAGE, 9 * PAGE));
        t.call("mlock_one_more", sys!(SYS_mlock2, at + 32 * PAGE, PAGE, 1));
        t.call("map_locked_beyond_the_limit", locked());
        t.call("forget_locked", sys!(SYS_madvise, at, PAGE, MADV_DONTNEED));
        t.call("munlock_one", sys!(SYS_munlock, at, PAGE));
        t.ok("map_locked", locked());
        t.call("mlockall_beyond_the_limit", sys!(SYS_mlockall, MCL_CURRENT));
        t.call("mlockall_future", sys!(SYS_mlockall, MCL_FUTURE));
        t.call("map_when_all_is_locked", sys!(SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 0));
        t.call("munlockall_of_a_user", sys!(SYS_munlockall));
        t.ok("map_when_nothing_is_locked", sys!(SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 0));
        t.call("mlockall_future_again", sys!(SYS_mlockall, MCL_FUTURE));
        t.ok("map_one_of_the_future", sys!(SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 0));
        let status = get("/proc/self/status");
        t.show("locked", status.lines().find(|line| line.starts_with("VmLck")).unwrap_or("none"));
        limit(0);
        t.call("mlock_nothing_allowed", sys!(SYS_mlock, at, PAGE));
        t.call("mlock_nothing_allowed_bad_flag", sys!(SYS_mlock2, at, PAGE, 2));
        t.call("mlockall_nothing_allowed", sys!(SYS_mlockall, MCL_FUTURE));
        t.call("mlockall_nothing_allowed_bad_flag", sys!(SYS_mlockall, MCL_ONFAULT));
        t.call("map_locked_nothing_allowed", locked());
        0
    });
    t.show("locking_as_a_user", status);
    let status = status_of(|| {
        t.call("mlockall", sys!(SYS_mlockall, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
        let at = must_map(1);
        t.call("forget_what_mlockall_locked", sys!(SYS_madvise, at, PAGE, MADV_DONTNEED));
        t.call("munlockall_after_it", sys!(SYS_munlockall));
        t.call("forget_it_then", sys!(SYS_madvise, at, PAGE, MADV_DONTNEED));
        0
    });
    t.show("locking_all", status);
}

/// `RLIMIT_DATA` counts what is private and writable.
fn data_limit(t: &mut Report) {
    const MIB: usize = 1 << 20;
    let status = status_of(|| {
        let status = get("/proc/self/status");
        let kib: Option<u64> = status
            .lines()
            .find_map(|line| line.strip_prefix("VmData:")?.split_whitespace().next()?.parse().ok());
        let limit = rlimit { rlim_cur: kib.expect("a number") * 1024 + (64 << 20), rlim_max: RLIM_INFINITY };
        sys!(SYS_prlimit64, 0, RLIMIT_DATA, &limit, 0).expect("a limit");
        let map = |protection, flags| sys!(SYS_mmap, 0, 128 * MIB, protection, flags | MAP_ANONYMOUS, -1, 0);
        t.call("data_private", map(RW, MAP_PRIVATE));
        t.call("data_private_without_reserve", map(RW, MAP_PRIVATE | MAP_NORESERVE));
        t.ok("data_shared", map(RW, MAP_SHARED));
        t.ok("data_stack", map(RW, MAP_PRIVATE | MAP_GROWSDOWN));
        let read = map(PROT_READ, MAP_PRIVATE);
        t.ok("data_to_read", read);
        let read = read.expect("a mapping");
        t.call("data_made_writable", sys!(SYS_mprotect, read, 128 * MIB, RW));
        t.call("data_part_made_writable", sys!(SYS_mprotect, read, 16 * MIB, RW));
        t.call("data_rest_made_writable", sys!(SYS_mprotect, read, 128 * MIB, RW));
        t.ok("data_grown", sys!(SYS_mremap, read, 16 * MIB, 128 * MIB, MREMAP_MAYMOVE));
        let heap = sys!(SYS_brk, 0).expect("the heap's end");
        t.is("data_heap", sys!(SYS_brk, heap + 128 * MIB) == Ok(heap));
        0
    });
    t.show("data_limit", status);
}
