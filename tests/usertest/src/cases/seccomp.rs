//! Filters of system calls: seccomp(2).

use std::ptr::null;

use libc::*;

use super::helpers::{NOWHERE, allow_core, child, pipe, status_of, wait_for};
use crate::report::Report;
use crate::sys::Errno;

/// Operations of seccomp(2).
const STRICT: u32 = SECCOMP_SET_MODE_STRICT;
const FILTER: u32 = SECCOMP_SET_MODE_FILTER;
const AVAILABLE: u32 = SECCOMP_GET_ACTION_AVAIL;

/// The call that filters are about: nothing else makes it.
const PROBE: u32 = SYS_getpgid as u32;

/// `struct sock_filter` and what `struct sock_fprog` is to a 64-bit program.
type Instruction = sock_filter;

const fn op(code: u32, k: u32) -> Instruction {
    Instruction { code: code as u16, jt: 0, jf: 0, k }
}

const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const RETURN: u32 = BPF_RET | BPF_K;

/// Returns `result` for [`PROBE`], and lets all else pass.
fn about_probe(result: u32) -> [Instruction; 4] {
    [
        op(LOAD, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 0, 1),
        op(RETURN, result),
        op(RETURN, SECCOMP_RET_ALLOW),
    ]
}

fn install(flags: u32, program: &[Instruction]) -> Result<usize, Errno> {
    let words = [program.len(), program.as_ptr() as usize];
    sys!(SYS_seccomp, FILTER, flags, &words)
}

