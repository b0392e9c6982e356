//! The machine as programs see it: names, limits, usage, randomness.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::{clock, memory_stats};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::argument::{Flags, OutBytes};
use super::unfinished::reply;
use crate::fail::{Attempt, Stop, SysResult};
use crate::kernel;
use crate::mm::UserPtr;
use crate::process::{self, Ctx, Limit, Process, Resource};
use crate::signal::Signal;
use crate::time::{CpuTime, TICKS_PER_SECOND, Timeval, Used};

/// The length of each field of [`UtsName`], its NUL included.
const NAME_LENGTH: usize = 65;

/// `struct new_utsname`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UtsName {
    system: [u8; NAME_LENGTH],
    node: [u8; NAME_LENGTH],
    release: [u8; NAME_LENGTH],
    version: [u8; NAME_LENGTH],
    machine: [u8; NAME_LENGTH],
    domain: [u8; NAME_LENGTH],
}

/// uname(2). The release is that of the Linux whose interface this is; C libraries refuse to run on one they think too old.
pub fn uname(ctx: &mut Ctx, buffer: UserPtr<UtsName>) -> Attempt {
    const LINUX32: u32 = 8;
    const EXECUTION_DOMAIN: u32 = 0xff;
    let field = |text: &[u8]| {
        let mut field = [0; NAME_LENGTH];
        let length = text.len().min(NAME_LENGTH - 1);
        field[..length].copy_from_slice(&text[..length]);
        field
    };
    // What builds for machines of 32 bits asks to be told (`setarch(8)`).
    let persona = ctx.thread.personality.load(Ordering::Relaxed) & EXECUTION_DOMAIN;
    let name = UtsName {
        system: field(b"Linux"),
        node: field(&kernel::hostname()),
        release: field(kernel::RELEASE.as_bytes()),
        version: field(kernel::VERSION.as_bytes()),
        machine: field(if persona == LINUX32 { b"i686" } else { b"x86_64" }),
        domain: field(&kernel::domain_name()),
    };
    buffer.put(&name)?;
    Ok(0)
}

/// sethostname(2)
pub fn sethostname(ctx: &mut Ctx, name: UserPtr<u8>, length: usize) -> Attempt {
    kernel::set_hostname(new_name(ctx, name, length, &mut [0; NAME_LENGTH])?);
    Ok(0)
}

/// setdomainname(2)
pub fn setdomainname(ctx: &mut Ctx, name: UserPtr<u8>, length: usize) -> Attempt {
    kernel::set_domain_name(new_name(ctx, name, length, &mut [0; NAME_LENGTH])?);
    Ok(0)
}

/// Reads a new name of the machine, which only an administrator may give.
fn new_name<'a>(
    ctx: &Ctx,
    name: UserPtr<u8>,
    length: usize,
    room: &'a mut [u8; NAME_LENGTH],
) -> Attempt<&'a [u8]> {
    if !ctx.thread.identity().capable(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if length >= NAME_LENGTH {
        return Err(Errno::EINVAL.into());
    }
    name.get_bytes(&mut room[..length])?;
    Ok(&room[..length])
}

/// reboot(2), as in a PID namespace: the first process ends, and with it the machine.
pub fn reboot(ctx: &mut Ctx, magic: u32, magic2: u32, command: u32) -> SysResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const RESTART2: u32 = 0xa1b2_c3d4;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    if !ctx.thread.identity().capable(Capabilities::SYS_BOOT) {
        return Err(Errno::EPERM.into());
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL.into());
    }
    let signal = match command {
        RESTART | RESTART2 => Signal::HUP,
        HALT | POWER_OFF => Signal::INT,
        CAD_ON | CAD_OFF => return Ok(0),
        _ => return Err(Errno::EINVAL.into()),
    };
    if let Some(first) = process::find_process(1) {
        process::kill_process(&first, signal);
    }
    Ok(0)
}

/// personality(2): returns the one before.
pub fn personality(ctx: &mut Ctx, persona: u32) -> SysResult {
    const QUERY: u32 = u32::MAX;
    let own = &ctx.thread.personality;
    let before =
        if persona == QUERY { own.load(Ordering::Relaxed) } else { own.swap(persona, Ordering::Relaxed) };
    Ok(before as usize)
}

