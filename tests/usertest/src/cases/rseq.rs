//! Restartable sequences.

use std::arch::global_asm;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use libc::*;

use super::helpers::{NOWHERE, child, status_of, wait_for};
use crate::report::Report;
use crate::sys::Errno;

/// What stands before the place where a section begins again; the C library's too.
const SIGNATURE: u32 = 0x5305_3053;

/// `struct rseq`
#[repr(C, align(32))]
#[derive(Default)]
struct Area {
    cpu_id_start: u32,
    cpu_id: u32,
    section: AtomicU64,
    flags: u32,
    node_id: u32,
    mm_cid: u32,
    rest: u32,
}

/// `struct rseq_cs`
#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    again: u64,
}

// A section that goes round until it must begin again, which ends it: `spin(&area.section, &section)`. Its signature is operand of an
// instruction that is none, as those of the C library are.
global_asm!(
    ".globl rseq_spin, rseq_spin_start, rseq_spin_end, rseq_spin_again",
    "rseq_spin:",
    "mov [rdi], rsi",
    "rseq_spin_start:",
    "pause",
    "jmp rseq_spin_start",
    "rseq_spin_end:",
    ".byte 0x0f, 0xb9, 0x3d",
    ".long 0x53053053",
    "rseq_spin_again:",
    "mov eax, 1",
    "ret",
);

unsafe extern "C" {
    fn rseq_spin(section: *const AtomicU64, described: *const Section) -> i32;
    fn rseq_spin_start();
    fn rseq_spin_end();
    fn rseq_spin_again();
    /// Where the C library's own lies from the thread pointer, and how much of it is used (`<sys/rseq.h>`).
    static __rseq_offset: isize;
    static __rseq_size: u32;
}

fn address(function: unsafe extern "C" fn()) -> u64 {
    function as *const () as u64
}

impl Section {
    fn new() -> Self {
        let (start, end) = (address(rseq_spin_start), address(rseq_spin_end));
        Self { version: 0, flags: 0, start, length: end - start, again: address(rseq_spin_again) }
    }
}

fn rseq(area: usize, length: u32, flags: i32, signature: u32) -> Result<usize, Errno> {
    sys!(SYS_rseq, area, length, flags, signature)
}

/// The area that the C library has registered for this thread.
fn libraries() -> usize {
    let mut base = 0usize;
    sys!(SYS_arch_prctl, 0x1003, &mut base).expect("the thread pointer");
    // SAFETY: the C library sets it before the program begins.
    base.wrapping_add_signed(unsafe { __rseq_offset })
}

/// Takes the C library's registration back, so that there is room for another.
fn unregister() -> Result<usize, Errno> {
    rseq(libraries(), 32, 1, SIGNATURE)
}

fn cpu() -> u32 {
    let mut cpu = 0u32;
    sys!(SYS_getcpu, &mut cpu, 0, 0).expect("the CPU");
    cpu
}

/// Stays on one CPU; returns where it might have been until now.
fn stay() -> u64 {
    let mut before = 0u64;
    sys!(SYS_sched_getaffinity, 0, 8, &mut before).expect("the CPUs");
    go_to(1 << cpu());
    before
}

fn go_to(cpus: u64) {
    sys!(SYS_sched_setaffinity, 0, 8, &cpus).expect("a CPU that is there");
}

/// Runs the group.
pub fn run(t: &mut Report) {
    vector(t);
    registration(t);
    inheritance(t);
    sections(t);
    unsound(t);
    tracer(t);
}

fn vector(t: &mut Report) {
    // SAFETY: it only reads the auxiliary vector.
    let [size, align] = [27, 28].map(|kind| unsafe { getauxval(kind) });
    t.show("feature_size", size);
    t.show("alignment", align);
    // SAFETY: the C library sets it before the program begins.
    t.is("library_has_one", unsafe { __rseq_size } != 0);
}