fn no_new_privileges() {
    let _ = sys!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/// The status of a child behind a filter.
fn behind(program: &[Instruction], run: impl FnOnce() -> i32) -> i32 {
    status_of(|| {
        no_new_privileges();
        match install(0, program) {
            Ok(_) => run(),
            Err(errno) => 200 + errno.0,
        }
    })
}

fn probe() -> i32 {
    sys!(SYS_getpgid, 0).err().map_or(0, |errno| errno.0)
}

/// Runs the group.
pub fn run(t: &mut Report) {
    arguments(t);
    checker(t);
    actions(t);
    trap(t);
    strict(t);
    several(t);
    threads(t);
    inherited(t);
    random(t);
}

fn arguments(t: &mut Report) {
    let allow = [op(RETURN, SECCOMP_RET_ALLOW)];
    let place = allow.as_ptr() as usize;
    t.call("operation_unknown", sys!(SYS_seccomp, 99, 0, 0));
    t.call("strict_with_flags", sys!(SYS_seccomp, STRICT, 1, 0));
    t.call("strict_with_arguments", sys!(SYS_seccomp, STRICT, 0, &allow));
    t.call("filter_flags", sys!(SYS_seccomp, FILTER, 1 << 20, 0));
    t.call("filter_fault", sys!(SYS_seccomp, FILTER, 0, NOWHERE));
    t.call("filter_fault_tsync", sys!(SYS_seccomp, FILTER, SECCOMP_FILTER_FLAG_TSYNC, 0));
    t.call("filter_empty", sys!(SYS_seccomp, FILTER, 0, &[0usize, place]));
    t.call("filter_long", sys!(SYS_seccomp, FILTER, 0, &[4097usize, place]));
    t.call("filter_null", sys!(SYS_seccomp, FILTER, 0, &[1usize, 0]));
    t.call("filter_unreadable", sys!(SYS_seccomp, FILTER, 0, &[1usize, NOWHERE]));
    t.call("prctl_mode_unknown", sys!(SYS_prctl, PR_SET_SECCOMP, 3, 0, 0, 0));
    t.call("prctl_fault", sys!(SYS_prctl, PR_SET_SECCOMP, 2, NOWHERE, 0, 0));
    for (name, action) in [
        ("kill_process", SECCOMP_RET_KILL_PROCESS),
        ("kill_thread", SECCOMP_RET_KILL_THREAD),
        ("trap", SECCOMP_RET_TRAP),
        ("errno", SECCOMP_RET_ERRNO),
        ("trace", SECCOMP_RET_TRACE),
        ("log", SECCOMP_RET_LOG),
        ("allow", SECCOMP_RET_ALLOW),
        ("with_data", SECCOMP_RET_ERRNO | 1),
        ("unknown", 0x1234_0000),
    ] {
        t.call(&format!("available_{name}"), sys!(SYS_seccomp, AVAILABLE, 0, &action));
    }
    t.call("available_flags", sys!(SYS_seccomp, AVAILABLE, 1, &SECCOMP_RET_TRAP));
    t.call("available_fault", sys!(SYS_seccomp, AVAILABLE, 0, NOWHERE));
    let unprivileged = |before: fn()| {
        status_of(|| {
            let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
            before();
            install(0, &[op(RETURN, SECCOMP_RET_ALLOW)]).err().map_or(0, |errno| errno.0)
        })
    };
    t.show("unprivileged", Errno(unprivileged(|| ())));
    t.show("unprivileged_without_new_privileges", unprivileged(no_new_privileges));
    let length = status_of(|| {
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        let bad = sys!(SYS_seccomp, FILTER, 0, &[0usize, 0]) == Err(Errno(EINVAL));
        let list = sys!(SYS_seccomp, FILTER, 0, &[1usize, 0]) == Err(Errno(EACCES));
        i32::from(bad) + 2 * i32::from(list)
    });
    t.show("order_of_errors", length);
}

fn checker(t: &mut Report) {
    let end = op(RETURN, SECCOMP_RET_ALLOW);
    let check = |program: &[Instruction]| {
        Errno(status_of(|| {
            no_new_privileges();
            install(0, program).err().map_or(0, |errno| errno.0)
        }))
    };
    for (name, first) in [
        ("load_byte", op(BPF_LD | BPF_B | BPF_ABS, 0)),
        ("load_unaligned", op(LOAD, 2)),
        ("load_beyond", op(LOAD, 64)),
        ("load_last", op(LOAD, 60)),
        ("load_indirect", op(BPF_LD | BPF_W | BPF_IND, 0)),
        ("load_length", op(BPF_LD | BPF_W | BPF_LEN, 0)),
        ("load_header", op(BPF_LDX | BPF_B | BPF_MSH, 0)),
        ("load_cell_unwritten", op(BPF_LD | BPF_MEM, 1)),
        ("store_beyond", op(BPF_ST, 16)),
        ("divide_by_zero", op(BPF_ALU | BPF_DIV | BPF_K, 0)),
        ("modulo", op(BPF_ALU | BPF_MOD | BPF_K, 3)),
        ("shift_far", op(BPF_ALU | BPF_LSH | BPF_K, 32)),
        ("xor", op(BPF_ALU | BPF_XOR | BPF_X, 0)),
        ("negate", op(BPF_ALU | BPF_NEG, 0)),
        ("negate_with_index", op(BPF_ALU | BPF_NEG | BPF_X, 0)),
        ("jump_beyond", op(BPF_JMP | BPF_JA, 1)),
        ("jump_far_beyond", op(BPF_JMP | BPF_JA, u32::MAX)),
        ("jump_on", op(BPF_JMP | BPF_JA, 0)),
        ("compare_beyond", jump(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1)),
        ("return_index", op(BPF_RET | BPF_X, 0)),
        ("unknown", op(0xffff, 0)),
    ] {
        t.show(&format!("check_{name}"), check(&[first, end]));
    }
    t.show("check_no_end", check(&[op(BPF_LD, 0)]));
    t.show("check_longest", check(&vec![end; 4096]));
}

fn actions(t: &mut Report) {
    for (name, result) in [
        ("errno", SECCOMP_RET_ERRNO | 7),
        ("errno_0", SECCOMP_RET_ERRNO),
        ("errno_large", SECCOMP_RET_ERRNO | 0xffff),
        ("allow_with_data", SECCOMP_RET_ALLOW | 5),
        ("log", SECCOMP_RET_LOG),
        ("trace_without_tracer", SECCOMP_RET_TRACE | 3),
        ("user_without_listener", SECCOMP_RET_USER_NOTIF),
        ("kill_process", SECCOMP_RET_KILL_PROCESS),
        ("kill_thread", SECCOMP_RET_KILL_THREAD),
        ("unknown", 0x1234_0000),
        ("trap_without_handler", SECCOMP_RET_TRAP),
    ] {
        // 4095, the largest, is more than a status holds.
        t.show(name, behind(&about_probe(result), || probe().min(250)));
    }
    for (name, result) in [("process", SECCOMP_RET_KILL_PROCESS), ("thread", SECCOMP_RET_KILL_THREAD)] {
        let waited = child(|| {
            allow_core();
            no_new_privileges();
            install(0, &about_probe(result)).expect("a filter");
            probe()
        });
        let mut status = 0;
        sys!(SYS_wait4, waited, &mut status, 0, 0).expect("it ends");
        t.show(&format!("kill_{name}_leaves_a_core"), format!("{status:#x}"));
    }
    let result = behind(&about_probe(SECCOMP_RET_KILL_PROCESS), || {
        // SAFETY: the handler does nothing, and is not even run.
        unsafe { signal(SIGSYS, SIG_IGN) };
        probe()
    });
    t.show("kill_is_not_ignored", result);
    let unknown = [
        op(LOAD, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, u32::MAX, 0, 1),
        op(RETURN, SECCOMP_RET_ERRNO | 9),
        op(RETURN, SECCOMP_RET_ALLOW),
    ];
    t.show(
        "call_minus_1",
        behind(&unknown, || crate::sys::call(-1, [0; 6]).err().map_or(0, |errno| errno.0)),
    );
    // Only the thread that made the call ends.
    let result = behind(&about_probe(SECCOMP_RET_KILL_THREAD), || {
        let [from, to] = pipe();
        // The C library does not hear of the end of such a thread, which is therefore not joined.
        std::thread::spawn(move || {
            let _ = sys!(SYS_write, to, b"x", 1);
            probe();
            let _ = sys!(SYS_write, to, b"y", 1);
        });
        let mut bytes = [0u8; 8];
        let first = sys!(SYS_read, from, &mut bytes, 8).unwrap_or(0);
        let tasks = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        for _ in 0..1000 {
            if tasks() == 1 {
                break;
            }
            crate::cases::helpers::sleep_ms(5);
        }
        let tasks = tasks();
        (first * 10 + tasks) as i32
    });
    t.show("kill_thread_of_two", result);
}

/// What the handler of SIGSYS has seen.
static mut SEEN: [i64; 6] = [0; 6];

extern "C" fn on_trap(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's structures for the one signal of a thread; nobody reads `SEEN` meanwhile.
    unsafe {
        let words = info.cast::<i32>();
        let registers = &(*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let address = words.add(4).cast::<u64>().read_unaligned();
        let here = registers[REG_RIP as usize].cast_unsigned();
        let (number, arch) = (words.add(6).read(), words.add(7).read());
        SEEN = [
            words.add(1).read().into(),
            words.add(2).read().into(),
            i64::from(address == here),
            number.into(),
            arch.into(),
            registers[REG_RAX as usize],
        ];
    }
}

fn trap(t: &mut Report) {
    let mut action = crate::sys::zeroed::<SignalAction>().0;
    action.sa_sigaction = on_trap as *const () as usize;
    action.sa_flags = SA_SIGINFO;
    let [from, to] = pipe();
    let status = behind(&about_probe(SECCOMP_RET_TRAP | 0x4d), || {
        // SAFETY: a handler of the right type.
        unsafe { sigaction(SIGSYS, &raw const action, std::ptr::null_mut()) };
        let result = sys!(SYS_getpgid, 0);
        // SAFETY: the handler has run.
        let seen = unsafe { SEEN };
        let text = format!("{seen:?} {result:?}");
        let _ = sys!(SYS_write, to, text.as_ptr(), text.len());
        0
    });
    let mut text = [0u8; 200];
    let length = sys!(SYS_read, from, &mut text, 200).unwrap_or(0);
    t.show("trap", format!("{status} {}", String::from_utf8_lossy(&text[..length])));
    let blocked = behind(&about_probe(SECCOMP_RET_TRAP), || {
        // SAFETY: as above.
        unsafe { sigaction(SIGSYS, &raw const action, std::ptr::null_mut()) };
        let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, &(1u64 << (SIGSYS - 1)), 0, 8);
        probe()
    });
    t.show("trap_blocked", blocked);
}

/// `struct sigaction`, which may be zero.
#[derive(Clone, Copy)]
struct SignalAction(sigaction);

// SAFETY: a C structure of numbers and addresses.
unsafe impl crate::sys::Plain for SignalAction {}

fn strict(t: &mut Report) {
    let status = |run: fn()| {
        status_of(|| {
            let _ = sys!(SYS_prctl, PR_SET_SECCOMP, 1, 0, 0, 0);
            run();
            let _ = sys!(SYS_exit, 5);
            6
        })
    };
    t.show("strict_exit", status(|| ()));
    t.show(
        "strict_write",
        status(|| {
            let _ = sys!(SYS_write, 1, null::<u8>(), 0);
        }),
    );
    t.show(
        "strict_other",
        status(|| {
            let _ = sys!(SYS_getpid);
        }),
    );
    t.show(
        "strict_exit_group",
        status(|| {
            let _ = sys!(SYS_exit_group, 1);
        }),
    );
    let changed = status_of(|| {
        no_new_privileges();
        let _ = install(0, &[op(RETURN, SECCOMP_RET_ALLOW)]);
        sys!(SYS_seccomp, STRICT, 0, 0).err().map_or(0, |errno| errno.0)
    });
    t.show("strict_behind_filters", Errno(changed));
}

fn several(t: &mut Report) {
    let both = |first: u32, second: u32| {
        behind(&about_probe(first), move || {
            let _ = install(0, &about_probe(second));
            probe()
        })
    };
    t.show("errno_then_allow", both(SECCOMP_RET_ERRNO | 5, SECCOMP_RET_ALLOW));
    t.show("errno_then_errno", both(SECCOMP_RET_ERRNO | 5, SECCOMP_RET_ERRNO | 6));
    t.show("errno_then_log", both(SECCOMP_RET_ERRNO | 5, SECCOMP_RET_LOG));
    t.show("log_then_trap", both(SECCOMP_RET_LOG, SECCOMP_RET_TRAP));
    t.show("thread_then_process", both(SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS));
    let refused = [
        op(LOAD, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp as u32, 0, 1),
        op(RETURN, SECCOMP_RET_ERRNO | 9),
        op(RETURN, SECCOMP_RET_ALLOW),
    ];
    t.show(
        "seccomp_itself",
        behind(&refused, || install(0, &about_probe(0)).err().map_or(0, |errno| errno.0)),
    );
    // The argument's halves lie as they do in memory.
    let of_argument = [
        op(LOAD, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 1, 0),
        op(RETURN, SECCOMP_RET_ALLOW),
        op(LOAD, 28),
        jump(BPF_JMP | BPF_JEQ | BPF_K, 0x1234, 0, 1),
        op(RETURN, SECCOMP_RET_ERRNO | 0xb),
        op(RETURN, SECCOMP_RET_ERRNO | 0xc),
    ];
    let with =
        |word: u64| behind(&of_argument, || sys!(SYS_getpgid, 0, word).err().map_or(0, |errno| errno.0));
    t.show("argument", format!("{} {}", with(0x1234_0000_0000), with(0x1234)));
    let arch = [
        op(LOAD, 4),
        op(BPF_ALU | BPF_AND | BPF_K, 0xff),
        op(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
        op(BPF_MISC | BPF_TAX, 0),
        op(LOAD, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 1, 0),
        op(RETURN, SECCOMP_RET_ALLOW),
        op(BPF_MISC | BPF_TXA, 0),
        op(BPF_RET | BPF_A, 0),
    ];
    t.show("architecture", behind(&arch, probe));
}

fn threads(t: &mut Report) {
    let status = behind(&[op(RETURN, SECCOMP_RET_ALLOW)], || {
        let [from, to] = pipe();
        let thread = std::thread::spawn(move || {
            let _ = sys!(SYS_read, from, &mut [0u8], 1);
            probe()
        });
        let result = install(SECCOMP_FILTER_FLAG_TSYNC as u32, &about_probe(SECCOMP_RET_ERRNO | 0x21));
        let _ = sys!(SYS_write, to, b"x", 1);
        let other = thread.join().unwrap_or(-1);
        if result == Ok(0) { other } else { 100 }
    });
    t.show("all_threads", status);
    let status = behind(&[op(RETURN, SECCOMP_RET_ALLOW)], || {
        let [from, to] = pipe();
        let [ready_from, ready_to] = pipe();
        let thread = std::thread::spawn(move || {
            // Filters of its own, which the others do not have.
            let _ = install(0, &[op(RETURN, SECCOMP_RET_ALLOW)]);
            let _ = sys!(SYS_write, ready_to, b"x", 1);
            let _ = sys!(SYS_read, from, &mut [0u8], 1);
            probe()
        });
        let _ = sys!(SYS_read, ready_from, &mut [0u8], 1);
        let program = about_probe(SECCOMP_RET_ERRNO | 0x21);
        let refused = install(SECCOMP_FILTER_FLAG_TSYNC as u32, &program);
        let in_the_way = refused.is_ok_and(|tid| tid as i32 > std::process::id() as i32);
        let silent = install((SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH) as u32, &program);
        let nobody = probe() == 0;
        let _ = sys!(SYS_write, to, b"x", 1);
        let other = thread.join().unwrap_or(-1) == 0;
        i32::from(in_the_way)
            + 2 * i32::from(silent == Err(Errno(ESRCH)))
            + 4 * i32::from(nobody)
            + 8 * i32::from(other)
    });
    t.show("threads_of_other_filters", status);
    // With the filters comes what they stand on.
    let status = status_of(|| {
        let [from, to] = pipe();
        let thread = std::thread::spawn(move || {
            let _ = sys!(SYS_read, from, &mut [0u8], 1);
            sys!(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0).unwrap_or(9) as i32
        });
        no_new_privileges();
        let _ = install(SECCOMP_FILTER_FLAG_TSYNC as u32, &[op(RETURN, SECCOMP_RET_ALLOW)]);
        let _ = sys!(SYS_write, to, b"x", 1);
        thread.join().unwrap_or(-1)
    });
    t.show("no_new_privileges_of_all", status);
}

fn inherited(t: &mut Report) {
    let program = about_probe(SECCOMP_RET_ERRNO | 0x21);
    t.show("by_fork", behind(&program, || status_of(probe)));
    t.show("by_thread", behind(&program, || std::thread::spawn(probe).join().unwrap_or(-1)));
    let lines = |name: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit('\t').next().and_then(|number| number.parse().ok()).unwrap_or(9)
    };
    let shown = behind(&program, || {
        let _ = install(0, &program);
        let mode: i32 = lines("Seccomp:");
        mode * 10 + lines("Seccomp_filters:")
    });
    t.show("status_lines", shown);
    t.show("status_line_without", lines("Seccomp:"));
    let mode = behind(&program, || sys!(SYS_prctl, PR_GET_SECCOMP).unwrap_or(9) as i32);
    t.show("get_seccomp", mode);
    let [from, to] = pipe();
    let pid = child(|| {
        no_new_privileges();
        let _ = install(0, &about_probe(SECCOMP_RET_ERRNO | 0x21));
        let _ = sys!(SYS_dup2, to, 1);
        let words = [c"/proc/self/exe".as_ptr(), c"--probe".as_ptr(), null()];
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), &[0usize]);
        1
    });
    let status = wait_for(pid).1;
    let _ = sys!(SYS_close, to);
    let mut text = [0u8; 100];
    let length = sys!(SYS_read, from, &mut text, 100).unwrap_or(0);
    t.show("by_execve", format!("{status} {}", String::from_utf8_lossy(&text[..length]).trim_end()));
}