/// `struct rlimit64`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct UserLimit {
    soft: u64,
    hard: u64,
}

/// getrlimit(2)
pub fn getrlimit(ctx: &mut Ctx, resource: u32, limit: UserPtr<UserLimit>) -> Attempt {
    let found = ctx.thread.process().limits.lock().by_number(resource as usize).ok_or(Errno::EINVAL)?;
    limit.put(&UserLimit { soft: found.soft, hard: found.hard })?;
    Ok(0)
}

/// setrlimit(2)
pub fn setrlimit(ctx: &mut Ctx, resource: u32, limit: UserPtr<UserLimit>) -> Attempt {
    let new = limit.get()?;
    let process = Arc::clone(ctx.thread.process());
    set_limit(ctx, &process, resource, new)?;
    Ok(0)
}

/// `EPERM` unless the caller may see and change the limits of `target`: it is its own, all its ids are the caller's, or the caller has
/// `CAP_SYS_RESOURCE` (prlimit(2), `check_prlimit_permission`).
fn check_may_limit(ctx: &Ctx, target: &Process) -> Result<(), Errno> {
    let own = ctx.thread.identity();
    let Some(other) = target.first_thread().map(|thread| thread.identity()) else { return Ok(()) };
    let (users, groups) = (other.users, other.groups);
    let alike = [users.real, users.effective, users.saved].iter().all(|&id| id == own.users.real)
        && [groups.real, groups.effective, groups.saved].iter().all(|&id| id == own.groups.real);
    let itself = target.pid == ctx.thread.process().pid;
    if itself || alike || own.capable(Capabilities::SYS_RESOURCE) { Ok(()) } else { Err(Errno::EPERM) }
}

/// prlimit64(2)
pub fn prlimit64(
    ctx: &mut Ctx,
    pid: u32,
    resource: u32,
    new: UserPtr<UserLimit>,
    old: UserPtr<UserLimit>,
) -> Attempt {
    let new = new.get_optional()?;
    let target = match pid {
        0 => Arc::clone(ctx.thread.process()),
        pid => process::find_process_of(pid).ok_or(Errno::ESRCH)?,
    };
    check_may_limit(ctx, &target)?;
    let before = target.limits.lock().by_number(resource as usize).ok_or(Errno::EINVAL)?;
    if let Some(new) = new {
        set_limit(ctx, &target, resource, new)?;
    }
    let before = UserLimit { soft: before.soft, hard: before.hard };
    reply(ctx, Ok(0), &[(old.address(), before.as_bytes())])
}

/// The most open files a limit may allow (`fs.nr_open`).
const NR_OPEN: u64 = 1 << 20;

fn set_limit(ctx: &Ctx, process: &Arc<Process>, resource: u32, new: UserLimit) -> Result<(), Errno> {
    let number = resource as usize;
    let mut limits = process.limits.lock();
    let before = limits.by_number(number).ok_or(Errno::EINVAL)?;
    if new.soft > new.hard {
        return Err(Errno::EINVAL);
    }
    if number == Resource::OpenFiles as usize && new.hard > NR_OPEN {
        return Err(Errno::EPERM);
    }
    let privileged = ctx.thread.identity().capable(Capabilities::SYS_RESOURCE);
    if new.hard > before.hard && !privileged {
        return Err(Errno::EPERM);
    }
    limits.set(number, Limit { soft: new.soft, hard: new.hard });
    let of_memory = limits.of_memory();
    let processor = limits.get(Resource::Cpu);
    drop(limits);
    let memory = process.memory();
    // Who has but borrowed it, as a child of vfork has, changes nothing for its owner.
    let shares = |other: Arc<Process>| other.pid != process.pid && Arc::ptr_eq(&other.memory(), &memory);
    let borrowed = !process.has_executed.load(Ordering::Relaxed) && process::processes().any(shares);
    if !borrowed {
        memory.set_limits(of_memory);
    }
    if number == Resource::Cpu as usize {
        process.timers.limit(process, processor);
    }
    Ok(())
}

/// `struct rusage`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Usage {
    user: Timeval,
    system: Timeval,
    /// Largest resident set in KiB.
    resident_peak: i64,
    /// Memory integrals that Linux does not keep either, faults, swaps, blocks, messages, signals.
    rest: [i64; 11],
    /// How often the CPU was given up, and had to be.
    switches: [u64; 2],
}

