//! `siginfo_t`: why a signal was sent.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Signal;
use crate::process::{Change, ExitStatus};

/// Sent by `kill(2)`.
pub const SI_USER: i32 = 0;
/// Sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// A POSIX timer expired.
pub const SI_TIMER: i32 = -2;
/// Sent by `tkill(2)` or `tgkill(2)`.
pub const SI_TKILL: i32 = -6;

/// The ABI's structure, 128 bytes (`include/uapi/asm-generic/siginfo.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigInfo {
    /// Number.
    pub signal: i32,
    /// Unused for most.
    pub errno: i32,
    /// Why: one of the `SI_` constants, or what the signal's fault was.
    pub code: i32,
    /// 1 for what the host sent, which no program can pretend; padding in the ABI.
    host: i32,
    /// The union: for `kill` pid, uid and value; for faults the address; for timers id, overrun and value.
    pub fields: [u64; 14],
}

impl SigInfo {
    fn new(signal: Signal, code: i32) -> Self {
        Self { signal: i32::from(signal.number()), errno: 0, code, host: 0, fields: [0; 14] }
    }

    /// From the kernel itself.
    pub fn kernel(signal: Signal) -> Self {
        Self::new(signal, SI_KERNEL)
    }

    /// From a process: `code` is `SI_USER` or `SI_TKILL`.
    pub fn user(signal: Signal, code: i32, pid: u32, uid: u32) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = u64::from(pid) | u64::from(uid) << 32;
        info
    }

    /// From the host: the sender has no id here, which reads as 0, as it does across PID namespaces.
    pub fn host(signal: Signal) -> Self {
        Self { host: 1, ..Self::user(signal, SI_USER, 0, 0) }
    }

    /// True for what [`SigInfo::host`] made.
    pub fn is_from_host(&self) -> bool {
        self.host != 0
    }

    /// What a program made up, as it is sent with `signal` (`rt_sigqueueinfo(2)`).
    #[must_use]
    pub fn made_up(self, signal: i32) -> Self {
        Self { signal, host: 0, ..self }
    }

    /// As programs see it.
    #[must_use]
    pub fn shown(self) -> Self {
        Self { host: 0, ..self }
    }

    /// The id of the POSIX timer that sent it, if one did.
    pub fn timer_id(&self) -> Option<i32> {
        (self.code == SI_TIMER).then_some(self.fields[0] as i32)
    }

    /// A fault at `address`.
    pub fn fault(signal: Signal, code: i32, address: u64) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = address;
        info
    }

    /// A call that a filter has refused (sigaction(2), "SIGSYS").
    pub fn of_call(address: u64, number: i32, arch: u32, reason: i32) -> Self {
        const SYS_SECCOMP: i32 = 1;
        let mut info = Self::fault(Signal::SYS, SYS_SECCOMP, address);
        info.errno = reason;
        info.fields[1] = u64::from(number.cast_unsigned()) | u64::from(arch) << 32;
        info
    }

    /// A child that ended, stopped or went on (sigaction(2), "SIGCHLD").
    pub fn child(signal: Signal, id: u32, user: u32, change: Change) -> Self {
        const EXITED: i32 = 1;
        const KILLED: i32 = 2;
        const DUMPED: i32 = 3;
        const TRAPPED: i32 = 4;
        const STOPPED: i32 = 5;
        const CONTINUED: i32 = 6;
        let (code, status) = match change {
            Change::Ended(ExitStatus::Exited(code)) => (EXITED, code),
            Change::Ended(ExitStatus::Killed(by)) => (KILLED, by.number()),
            Change::Ended(ExitStatus::Dumped(by)) => (DUMPED, by.number()),
            Change::Stopped(by) => (STOPPED, by.number()),
            Change::Continued => (CONTINUED, Signal::CONT.number()),
            Change::Trapped(code) => return Self::of_status(signal, TRAPPED, id, user, code),
        };
        Self::of_status(signal, code, id, user, status.into())
    }

    fn of_status(signal: Signal, code: i32, id: u32, user: u32, status: u32) -> Self {
        let mut info = Self::user(signal, code, id, user);
        info.fields[1] = u64::from(status);
        info
    }

    /// A message that came to an empty queue: who sent it, and the value of who is told (`mq_notify(3)`).
    pub fn of_message(signal: Signal, pid: u32, uid: u32, value: u64) -> Self {
        const SI_MESGQ: i32 = -3;
        let mut info = Self::user(signal, SI_MESGQ, pid, uid);
        info.fields[1] = value;
        info
    }

    /// A change of the file `fd`: which one, and as poll(2) tells it (`F_SETSIG` of fcntl(2)).
    pub fn of_file(signal: Signal, code: i32, band: u32, fd: i32) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = band.into();
        info.fields[1] = u64::from(fd.cast_unsigned());
        info
    }

    /// A POSIX timer: its id, how often it expired besides, and the program's value.
    pub fn timer(signal: Signal, id: i32, overrun: i32, value: u64) -> Self {
        let mut info = Self::new(signal, SI_TIMER);
        info.fields[0] = u64::from(id as u32) | u64::from(overrun as u32) << 32;
        info.fields[1] = value;
        info
    }
}

const _: () = assert!(size_of::<SigInfo>() == 128);