fn registration(t: &mut Report) {
    let own = libraries();
    t.call("again", rseq(own, 32, 0, SIGNATURE));
    t.call("again_other_signature", rseq(own, 32, 0, 1));
    t.call("again_other_place", rseq(own + 32, 32, 0, SIGNATURE));
    t.call("again_other_length", rseq(own, 64, 0, SIGNATURE));
    t.call("unregister_flags", rseq(own, 32, 3, SIGNATURE));
    t.call("unregister_length", rseq(own, 64, 1, SIGNATURE));
    t.call("unregister_place", rseq(own + 32, 32, 1, SIGNATURE));
    t.call("unregister_signature", rseq(own, 32, 1, 1));
    t.call("unregister", unregister());
    t.call("unregister_twice", unregister());
    t.call("unregister_none", rseq(0, 0, 1, 0));
    let areas = [Area::default(), Area::default()];
    let place = (&raw const areas).addr();
    t.call("flags", rseq(place, 32, 2, 0));
    t.call("short", rseq(place, 31, 0, 0));
    t.call("misaligned", rseq(place + 8, 32, 0, 0));
    t.call("misaligned_longer", rseq(place + 16, 48, 0, 0));
    t.call("null", rseq(0, 32, 0, 0));
    t.call("nowhere", rseq(4096, 32, 0, 0));
    t.call("kernel", rseq(usize::MAX - 31, 32, 0, 0));
    t.call("beyond", rseq(0x7fff_ffff_ffe0, 64, 0, 0));
    t.call("longer", rseq(place, 40, 0, 7));
    t.call("longer_unregister", rseq(place, 40, 1, 7));
    let before = stay();
    areas[0].section.store(NOWHERE as u64, SeqCst);
    t.call("register", rseq(place, 32, 0, 7));
    let read = |field: &u32| {
        // SAFETY: the kernel writes to it.
        unsafe { std::ptr::from_ref(field).read_volatile() }
    };
    let area = &areas[0];
    t.is("cpu_id", read(&area.cpu_id) == cpu() && read(&area.cpu_id_start) == cpu());
    t.show("node_id", read(&area.node_id));
    t.is("mm_cid", read(&area.mm_cid) < 64);
    t.show("section_was_cleared", area.section.load(SeqCst));
    t.call("unregister_own", rseq(place, 32, 1, 7));
    t.show(
        "fields_after",
        format!("{} {} {}", read(&area.cpu_id_start), read(&area.cpu_id).cast_signed(), read(&area.node_id)),
    );
    go_to(before);
    t.call("library_again", rseq(own, 32, 0, SIGNATURE));
}

fn inheritance(t: &mut Report) {
    let told = |result: Result<usize, Errno>| result.map_or_else(|errno| errno.0, |_| 0);
    t.show("in_a_fork", Errno(status_of(|| told(rseq(libraries(), 32, 0, SIGNATURE)))));
    // A process that shares the memory is as a thread.
    let outcome = status_of(|| {
        let area = Area::default();
        // SAFETY: the parent sleeps until the child ends, which only makes calls.
        match unsafe { syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) } {
            0 => {
                let done = told(rseq((&raw const area).addr(), 32, 0, 9));
                // SAFETY: it leaves the parent's memory as it is.
                unsafe { _exit(done) }
            }
            pid => wait_for(pid as i32).1,
        }
    });
    t.show("beside", outcome);
}

/// Ends by SIGSEGV, for which the standard library has a handler.
fn end_by_faults() {
    // SAFETY: the default action needs nothing.
    unsafe { signal(SIGSEGV, SIG_DFL) };
}

/// How a section that goes round ends in a child process, in which `disturb` is called before.
fn ends(section: Section, area: Area, disturb: impl FnOnce()) -> i32 {
    status_of(|| {
        let (section, area) = (section, area);
        end_by_faults();
        unregister().expect("it is the C library's");
        rseq((&raw const area).addr(), 32, 0, SIGNATURE).expect("there is none");
        disturb();
        // SAFETY: the section is left by its own way out, with the registers of a function that was called.
        let ended = unsafe { rseq_spin(&raw const area.section, &raw const section) };
        if area.section.load(SeqCst) == 0 { ended } else { 99 }
    })
}

/// Where a handler has been, and found the section.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_alarm(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context.
    let rip = unsafe { (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize] };
    let again = rip.cast_unsigned() == address(rseq_spin_again);
    HANDLED.store(if again { 1 } else { 2 }, SeqCst);
}

/// Interrupts every hundredth of a second.
fn alarms() {
    // SAFETY: a structure of numbers, and a handler that keeps to what handlers may do.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as usize;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGALRM, &raw const action, std::ptr::null_mut());
    }
    let hundredth = timeval { tv_sec: 0, tv_usec: 10_000 };
    let often = itimerval { it_interval: hundredth, it_value: hundredth };
    sys!(SYS_setitimer, ITIMER_REAL, &often, 0).expect("a timer");
}

