//! The vDSO (`vdso(7)`): code that the kernel gives to every program, to tell the time without a system call.
//!
//! The page before this object's first holds what `hal::clock` publishes; its layout is described there (`clock/vdso.rs`). What cannot be told
//! from it is asked from the kernel. There is no data of its own, nothing to relocate, and no panic: the linker refuses anything undefined.
#![no_std]

use core::arch::asm;
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

const NS_PER_SECOND: u64 = 1_000_000_000;
/// Resolution of the coarse clocks in nanoseconds, as the kernel tells it.
const COARSE_NS: i64 = 4_000_000;

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;
const MONOTONIC_RAW: i32 = 4;
const REALTIME_COARSE: i32 = 5;
const MONOTONIC_COARSE: i32 = 6;
const BOOTTIME: i32 = 7;
const TAI: i32 = 11;

const SYS_GETTIMEOFDAY: i64 = 96;
const SYS_TIME: i64 = 201;
const SYS_CLOCK_GETTIME: i64 = 228;
const SYS_CLOCK_GETRES: i64 = 229;
const SYS_GETCPU: i64 = 309;

/// The monotonic clock can be computed.
const HAS_MONOTONIC: u32 = 1;
/// The wall clock, too.
const HAS_WALL: u32 = 2;

/// What the kernel publishes.
#[repr(C)]
struct Parameters {
    sequence: u32,
    flags: u32,
    base_tsc: u64,
    base_ns: u64,
    multiplier: u64,
    wall_offset: i64,
}

/// `struct timespec`, and `struct timeval` with its other unit.
#[repr(C)]
pub struct Time {
    seconds: i64,
    fraction: i64,
}

fn parameters() -> *const Parameters {
    let page: *const Parameters;
    // SAFETY: only computes an address; `__ehdr_start` is this object's first byte.
    unsafe {
        asm!(
            "lea {page}, [rip + __ehdr_start - 4096]",
            page = out(reg) page,
            options(nomem, nostack, preserves_flags),
        );
    }
    page
}

/// The monotonic clock in nanoseconds, or the wall clock; `None` where the kernel must be asked.
fn now(wall: bool) -> Option<u64> {
    let page = parameters();
    loop {
        // SAFETY: the kernel maps the page before this object into every program that has it, readable and aligned. It writes there at any
        // time, hence volatile; the sequence tells whether what was read belongs together.
        let (before, seen) =
            unsafe { (ptr::read_volatile(&raw const (*page).sequence), ptr::read_volatile(page)) };
        // SAFETY: every x86-64 processor has both instructions; the fence keeps the counter from being read early.
        let tsc = unsafe {
            _mm_lfence();
            _rdtsc()
        };
        compiler_fence(Ordering::Acquire);
        // SAFETY: as above.
        let after = unsafe { ptr::read_volatile(&raw const (*page).sequence) };
        if before & 1 != 0 || before != after {
            core::hint::spin_loop();
            continue;
        }
        let needed = if wall { HAS_WALL } else { HAS_MONOTONIC };
        if seen.flags & needed == 0 {
            return None;
        }
        let ticks = tsc.saturating_sub(seen.base_tsc);
        let passed = ((u128::from(ticks) * u128::from(seen.multiplier)) >> 32) as u64;
        let monotonic = seen.base_ns.wrapping_add(passed);
        return Some(if wall { monotonic.wrapping_add_signed(seen.wall_offset) } else { monotonic });
    }
}

/// Makes a system call.
///
/// # Safety
///
/// The call may write through its arguments.
unsafe fn system_call(number: i64, first: usize, second: usize, third: usize) -> i64 {
    let result;
    // SAFETY: the registers that the kernel changes are declared; memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// `clock_gettime(2)`; the result is 0 or a negative error number.
///
/// # Safety
///
/// `to` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_gettime(clock: i32, to: *mut Time) -> i32 {
    let time = match clock {
        REALTIME | REALTIME_COARSE | TAI => now(true),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => now(false),
        _ => None,
    };
    match time {
        Some(ns) => {
            let time = Time { seconds: (ns / NS_PER_SECOND) as i64, fraction: (ns % NS_PER_SECOND) as i64 };
            // SAFETY: the caller's promise.
            unsafe { to.write(time) };
            0
        }
        // SAFETY: the caller's promise.
        None => unsafe { system_call(SYS_CLOCK_GETTIME, clock as usize, to.addr(), 0) as i32 },
    }
}

/// gettimeofday(2). The time zone is asked from the kernel.
///
/// # Safety
///
/// `to` and `zone` must be writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_gettimeofday(to: *mut Time, zone: *mut [i32; 2]) -> i32 {
    let time = if zone.is_null() { now(true) } else { None };
    match time {
        Some(ns) => {
            if !to.is_null() {
                let seconds = (ns / NS_PER_SECOND) as i64;
                // SAFETY: the caller's promise.
                unsafe { to.write(Time { seconds, fraction: (ns % NS_PER_SECOND / 1000) as i64 }) };
            }
            0
        }
        // SAFETY: the caller's promise.
        None => unsafe { system_call(SYS_GETTIMEOFDAY, to.addr(), zone.addr(), 0) as i32 },
    }
}

/// time(2)
///
/// # Safety
///
/// `to` must be writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_time(to: *mut i64) -> i64 {
    match now(true) {
        Some(ns) => {
            let seconds = (ns / NS_PER_SECOND) as i64;
            if !to.is_null() {
                // SAFETY: the caller's promise.
                unsafe { to.write(seconds) };
            }
            seconds
        }
        // SAFETY: the caller's promise.
        None => unsafe { system_call(SYS_TIME, to.addr(), 0, 0) },
    }
}

/// `clock_getres(2)`
///
/// # Safety
///
/// `to` must be writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_getres(clock: i32, to: *mut Time) -> i32 {
    let fraction = match clock {
        REALTIME | MONOTONIC | MONOTONIC_RAW | BOOTTIME | TAI => 1,
        REALTIME_COARSE | MONOTONIC_COARSE => COARSE_NS,
        // SAFETY: the caller's promise.
        _ => return unsafe { system_call(SYS_CLOCK_GETRES, clock as usize, to.addr(), 0) as i32 },
    };
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(Time { seconds: 0, fraction }) };
    }
    0
}

/// getcpu(2). Which CPU this is cannot be told from the page.
///
/// # Safety
///
/// `cpu` and `node` must be writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, cache: *mut u8) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { system_call(SYS_GETCPU, cpu.addr(), node.addr(), cache.addr()) }
}