/// What a program sees that was executed behind a filter.
pub fn after() {
    Report::new("seccomp").call("executed", sys!(SYS_getpgid, 0));
}

/// Numbers that are the same on every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32) % limit
    }
}

/// Instructions that come often among those that are drawn.
const CODES: [u32; 32] = [
    LOAD,
    LOAD,
    BPF_LD,
    BPF_LDX,
    BPF_LD | BPF_MEM,
    BPF_LDX | BPF_MEM,
    BPF_ST,
    BPF_STX,
    BPF_ALU,
    BPF_ALU | BPF_SUB,
    BPF_ALU | BPF_MUL,
    BPF_ALU | BPF_DIV,
    BPF_ALU | BPF_AND,
    BPF_ALU | BPF_OR,
    BPF_ALU | BPF_LSH,
    BPF_ALU | BPF_RSH,
    BPF_ALU | BPF_XOR,
    BPF_ALU | BPF_NEG,
    BPF_ALU | BPF_X,
    BPF_ALU | BPF_SUB | BPF_X,
    BPF_ALU | BPF_DIV | BPF_X,
    BPF_ALU | BPF_LSH | BPF_X,
    BPF_ALU | BPF_RSH | BPF_X,
    BPF_ALU | BPF_XOR | BPF_X,
    BPF_JMP | BPF_JEQ,
    BPF_JMP | BPF_JGT,
    BPF_JMP | BPF_JGE | BPF_X,
    BPF_JMP | BPF_JSET,
    BPF_JMP,
    BPF_MISC,
    BPF_MISC | BPF_TXA,
    BPF_LD | BPF_LEN,
];