impl Usage {
    /// Of what has been used, and this largest resident set, in bytes.
    pub(super) fn new(used: Used, resident_peak: usize) -> Self {
        let times = CpuTime::of(used);
        let [.., given_up, preempted] = used.0;
        Self {
            user: Timeval::from_ns(times.user),
            system: Timeval::from_ns(times.system),
            resident_peak: (resident_peak >> 10) as i64,
            rest: [0; 11],
            switches: [given_up, preempted],
        }
    }
}

/// getrusage(2)
pub fn getrusage(ctx: &mut Ctx, who: i32, usage: UserPtr<Usage>) -> Attempt {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let process = ctx.thread.process();
    let own_peak = || ctx.memory.report().resident_peak;
    let found = match who {
        SELF => Usage::new(process.used(), own_peak()),
        THREAD => Usage::new(ctx.thread.used(), own_peak()),
        CHILDREN => {
            let used = *process.children_used.lock();
            Usage::new(used, process.children_resident_peak.load(Ordering::Relaxed))
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    usage.put(&found)?;
    Ok(0)
}

/// times(2): the system call returns ticks since boot.
pub fn times(ctx: &mut Ctx, buffer: UserPtr<[i64; 4]>) -> Attempt {
    const NS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;
    if let Some(buffer) = buffer.non_null() {
        let (own, children) =
            (CpuTime::of_process(ctx.thread.process()), CpuTime::of_children(ctx.thread.process()));
        let ticks =
            [own.user, own.system, children.user, children.system].map(|ns| (ns / NS_PER_TICK) as i64);
        buffer.put(&ticks)?;
    }
    Ok((clock::monotonic_ns() / NS_PER_TICK) as usize)
}

/// `struct sysinfo`
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_ram: u64,
    buffer_ram: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    padding: [u16; 3],
    total_high: u64,
    free_high: u64,
    unit: u32,
    tail: u32,
}

/// sysinfo(2)
pub fn sysinfo(_: &mut Ctx, buffer: UserPtr<SysInfo>) -> Attempt {
    let memory = memory_stats();
    let threads: usize = process::processes().map(|process| process.thread_count()).sum();
    let info = SysInfo {
        uptime: (clock::monotonic_ns() / 1_000_000_000) as i64,
        loads: process::load::averages(),
        total_ram: (memory.total_frames * isopod_hal::PAGE_SIZE) as u64,
        free_ram: (memory.free_frames * isopod_hal::PAGE_SIZE) as u64,
        processes: threads.min(usize::from(u16::MAX)) as u16,
        unit: 1,
        ..SysInfo::default()
    };
    buffer.put(&info)?;
    Ok(0)
}

/// getrandom(2). The pool is seeded before the first program runs, so that nobody ever waits.
pub fn getrandom(ctx: &mut Ctx, buffer: OutBytes, length: usize, flags: Flags) -> Attempt {
    /// After so many bytes a signal ends it, and others get a turn (`get_random_bytes_user()` of Linux).
    const STEP: usize = isopod_hal::PAGE_SIZE;
    const NON_BLOCK: u32 = 1;
    const RANDOM: u32 = 2;
    const INSECURE: u32 = 4;
    let exclusive = RANDOM | INSECURE;
    if flags.0 & !(NON_BLOCK | exclusive) != 0 || flags.0 & exclusive == exclusive {
        return Err(Errno::EINVAL.into());
    }
    let length = length.min(i32::MAX as usize);
    let mut chunk = [0; 256];
    let mut done = core::mem::take(&mut ctx.moved);
    while done < length {
        // Requests of up to 256 bytes are never interrupted.
        if done > 0 && done.is_multiple_of(STEP) && ctx.thread.is_interrupted() {
            break;
        }
        let step = chunk.len().min(length - done);
        kernel::fill_random(&mut chunk[..step]);
        if let Err(fault) = UserPtr::<u8>::new(buffer.0.address() + done).put_bytes(&chunk[..step]) {
            ctx.moved = done;
            return Err(fault.into());
        }
        done += step;
        if done.is_multiple_of(STEP) && done < length {
            ctx.moved = done;
            return Err(Stop::Turn);
        }
    }
    Ok(done)
}