fn sections(t: &mut Report) {
    let status = status_of(|| {
        let (section, area) = (Section::new(), Area::default());
        unregister().expect("it is the C library's");
        rseq((&raw const area).addr(), 32, 0, SIGNATURE).expect("there is none");
        alarms();
        // It may be other processes for which it begins again.
        while HANDLED.load(SeqCst) == 0 {
            // SAFETY: as in `ends`.
            unsafe { rseq_spin(&raw const area.section, &raw const section) };
        }
        HANDLED.load(SeqCst) as i32
    });
    t.show("begins_again_before_a_handler", status);
    // Another process wants the CPU too.
    let ended = ends(Section::new(), Area::default(), || {
        stay();
        let parent = sys!(SYS_getpid).unwrap_or(0);
        child(|| {
            while sys!(SYS_getppid) == Ok(parent) {
                std::hint::spin_loop();
            }
            0
        });
    });
    t.show("begins_again_when_others_run", ended);
    let ended = ends(Section::new(), Area::default(), || {
        const BARRIER: i32 = 128;
        sys!(SYS_membarrier, BARRIER << 1, 0, 0).expect("restartable sequences are known");
        std::thread::spawn(|| while sys!(SYS_membarrier, BARRIER, 0, 0) == Ok(0) {});
    });
    t.show("begins_again_at_a_barrier", ended);
}

fn unsound(t: &mut Report) {
    let good = Section::new();
    let cases = [
        ("version", Section { version: 1, ..good }),
        ("section_flags", Section { flags: 1, ..good }),
        ("way_out_inside", Section { again: good.start + 1, ..good }),
        ("way_out_without_signature", Section { again: good.again + 1, ..good }),
        ("way_out_in_the_kernel", Section { again: 1 << 63, ..good }),
        ("start_in_the_kernel", Section { start: 1 << 63, ..good }),
        ("too_long", Section { length: u64::MAX, ..good }),
    ];
    for (name, section) in cases {
        t.show(name, ends(section, Area::default(), alarms));
    }
    t.show("area_flags", ends(good, Area { flags: 1, ..Area::default() }, alarms));
    // One that the thread is not in does not count, however it ends; it is cleared.
    let status = status_of(|| {
        let (section, area) = (Section { start: 0x1000, ..good }, Area::default());
        unregister().expect("it is the C library's");
        rseq((&raw const area).addr(), 32, 0, SIGNATURE).expect("there is none");
        alarms();
        area.section.store((&raw const section).addr() as u64, SeqCst);
        while HANDLED.load(SeqCst) == 0 {
            std::hint::spin_loop();
        }
        i32::from(area.section.load(SeqCst) == 0) * 10 + HANDLED.load(SeqCst) as i32
    });
    t.show("outside", status);
    let status = status_of(|| {
        let area = Area::default();
        unregister().expect("it is the C library's");
        rseq((&raw const area).addr(), 32, 0, SIGNATURE).expect("there is none");
        alarms();
        end_by_faults();
        area.section.store(NOWHERE as u64, SeqCst);
        loop {
            std::hint::spin_loop();
        }
    });
    t.show("section_nowhere", status);
}

fn tracer(t: &mut Report) {
    const GET_RSEQ_CONFIGURATION: u32 = 0x420f;
    let pid = child(|| {
        let _ = sys!(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
        let _ = sys!(SYS_kill, sys!(SYS_getpid).unwrap_or(0), SIGSTOP);
        0
    });
    let mut status = 0;
    let _ = sys!(SYS_wait4, pid, &mut status, 0, 0);
    let mut words = [0u64; 4];
    t.call("configuration", sys!(SYS_ptrace, GET_RSEQ_CONFIGURATION, pid, 32, &mut words));
    let signature = words[1] >> 32;
    t.is("configuration_place", words[0] as usize == libraries());
    t.show("configuration_words", format!("{} {signature:x} {}", words[1] as u32, words[2]));
    words = [u64::MAX; 4];
    t.call("configuration_short", sys!(SYS_ptrace, GET_RSEQ_CONFIGURATION, pid, 4, &mut words));
    t.is("configuration_cut", words[0] >> 32 == u64::from(u32::MAX));
    let _ = sys!(SYS_kill, pid, SIGKILL);
    let _ = wait_for(pid);
}