/// Programs made at random: whether each is taken, and what those return that are.
fn random(t: &mut Report) {
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut verdicts, mut results) = (String::new(), Vec::new());
    for _ in 0..400 {
        let mut program =
            vec![op(LOAD, 0), jump(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 1, 0), op(RETURN, SECCOMP_RET_ALLOW)];
        let length = 1 + random.below(10);
        for at in 0..length {
            let code =
                if random.below(20) == 0 { random.below(0x100) } else { CODES[random.below(32) as usize] };
            let k = match random.below(4) {
                0 => random.below(u32::MAX),
                1 => random.below(16) * 4,
                _ => random.below(20),
            };
            let reach = length - at + 2;
            program.push(jump(code, k, random.below(reach) as u8, random.below(reach) as u8));
        }
        // The low byte of the accumulator as an error number.
        program.extend([
            op(BPF_ALU | BPF_AND, 0x7f),
            op(BPF_ALU | BPF_OR, SECCOMP_RET_ERRNO),
            op(BPF_RET | BPF_A, 0),
        ]);
        let status =
            behind(&program, || sys!(SYS_getpgid, 0, 7, 1u64 << 63, 99).err().map_or(0, |errno| errno.0));
        verdicts.push(if status == 200 + EINVAL { '-' } else { '+' });
        if status != 200 + EINVAL {
            results.push(status);
        }
    }
    t.show("random_taken", verdicts);
    t.show("random_results", format!("{results:?}"));
}
