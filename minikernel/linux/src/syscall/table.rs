//! The table of system calls (x86-64 numbers, `arch/x86/entry/syscalls/syscall_64.tbl`).
//!
//! A line is `number name(parameter: Type, ..) => kind handler;`. The kind is `now` for a handler that returns at once,
//! `again` for one that is called again when a page or a disk stopped it, and `wait` for an async one. What a `wait` call can mostly do at once
//! has a second handler behind it, `first`, which returns nothing, having changed nothing, where it cannot. `as` behind a type says how a
//! trace shows the argument, if not as its type has it, and `written` that the call writes what is shown.

use isopod_fs::Errno;

use super::argument::{Argument, Fd, Flags, InBytes, Mode, OutBytes, SignalNumber, UserPath};
use super::print::Shown;
use super::{
    adjtime, aio, epoll, eventfd, file, futex, identity, inotify, kcmp, membarrier, memory, mqueue,
    namespace, numa, pidfd, pipe, poll, priority, process, process_vm, ptrace, rseq, scheduling, seccomp,
    signalfd, signals, socket, splice, syslog, system, sysv, time, timers, wait,
};
use crate::fail::{Attempt, Fail, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::Ctx;

/// A system call of the table.
#[derive(Debug)]
pub struct CallInfo {
    /// Its number.
    pub number: u16,
    /// Its parameters, for the documents and the tests.
    #[cfg(not(isopod_bare))]
    pub parameters: &'static [Parameter],
    /// How its arguments are shown, one after the other ([`Shown::code`]).
    pub(super) shown: [u8; 6],
}

impl CallInfo {
    /// Its name.
    pub fn name(&self) -> &'static str {
        // A table of the names' places would take more bytes than they do.
        let place = CALLS.iter().take_while(|call| call.number < self.number).count();
        NAMES.split(' ').nth(place).unwrap_or_default()
    }
}

/// A parameter of a system call.
#[cfg(not(isopod_bare))]
#[derive(Debug)]
pub struct Parameter {
    /// Name, as in the man page.
    pub name: &'static str,
    /// Its type here.
    pub kind: &'static str,
}

/// The arm of a call that never waits, or is made again, in [`dispatch_now`], and of one that may wait in [`dispatch`]; elsewhere they are
/// unknown.
macro_rules! call {
    (now now $handler:path [], $($argument:expr),*) => { $handler($($argument),*).map_err(Stop::Fail) };
    (now again $handler:path [], $($argument:expr),*) => { $handler($($argument),*) };
    (now wait $handler:path [], $($argument:expr),*) => { Err(Stop::Dispatch) };
    (now wait $handler:path [$first:path], $($argument:expr),*) => { $first($($argument),*).ok_or(Stop::Dispatch)?.map_err(Stop::Fail) };
    (wait now $handler:path [], $($argument:expr),*) => { Err(Fail::Errno(Errno::ENOSYS)) };
    (wait again $handler:path [], $($argument:expr),*) => { Err(Fail::Errno(Errno::ENOSYS)) };
    (wait wait $handler:path [$($first:path)?], $($argument:expr),*) => { $handler($($argument),*).await };
}

/// How an argument is shown, as a byte.
macro_rules! shown_as {
    ($type:ty) => {
        <$type>::SHOWN.code(false)
    };
    ($type:ty, $shown:ident) => {
        Shown::$shown.code(false)
    };
    ($type:ty, $shown:ident written) => {
        Shown::$shown.code(true)
    };
}

macro_rules! system_calls {
    ($($number:literal $name:ident($($parameter:ident: $type:ty $(as $as:ident $($written:ident)?)?),*) => $kind:ident $handler:path $(, first $first:path)?;)*) => {
        /// Every system call, by rising number.
        pub const CALLS: &[CallInfo] = &[$(CallInfo {
            number: $number,
            #[cfg(not(isopod_bare))]
            parameters: &[$(Parameter { name: stringify!($parameter), kind: stringify!($type) }),*],
            shown: shown(&[$(shown_as!($type $(, $as $($written)?)?)),*]),
        }),*];

        /// Their names, in the same order.
        const NAMES: &str = concat!($(stringify!($name), " "),*);

        /// Calls the handler of call `number` if it is one that never waits, or that is made again; all others stop for [`dispatch`].
        pub(super) fn dispatch_now(number: u64, ctx: &mut Ctx) -> Attempt {
            match number {
                $($number => {
                    let mut _registers = arguments(ctx).into_iter();
                    call!(now $kind $handler [$($first)?], ctx $(, <$type>::from_register(_registers.next().unwrap_or(0)))*)
                })*
                _ => Err(Errno::ENOSYS.into()),
            }
        }

        /// Calls the handler of call `number` if it is one that may wait.
        pub(super) async fn dispatch(number: u64, ctx: &mut Ctx, registers: [u64; 6]) -> SysResult {
            match number {
                $($number => {
                    let mut _registers = registers.into_iter();
                    call!(wait $kind $handler [$($first)?], ctx $(, <$type>::from_register(_registers.next().unwrap_or(0)))*)
                })*
                _ => Err(Fail::Errno(Errno::ENOSYS)),
            }
        }
    };
}

/// How a call with these parameters is shown.
const fn shown(parameters: &[u8]) -> [u8; 6] {
    let mut all = [Shown::Nothing.code(false); 6];
    let (known, _) = all.split_at_mut(parameters.len());
    known.copy_from_slice(parameters);
    all
}

/// The arguments of the system call that the registers ask for.
#[inline]
pub(super) fn arguments(ctx: &Ctx) -> [u64; 6] {
    let registers = &ctx.user.regs;
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
}

/// The entry of call `number`.
pub(crate) fn find(number: u64) -> Option<&'static CallInfo> {
    CALLS.binary_search_by_key(&number, |call| call.number.into()).ok().map(|index| &CALLS[index])
}

system_calls! {
    0 read(fd: Fd, buf: OutBytes, count: usize) => again file::io::read;
    1 write(fd: Fd, buf: InBytes, count: usize) => again file::io::write;
    2 open(pathname: UserPath, flags: Flags as Open, mode: Mode as OpenMode) => again file::open::open;
    3 close(fd: Fd) => now file::descriptors::close;
    4 stat(pathname: UserPath, statbuf: UserPtr<file::stat::Stat> as Stat written) => again file::stat::stat;
    5 fstat(fd: Fd, statbuf: UserPtr<file::stat::Stat> as Stat written) => again file::stat::fstat;
    6 lstat(pathname: UserPath, statbuf: UserPtr<file::stat::Stat> as Stat written) => again file::stat::lstat;
    7 poll(fds: UserPtr<poll::PollFd> as PollFds, nfds: usize, timeout: i32) => again poll::poll;
    8 lseek(fd: Fd, offset: i64, whence: u32 as Whence) => again file::io::lseek;
    9 mmap(addr: usize as Pointer, length: usize, prot: Flags as Prot, flags: Flags as Map, fd: Fd, offset: u64 as Hex) => again memory::mmap;
    10 mprotect(addr: usize as Pointer, len: usize, prot: Flags as Prot) => now memory::mprotect;
    11 munmap(addr: usize as Pointer, length: usize) => again memory::munmap;
    12 brk(addr: usize as Pointer) => again memory::brk;
    13 rt_sigaction(signum: SignalNumber, act: UserPtr<signals::UserAction> as Action, oldact: UserPtr<signals::UserAction> as Action written, sigsetsize: usize) => again signals::rt_sigaction;
    14 rt_sigprocmask(how: i32 as MaskHow, set: UserPtr<u64> as Set, oldset: UserPtr<u64> as Set written, sigsetsize: usize) => again signals::rt_sigprocmask;
    15 rt_sigreturn() => wait crate::signal::return_from_handler, first crate::signal::return_at_once;
    16 ioctl(fd: Fd, request: u32 as Ioctl, argp: usize as IoctlArgument) => again file::ioctl::ioctl;
    17 pread64(fd: Fd, buf: OutBytes, count: usize, offset: i64) => again file::io::pread64;
    18 pwrite64(fd: Fd, buf: InBytes, count: usize, offset: i64) => again file::io::pwrite64;
    19 readv(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors written, iovcnt: usize) => again file::io::readv;
    20 writev(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors, iovcnt: usize) => again file::io::writev;
    21 access(pathname: UserPath, mode: Flags as Access) => again file::stat::access;
    22 pipe(pipefd: UserPtr<[i32; 2]> as Pair written) => again pipe::pipe;
    23 select(nfds: i32, readfds: UserPtr<u64> as Sets, writefds: UserPtr<u64> as Sets, exceptfds: UserPtr<u64> as Sets, timeout: UserPtr<crate::time::Timeval> as Timeval) => again poll::select;
    24 sched_yield() => wait process::sched_yield;
    25 mremap(old_address: usize as Pointer, old_size: usize, new_size: usize, flags: Flags as Remap, new_address: usize as Pointer) => now memory::mremap;
    26 msync(addr: usize as Pointer, length: usize, flags: Flags as Sync) => now memory::msync;
    27 mincore(addr: usize as Pointer, length: usize, vec: UserPtr<u8>) => again memory::mincore;
    28 madvise(addr: usize as Pointer, length: usize, advice: i32 as Advice) => again memory::madvise;
    29 shmget(key: i32 as Hex, size: usize, shmflg: Flags) => now sysv::shared_memory::shmget;
    30 shmat(shmid: i32, shmaddr: usize as Pointer, shmflg: Flags) => now sysv::shared_memory::shmat;
    31 shmctl(shmid: i32, op: i32, buf: UserPtr<u8>) => again sysv::shared_memory::shmctl;
    32 dup(oldfd: Fd) => now file::descriptors::dup;
    33 dup2(oldfd: Fd, newfd: Fd) => now file::descriptors::dup2;
    34 pause() => again signals::pause;
    35 nanosleep(req: UserPtr<crate::time::Timespec> as Timespec, rem: UserPtr<crate::time::Timespec>) => again time::nanosleep;
    36 getitimer(which: i32 as IntervalKind, curr_value: UserPtr<timers::IntervalValue> as IntervalValue written) => again timers::getitimer;
    37 alarm(seconds: u32) => now timers::alarm;
    38 setitimer(which: i32 as IntervalKind, new_value: UserPtr<timers::IntervalValue> as IntervalValue, old_value: UserPtr<timers::IntervalValue> as IntervalValue written) => again timers::setitimer;
    39 getpid() => now process::getpid;
    40 sendfile(out_fd: Fd, in_fd: Fd, offset: UserPtr<i64> as Offset, count: usize) => again file::io::sendfile;
    41 socket(domain: u32 as Domain, kind: u32 as SocketKind, protocol: i32 as Protocol) => now socket::socket;
    42 connect(sockfd: Fd, addr: UserPtr<u8> as Address, addrlen: i32) => again socket::connect;
    43 accept(sockfd: Fd, addr: UserPtr<u8> as OutAddress written, addrlen: UserPtr<i32> as Int written) => again socket::accept;
    44 sendto(sockfd: Fd, buf: InBytes, len: usize, flags: Flags as MessageFlags, dest_addr: UserPtr<u8> as Address, addrlen: i32) => again socket::sendto;
    45 recvfrom(sockfd: Fd, buf: OutBytes, len: usize, flags: Flags as MessageFlags, src_addr: UserPtr<u8> as OutAddress written, addrlen: UserPtr<i32> as Int written) => again socket::recvfrom;
    46 sendmsg(sockfd: Fd, msg: UserPtr<socket::MessageHeader> as Message, flags: Flags as MessageFlags) => again socket::sendmsg;
    47 recvmsg(sockfd: Fd, msg: UserPtr<socket::MessageHeader> as Message written, flags: Flags as MessageFlags) => again socket::recvmsg;
    48 shutdown(sockfd: Fd, how: i32 as Shutdown) => again socket::shutdown;
    49 bind(sockfd: Fd, addr: UserPtr<u8> as Address, addrlen: i32) => again socket::bind;
    50 listen(sockfd: Fd, backlog: u32) => again socket::listen;
    51 getsockname(sockfd: Fd, addr: UserPtr<u8> as OutAddress written, addrlen: UserPtr<i32> as Int written) => again socket::getsockname;
    52 getpeername(sockfd: Fd, addr: UserPtr<u8> as OutAddress written, addrlen: UserPtr<i32> as Int written) => again socket::getpeername;
    53 socketpair(domain: u32 as Domain, kind: u32 as SocketKind, protocol: i32 as Protocol, sv: UserPtr<[i32; 2]> as Pair written) => again socket::socketpair;
    54 setsockopt(sockfd: Fd, level: u32 as Level, optname: u32 as Option, optval: UserPtr<u8> as OptionValue, optlen: i32) => again socket::setsockopt;
    55 getsockopt(sockfd: Fd, level: u32 as Level, optname: u32 as Option, optval: UserPtr<u8> as Int written, optlen: UserPtr<i32> as Int written) => again socket::getsockopt;
    56 clone(flags: u64 as CloneAll, stack: usize as Nothing, parent_tid: UserPtr<u32> as Nothing, child_tid: UserPtr<u32> as Nothing, tls: u64 as Nothing) => wait process::clone;
    57 fork() => wait process::fork;
    58 vfork() => wait process::vfork;
    59 execve(pathname: UserPath, argv: UserPtr<u64> as Strings, envp: UserPtr<u64> as Environment) => wait process::execve;
    60 exit(status: i32) => now process::exit;
    61 wait4(pid: i32, wstatus: UserPtr<u32> as Status written, options: Flags as WaitFlags, rusage: UserPtr<system::Usage> as Usage written) => again wait::wait4;
    62 kill(pid: i32, sig: SignalNumber) => now signals::kill;
    63 uname(buf: UserPtr<system::UtsName> as Uname written) => again system::uname;
    64 semget(key: i32 as Hex, nsems: i32, semflg: Flags) => now sysv::semaphores::semget;
    65 semop(semid: i32, sops: UserPtr<crate::ipc::sysv::semaphores::Operation>, nsops: u32) => again sysv::semaphores::semop;
    66 semctl(semid: i32, semnum: i32, op: i32, arg: usize) => again sysv::semaphores::semctl;
    67 shmdt(shmaddr: usize as Pointer) => again sysv::shared_memory::shmdt;
    68 msgget(key: i32 as Hex, msgflg: Flags) => now sysv::messages::msgget;
    69 msgsnd(msqid: i32, msgp: InBytes, msgsz: usize, msgflg: Flags) => again sysv::messages::msgsnd;
    70 msgrcv(msqid: i32, msgp: OutBytes, msgsz: usize, msgtyp: i64, msgflg: Flags) => again sysv::messages::msgrcv;
    71 msgctl(msqid: i32, op: i32, buf: UserPtr<u8>) => again sysv::messages::msgctl;
    72 fcntl(fd: Fd, cmd: i32 as FcntlOp, arg: u64 as FcntlArgument) => again file::descriptors::fcntl;
    73 flock(fd: Fd, operation: Flags as FileLock) => again file::locks::flock;
    74 fsync(fd: Fd) => now file::io::fsync;
    75 fdatasync(fd: Fd) => now file::io::fsync;
    76 truncate(path: UserPath, length: i64) => again file::attributes::truncate;
    77 ftruncate(fd: Fd, length: i64) => again file::attributes::ftruncate;
    78 getdents(fd: Fd, dirp: OutBytes, count: u32) => again file::directory::getdents;
    79 getcwd(buf: OutBytes as Path written, size: usize) => again file::directory::getcwd;
    80 chdir(path: UserPath) => again file::directory::chdir;
    81 fchdir(fd: Fd) => again file::directory::fchdir;
    82 rename(oldpath: UserPath, newpath: UserPath) => again file::names::rename;
    83 mkdir(pathname: UserPath, mode: Mode) => again file::names::mkdir;
    84 rmdir(pathname: UserPath) => again file::names::rmdir;
    85 creat(pathname: UserPath, mode: Mode) => again file::open::creat;
    86 link(oldpath: UserPath, newpath: UserPath) => again file::names::link;
    87 unlink(pathname: UserPath) => again file::names::unlink;
    88 symlink(target: UserPath, linkpath: UserPath) => again file::names::symlink;
    89 readlink(pathname: UserPath, buf: OutBytes, bufsiz: i32) => again file::stat::readlink;
    90 chmod(pathname: UserPath, mode: Mode) => again file::attributes::chmod;
    91 fchmod(fd: Fd, mode: Mode) => again file::attributes::fchmod;
    92 chown(pathname: UserPath, owner: u32, group: u32) => again file::attributes::chown;
    93 fchown(fd: Fd, owner: u32, group: u32) => again file::attributes::fchown;
    94 lchown(pathname: UserPath, owner: u32, group: u32) => again file::attributes::lchown;
    95 umask(mask: Mode) => now file::attributes::umask;
    96 gettimeofday(tv: UserPtr<crate::time::Timeval> as Timeval written, tz: UserPtr<time::TimeZone>) => again time::gettimeofday;
    97 getrlimit(resource: u32 as Resource, rlim: UserPtr<system::UserLimit> as Limit written) => again system::getrlimit;
    98 getrusage(who: i32 as Who, usage: UserPtr<system::Usage> as Usage written) => again system::getrusage;
    99 sysinfo(info: UserPtr<system::SysInfo> as SysInfo written) => again system::sysinfo;
    100 times(buf: UserPtr<[i64; 4]>) => again system::times;
    101 ptrace(request: u64 as Ptrace, pid: i32, addr: usize as Pointer, data: usize as Hex) => again ptrace::ptrace;
    102 getuid() => now identity::getuid;
    103 syslog(type_: i32, bufp: usize as Pointer, len: i32) => again syslog::syslog;
    104 getgid() => now identity::getgid;
    105 setuid(uid: u32) => now identity::setuid;
    106 setgid(gid: u32) => now identity::setgid;
    107 geteuid() => now identity::geteuid;
    108 getegid() => now identity::getegid;
    109 setpgid(pid: u32, pgid: u32) => now process::setpgid;
    110 getppid() => now process::getppid;
    111 getpgrp() => now process::getpgrp;
    112 setsid() => now process::setsid;
    113 setreuid(ruid: u32, euid: u32) => now identity::setreuid;
    114 setregid(rgid: u32, egid: u32) => now identity::setregid;
    115 getgroups(size: i32, list: UserPtr<u32>) => again identity::getgroups;
    116 setgroups(size: usize, list: UserPtr<u32>) => again identity::setgroups;
    117 setresuid(ruid: u32, euid: u32, suid: u32) => now identity::setresuid;
    118 getresuid(ruid: UserPtr<u32>, euid: UserPtr<u32>, suid: UserPtr<u32>) => again identity::getresuid;
    119 setresgid(rgid: u32, egid: u32, sgid: u32) => now identity::setresgid;
    120 getresgid(rgid: UserPtr<u32>, egid: UserPtr<u32>, sgid: UserPtr<u32>) => again identity::getresgid;
    121 getpgid(pid: u32) => now process::getpgid;
    122 setfsuid(fsuid: u32) => now identity::setfsuid;
    123 setfsgid(fsgid: u32) => now identity::setfsgid;
    124 getsid(pid: u32) => now process::getsid;
    125 capget(hdrp: UserPtr<identity::CapHeader>, datap: UserPtr<[u32; 6]>) => again identity::capget;
    126 capset(hdrp: UserPtr<identity::CapHeader>, datap: UserPtr<[u32; 6]>) => again identity::capset;
    127 rt_sigpending(set: UserPtr<u64> as Set written, sigsetsize: usize) => again signals::rt_sigpending;
    128 rt_sigtimedwait(set: UserPtr<u64> as Set, info: UserPtr<crate::signal::SigInfo>, timeout: UserPtr<crate::time::Timespec> as Timespec, sigsetsize: usize) => again signals::rt_sigtimedwait;
    129 rt_sigqueueinfo(tgid: u32, sig: SignalNumber, info: UserPtr<crate::signal::SigInfo>) => again signals::rt_sigqueueinfo;
    130 rt_sigsuspend(mask: UserPtr<u64> as Set, sigsetsize: usize) => again signals::rt_sigsuspend;
    131 sigaltstack(ss: UserPtr<crate::signal::StackDescription> as Stack, old_ss: UserPtr<crate::signal::StackDescription> as Stack written) => again signals::sigaltstack;
    132 utime(filename: UserPath, times: UserPtr<[i64; 2]>) => again file::attributes::utime;
    133 mknod(pathname: UserPath, mode: Mode as FileMode, dev: u32 as Hex) => again file::names::mknod;
    135 personality(persona: u32) => now system::personality;
    137 statfs(path: UserPath, buf: UserPtr<file::stat::StatFs>) => again file::stat::statfs;
    138 fstatfs(fd: Fd, buf: UserPtr<file::stat::StatFs>) => again file::stat::fstatfs;
    140 getpriority(which: i32 as Priority, who: u32) => now priority::getpriority;
    141 setpriority(which: i32 as Priority, who: u32, prio: i32) => now priority::setpriority;
    142 sched_setparam(pid: u32, param: UserPtr<i32> as Int) => again scheduling::sched_setparam;
    143 sched_getparam(pid: u32, param: UserPtr<u32> as Int written) => again scheduling::sched_getparam;
    144 sched_setscheduler(pid: u32, policy: i32 as Policy, param: UserPtr<i32> as Int) => again scheduling::sched_setscheduler;
    145 sched_getscheduler(pid: u32) => now scheduling::sched_getscheduler;
    146 sched_get_priority_max(policy: i32 as Policy) => now scheduling::sched_get_priority_max;
    147 sched_get_priority_min(policy: i32 as Policy) => now scheduling::sched_get_priority_min;
    148 sched_rr_get_interval(pid: u32, tp: UserPtr<crate::time::Timespec> as Timespec written) => again scheduling::sched_rr_get_interval;
    149 mlock(addr: usize as Pointer, len: usize) => again memory::mlock;
    150 munlock(addr: usize as Pointer, len: usize) => now memory::munlock;
    151 mlockall(flags: Flags as LockAll) => again memory::mlockall;
    152 munlockall() => now memory::munlockall;
    155 pivot_root(new_root: UserPath, put_old: UserPath) => now namespace::pivot_root;
    157 prctl(option: i32 as Prctl, arg2: u64 as PrctlFirst, arg3: u64 as PrctlRest, arg4: u64 as PrctlRest, arg5: u64 as PrctlRest) => again process::prctl;
    158 arch_prctl(code: u32 as ArchCode, addr: u64 as Pointer) => again process::arch_prctl;
    159 adjtimex(buf: UserPtr<adjtime::Timex>) => again adjtime::adjtimex;
    160 setrlimit(resource: u32 as Resource, rlim: UserPtr<system::UserLimit> as Limit) => again system::setrlimit;
    161 chroot(path: UserPath) => again file::directory::chroot;
    162 sync() => now file::io::sync;
    164 settimeofday(tv: UserPtr<crate::time::Timeval> as Timeval, tz: UserPtr<time::TimeZone>) => again time::settimeofday;
    165 mount(source: UserPath, target: UserPath, filesystemtype: UserPath, mountflags: Flags as Mount, data: UserPtr<u8>) => again file::mount::mount;
    166 umount2(target: UserPath, flags: Flags as Unmount) => again file::mount::umount2;
    169 reboot(magic: u32, magic2: u32, op: u32) => now system::reboot;
    170 sethostname(name: UserPtr<u8>, len: usize) => again system::sethostname;
    171 setdomainname(name: UserPtr<u8>, len: usize) => again system::setdomainname;
    186 gettid() => now process::gettid;
    187 readahead(fd: Fd, offset: i64, count: usize) => now file::io::readahead;
    188 setxattr(path: UserPath, name: UserPath, value: InBytes, size: usize, flags: Flags) => again file::xattr::setxattr;
    189 lsetxattr(path: UserPath, name: UserPath, value: InBytes, size: usize, flags: Flags) => again file::xattr::lsetxattr;
    190 fsetxattr(fd: Fd, name: UserPath, value: InBytes, size: usize, flags: Flags) => again file::xattr::fsetxattr;
    191 getxattr(path: UserPath, name: UserPath, value: OutBytes, size: usize) => again file::xattr::getxattr;
    192 lgetxattr(path: UserPath, name: UserPath, value: OutBytes, size: usize) => again file::xattr::lgetxattr;
    193 fgetxattr(fd: Fd, name: UserPath, value: OutBytes, size: usize) => again file::xattr::fgetxattr;
    194 listxattr(path: UserPath, list: OutBytes, size: usize) => again file::xattr::listxattr;
    195 llistxattr(path: UserPath, list: OutBytes, size: usize) => again file::xattr::llistxattr;
    196 flistxattr(fd: Fd, list: OutBytes, size: usize) => again file::xattr::flistxattr;
    197 removexattr(path: UserPath, name: UserPath) => again file::xattr::removexattr;
    198 lremovexattr(path: UserPath, name: UserPath) => again file::xattr::lremovexattr;
    199 fremovexattr(fd: Fd, name: UserPath) => again file::xattr::fremovexattr;
    200 tkill(tid: i32, sig: SignalNumber) => now signals::tkill;
    201 time(tloc: UserPtr<i64>) => again time::time;
    202 futex(uaddr: usize as Pointer, futex_op: Flags as Futex, val: u32 as FutexValue, timeout: UserPtr<crate::time::Timespec> as FutexTime, uaddr2: usize as FutexOther, val3: u32 as FutexLast) => again futex::futex;
    203 sched_setaffinity(pid: u32, cpusetsize: usize, mask: UserPtr<u8>) => again process::sched_setaffinity;
    204 sched_getaffinity(pid: u32, cpusetsize: usize, mask: UserPtr<u8> as CpuSet written) => again process::sched_getaffinity;
    206 io_setup(nr_events: u32, ctx_idp: UserPtr<u64>) => again aio::io_setup;
    207 io_destroy(ctx_id: u64) => now aio::io_destroy;
    208 io_getevents(ctx_id: u64, min_nr: i64, nr: i64, events: UserPtr<aio::Told>, timeout: UserPtr<crate::time::Timespec> as Timespec) => again aio::io_getevents;
    209 io_submit(ctx_id: u64, nr: i64, iocbpp: UserPtr<u64>) => again aio::io_submit;
    210 io_cancel(ctx_id: u64, iocb: UserPtr<aio::Control>, result: UserPtr<u64>) => again aio::io_cancel;
    213 epoll_create(size: i32) => now epoll::epoll_create;
    216 remap_file_pages(addr: usize as Pointer, size: usize, prot: Flags as Prot, pgoff: usize, flags: Flags as Map) => again memory::remap_file_pages;
    217 getdents64(fd: Fd, dirp: OutBytes as Entries, count: u32) => again file::directory::getdents64;
    218 set_tid_address(tidptr: usize as Pointer) => now process::set_tid_address;
    220 semtimedop(semid: i32, sops: UserPtr<crate::ipc::sysv::semaphores::Operation>, nsops: u32, timeout: UserPtr<crate::time::Timespec> as Timespec) => again sysv::semaphores::semtimedop;
    221 fadvise64(fd: Fd, offset: i64, len: i64, advice: i32 as Fadvise) => now file::io::fadvise64;
    222 timer_create(clockid: i32 as Clock, sevp: UserPtr<timers::SigEvent>, timerid: UserPtr<i32> as Int written) => again timers::timer_create;
    223 timer_settime(timerid: i32, flags: Flags as TimerFlags, new_value: UserPtr<timers::IntervalSpec> as IntervalSpec, old_value: UserPtr<timers::IntervalSpec> as IntervalSpec written) => again timers::timer_settime;
    224 timer_gettime(timerid: i32, curr_value: UserPtr<timers::IntervalSpec> as IntervalSpec written) => again timers::timer_gettime;
    225 timer_getoverrun(timerid: i32) => now timers::timer_getoverrun;
    226 timer_delete(timerid: i32) => now timers::timer_delete;
    227 clock_settime(clockid: i32 as Clock, tp: UserPtr<crate::time::Timespec> as Timespec) => again time::clock_settime;
    228 clock_gettime(clockid: i32 as Clock, tp: UserPtr<crate::time::Timespec> as Timespec written) => again time::clock_gettime;
    229 clock_getres(clockid: i32 as Clock, res: UserPtr<crate::time::Timespec> as Timespec written) => again time::clock_getres;
    230 clock_nanosleep(clockid: i32 as Clock, flags: Flags as TimerFlags, request: UserPtr<crate::time::Timespec> as Timespec, remain: UserPtr<crate::time::Timespec>) => again time::clock_nanosleep;
    231 exit_group(status: i32) => now process::exit_group;
    232 epoll_wait(epfd: Fd, events: UserPtr<epoll::EpollEvent> as EpollEvents written, maxevents: i32, timeout: i32) => again epoll::epoll_wait;
    233 epoll_ctl(epfd: Fd, op: i32 as EpollOp, fd: Fd, event: UserPtr<epoll::EpollEvent> as EpollArgument) => again epoll::epoll_ctl;
    234 tgkill(tgid: i32, tid: i32, sig: SignalNumber) => now signals::tgkill;
    235 utimes(filename: UserPath, times: UserPtr<[crate::time::Timeval; 2]> as Timevals) => again file::attributes::utimes;
    237 mbind(addr: usize as Pointer, len: usize, mode: u32, nodemask: UserPtr<u64>, maxnode: usize, flags: Flags) => again numa::mbind;
    238 set_mempolicy(mode: u32, nodemask: UserPtr<u64>, maxnode: usize) => again numa::set_mempolicy;
    239 get_mempolicy(mode: UserPtr<u32>, nodemask: UserPtr<u64>, maxnode: usize, addr: usize as Pointer, flags: Flags) => again numa::get_mempolicy;
    240 mq_open(name: UserPath, oflag: Flags as Open, mode: Mode as OpenMode, attr: UserPtr<mqueue::Attributes>) => again mqueue::mq_open;
    241 mq_unlink(name: UserPath) => again mqueue::mq_unlink;
    242 mq_timedsend(mqdes: Fd, msg_ptr: InBytes, msg_len: usize, msg_prio: u32, abs_timeout: UserPtr<crate::time::Timespec> as Timespec) => again mqueue::mq_timedsend;
    243 mq_timedreceive(mqdes: Fd, msg_ptr: OutBytes, msg_len: usize, msg_prio: UserPtr<u32>, abs_timeout: UserPtr<crate::time::Timespec> as Timespec) => again mqueue::mq_timedreceive;
    244 mq_notify(mqdes: Fd, sevp: UserPtr<timers::SigEvent>) => again mqueue::mq_notify;
    245 mq_getsetattr(mqdes: Fd, newattr: UserPtr<mqueue::Attributes>, oldattr: UserPtr<mqueue::Attributes>) => again mqueue::mq_getsetattr;
    247 waitid(idtype: i32 as WaitKind, id: i32, infop: UserPtr<crate::signal::SigInfo>, options: Flags as WaitFlags, rusage: UserPtr<system::Usage> as Usage written) => again wait::waitid;
    251 ioprio_set(which: i32, who: u32, ioprio: u32) => now priority::ioprio_set;
    252 ioprio_get(which: i32, who: u32) => now priority::ioprio_get;
    253 inotify_init() => now inotify::inotify_init;
    254 inotify_add_watch(fd: Fd, pathname: UserPath, mask: Flags as InotifyMask) => again inotify::inotify_add_watch;
    255 inotify_rm_watch(fd: Fd, wd: i32) => now inotify::inotify_rm_watch;
    256 migrate_pages(pid: u32, maxnode: usize, old_nodes: UserPtr<u64>, new_nodes: UserPtr<u64>) => again numa::migrate_pages;
    257 openat(dirfd: Fd, pathname: UserPath, flags: Flags as Open, mode: Mode as OpenMode) => again file::open::openat;
    258 mkdirat(dirfd: Fd, pathname: UserPath, mode: Mode) => again file::names::mkdirat;
    259 mknodat(dirfd: Fd, pathname: UserPath, mode: Mode as FileMode, dev: u32 as Hex) => again file::names::mknodat;
    260 fchownat(dirfd: Fd, pathname: UserPath, owner: u32, group: u32, flags: Flags as At) => again file::attributes::fchownat;
    261 futimesat(dirfd: Fd, pathname: UserPath, times: UserPtr<[crate::time::Timeval; 2]> as Timevals) => again file::attributes::futimesat;
    262 newfstatat(dirfd: Fd, pathname: UserPath, statbuf: UserPtr<file::stat::Stat> as Stat written, flags: Flags as At) => again file::stat::newfstatat;
    263 unlinkat(dirfd: Fd, pathname: UserPath, flags: Flags as At) => again file::names::unlinkat;
    264 renameat(olddirfd: Fd, oldpath: UserPath, newdirfd: Fd, newpath: UserPath) => again file::names::renameat;
    265 linkat(olddirfd: Fd, oldpath: UserPath, newdirfd: Fd, newpath: UserPath, flags: Flags as At) => again file::names::linkat;
    266 symlinkat(target: UserPath, newdirfd: Fd, linkpath: UserPath) => again file::names::symlinkat;
    267 readlinkat(dirfd: Fd, pathname: UserPath, buf: OutBytes, bufsiz: i32) => again file::stat::readlinkat;
    268 fchmodat(dirfd: Fd, pathname: UserPath, mode: Mode) => again file::attributes::fchmodat;
    269 faccessat(dirfd: Fd, pathname: UserPath, mode: Flags as Access) => again file::stat::faccessat;
    270 pselect6(nfds: i32, readfds: UserPtr<u64> as Sets, writefds: UserPtr<u64> as Sets, exceptfds: UserPtr<u64> as Sets, timeout: UserPtr<crate::time::Timespec> as Timespec, sigmask: UserPtr<[u64; 2]>) => again poll::pselect6;
    271 ppoll(fds: UserPtr<poll::PollFd> as PollFds, nfds: usize, tmo_p: UserPtr<crate::time::Timespec> as Timespec, sigmask: UserPtr<u64> as Set, sigsetsize: usize) => again poll::ppoll;
    272 unshare(flags: u64 as Clone) => now namespace::unshare;
    273 set_robust_list(head: usize as Pointer, len: usize) => now futex::set_robust_list;
    274 get_robust_list(pid: u32, head_ptr: UserPtr<u64>, len_ptr: UserPtr<u64>) => again futex::get_robust_list;
    275 splice(fd_in: Fd, off_in: UserPtr<i64>, fd_out: Fd, off_out: UserPtr<i64>, len: usize, flags: Flags as Splice) => again splice::splice;
    276 tee(fd_in: Fd, fd_out: Fd, len: usize, flags: Flags as Splice) => again splice::tee;
    277 sync_file_range(fd: Fd, offset: i64, nbytes: i64, flags: Flags) => now file::io::sync_file_range;
    278 vmsplice(fd: Fd, iov: UserPtr<file::io::IoVec>, nr_segs: usize, flags: Flags as Splice) => again splice::vmsplice;
    279 move_pages(pid: u32, count: usize, pages: UserPtr<u64>, nodes: UserPtr<i32>, status: UserPtr<i32>, flags: Flags) => again numa::move_pages;
    280 utimensat(dirfd: Fd, pathname: UserPath, times: UserPtr<[crate::time::Timespec; 2]> as Timespecs, flags: Flags as At) => again file::attributes::utimensat;
    281 epoll_pwait(epfd: Fd, events: UserPtr<epoll::EpollEvent> as EpollEvents written, maxevents: i32, timeout: i32, sigmask: UserPtr<u64> as Set, sigsetsize: usize) => again epoll::epoll_pwait;
    282 signalfd(fd: Fd, mask: UserPtr<u64> as Set, sizemask: usize) => again signalfd::signalfd;
    283 timerfd_create(clockid: i32 as Clock, flags: Flags as Timerfd) => now timers::timerfd_create;
    284 eventfd(initval: u32) => now eventfd::eventfd;
    285 fallocate(fd: Fd, mode: Flags as Fallocate, offset: i64, len: i64) => again file::attributes::fallocate;
    286 timerfd_settime(fd: Fd, flags: Flags as TimerfdFlags, new_value: UserPtr<timers::IntervalSpec> as IntervalSpec, old_value: UserPtr<timers::IntervalSpec> as IntervalSpec written) => again timers::timerfd_settime;
    287 timerfd_gettime(fd: Fd, curr_value: UserPtr<timers::IntervalSpec> as IntervalSpec written) => again timers::timerfd_gettime;
    288 accept4(sockfd: Fd, addr: UserPtr<u8> as OutAddress written, addrlen: UserPtr<i32> as Int written, flags: Flags as SocketFlags) => again socket::accept4;
    289 signalfd4(fd: Fd, mask: UserPtr<u64> as Set, sizemask: usize, flags: Flags as Signalfd) => again signalfd::signalfd4;
    290 eventfd2(initval: u32, flags: Flags as Eventfd) => now eventfd::eventfd2;
    291 epoll_create1(flags: Flags as EpollCreate) => now epoll::epoll_create1;
    292 dup3(oldfd: Fd, newfd: Fd, flags: Flags as OpenFlags) => now file::descriptors::dup3;
    293 pipe2(pipefd: UserPtr<[i32; 2]> as Pair written, flags: Flags as OpenFlags) => again pipe::pipe2;
    294 inotify_init1(flags: Flags as Inotify) => now inotify::inotify_init1;
    295 preadv(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors written, iovcnt: usize, offset: i64) => again file::io::preadv;
    296 pwritev(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors, iovcnt: usize, offset: i64) => again file::io::pwritev;
    297 rt_tgsigqueueinfo(tgid: u32, tid: u32, sig: SignalNumber, info: UserPtr<crate::signal::SigInfo>) => again signals::rt_tgsigqueueinfo;
    299 recvmmsg(sockfd: Fd, msgvec: UserPtr<socket::MessageOfMany>, vlen: u32, flags: Flags as MessageFlags, timeout: UserPtr<crate::time::Timespec> as Timespec) => again socket::recvmmsg;
    302 prlimit64(pid: u32, resource: u32 as Resource, new_limit: UserPtr<system::UserLimit> as Limit, old_limit: UserPtr<system::UserLimit> as Limit written) => again system::prlimit64;
    305 clock_adjtime(clk_id: i32 as Clock, buf: UserPtr<adjtime::Timex>) => again adjtime::clock_adjtime;
    306 syncfs(fd: Fd) => now file::io::syncfs;
    307 sendmmsg(sockfd: Fd, msgvec: UserPtr<socket::MessageOfMany>, vlen: u32, flags: Flags as MessageFlags) => again socket::sendmmsg;
    308 setns(fd: Fd, nstype: Flags as Clone) => now namespace::setns;
    309 getcpu(cpu: UserPtr<u32>, node: UserPtr<u32>) => again process::getcpu;
    310 process_vm_readv(pid: u32, local_iov: UserPtr<file::io::IoVec>, liovcnt: usize, remote_iov: UserPtr<file::io::IoVec>, riovcnt: usize, flags: u64) => again process_vm::process_vm_readv;
    311 process_vm_writev(pid: u32, local_iov: UserPtr<file::io::IoVec>, liovcnt: usize, remote_iov: UserPtr<file::io::IoVec>, riovcnt: usize, flags: u64) => again process_vm::process_vm_writev;
    312 kcmp(pid1: u32, pid2: u32, type_: i32, idx1: u64, idx2: u64) => again kcmp::kcmp;
    314 sched_setattr(pid: u32, attr: UserPtr<scheduling::Attributes>, flags: Flags) => again scheduling::sched_setattr;
    315 sched_getattr(pid: u32, attr: UserPtr<u8>, size: u32, flags: Flags) => again scheduling::sched_getattr;
    316 renameat2(olddirfd: Fd, oldpath: UserPath, newdirfd: Fd, newpath: UserPath, flags: Flags as Rename) => again file::names::renameat2;
    317 seccomp(operation: u32 as Seccomp, flags: Flags, args: usize as Pointer) => again seccomp::seccomp;
    318 getrandom(buf: OutBytes as Random, buflen: usize, flags: Flags as GetRandom) => again system::getrandom;
    319 memfd_create(name: UserPath, flags: Flags as Memfd) => again file::memfd::memfd_create;
    322 execveat(dirfd: Fd, pathname: UserPath, argv: UserPtr<u64> as Strings, envp: UserPtr<u64> as Environment, flags: Flags as At) => wait process::execveat;
    324 membarrier(cmd: i32 as Membarrier, flags: u32, cpu_id: i32) => now membarrier::membarrier;
    325 mlock2(addr: usize as Pointer, len: usize, flags: Flags) => again memory::mlock2;
    326 copy_file_range(fd_in: Fd, off_in: UserPtr<i64> as Offset, fd_out: Fd, off_out: UserPtr<i64> as Offset, size: usize, flags: Flags) => again file::io::copy_file_range;
    327 preadv2(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors written, iovcnt: usize, offset: i64, upper: u64, flags: Flags) => again file::io::preadv2;
    328 pwritev2(fd: Fd, iov: UserPtr<file::io::IoVec> as InVectors, iovcnt: usize, offset: i64, upper: u64, flags: Flags) => again file::io::pwritev2;
    332 statx(dirfd: Fd, pathname: UserPath, flags: Flags as AtStatx, mask: Flags as StatxMask, statxbuf: UserPtr<file::stat::Statx> as Statx written) => again file::stat::statx;
    333 io_pgetevents(ctx_id: u64, min_nr: i64, nr: i64, events: UserPtr<aio::Told>, timeout: UserPtr<crate::time::Timespec> as Timespec, usig: UserPtr<[u64; 2]>) => again aio::io_pgetevents;
    334 rseq(rseq: usize as Pointer, rseq_len: u32 as Hex, flags: Flags, sig: u32 as Hex) => again rseq::rseq;
    424 pidfd_send_signal(pidfd: Fd, sig: SignalNumber, info: UserPtr<crate::signal::SigInfo>, flags: Flags) => again pidfd::pidfd_send_signal;
    434 pidfd_open(pid: i32, flags: Flags) => now pidfd::pidfd_open;
    435 clone3(cl_args: UserPtr<u8> as Clone3, size: usize) => wait process::clone3;
    436 close_range(first: u32, last: u32, flags: Flags as CloseRange) => now file::descriptors::close_range;
    437 openat2(dirfd: Fd, pathname: UserPath, how: UserPtr<file::open::UserOpenHow>, size: usize) => again file::open::openat2;
    438 pidfd_getfd(pidfd: Fd, targetfd: Fd, flags: Flags) => now pidfd::pidfd_getfd;
    439 faccessat2(dirfd: Fd, pathname: UserPath, mode: Flags as Access, flags: Flags as AtAccess) => again file::stat::faccessat2;
    441 epoll_pwait2(epfd: Fd, events: UserPtr<epoll::EpollEvent> as EpollEvents written, maxevents: i32, timeout: UserPtr<crate::time::Timespec> as Timespec, sigmask: UserPtr<u64> as Set, sigsetsize: usize) => again epoll::epoll_pwait2;
    449 futex_waitv(waiters: UserPtr<futex::UserWord>, nr_futexes: u32, flags: Flags, timeout: UserPtr<crate::time::Timespec> as Timespec, clockid: i32 as Clock) => again futex::futex_waitv;
    452 fchmodat2(dirfd: Fd, pathname: UserPath, mode: Mode, flags: Flags as At) => again file::attributes::fchmodat2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_so_that_a_search_finds_them() {
        assert!(CALLS.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(find(39).map(CallInfo::name), Some("getpid"));
        assert_eq!(find(452).map(CallInfo::name), Some("fchmodat2"));
        assert!(find(100_000).is_none());
    }
}
