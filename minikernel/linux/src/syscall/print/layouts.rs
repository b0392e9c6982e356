//! What is printed of arguments, as text that [`Printer`](super::printer::Printer) reads when it prints: tables of structures would take many
//! times the bytes of the kernel, and nobody waits for this.
//!
//! A layout that begins with `=` names values ([`names`](super::names)). Else its first character says where the value lies:
//!
//! | | |
//! |---|---|
//! | `*` | behind the address that the argument is |
//! | `#STRIDE COUNT` | behind it are so many of them, in brackets |
//! | `"COUNT` | behind it are so many bytes; `"x` prints all of them in hexadecimal |
//! | `?WHICH&MASK 1,2=Name *=Name` | another layout, by a number; `-` for none, `>Name` for what the call writes |
//!
//! COUNT is a number, `r` (the result), `n` (the next argument), `aN` (argument N) or `oN` (the word N bytes into the outer structure); behind
//! `?N` of a list only those are printed whose half-word at N is not 0. WHICH is `-` (the argument before), N (argument N) or `.` (this one).
//!
//! In what follows, `%` begins a value: bytes into the structure or `$` and the number of another argument; then `&` if it is an address to
//! go on behind; then a letter, and the name of a layout in parentheses. `<WHERE&MASK=VALUE:text>` is printed if so, with `!` for `=` if not so;
//! WHERE is as behind `%`, or `.`.
//!
//! | | | | |
//! |---|---|---|---|
//! | `d` `D` | signed, of 4 and 8 bytes | `u` `U` `h` | unsigned, of 4, 8 and 2 bytes |
//! | `x` `X` | hexadecimal, of 4 and 8 bytes | `o` `m` | octal; a mode with its type of file |
//! | `p` | an address | `f` | a descriptor |
//! | `s` `c` | a string behind an address; one here | `q` | bytes behind an address, whose number follows it |
//! | `S` `T` | a signal; a set of them | `k` | flags of clone(2) with a signal |
//! | `V` `E` | arguments of a program; its environment | `W` | a status of wait(2) |
//! | `a` `A` `M` | a socket's address: its length is the next argument, behind it, or 8 bytes on | `l` | a limit |
//! | `F` `K` | set bits: of select(2), of a result of so many bytes | `v` `N` | a device; entries of a folder |

macro_rules! layouts {
    ($($name:ident = $text:literal,)*) => {
        /// How an argument of a call is printed: a line of [`TEXT`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Shown {
            $($name),*
        }

        /// The layouts, each in a line behind its name.
        const TEXT: &str = concat!($(stringify!($name), " ", $text, "\n"),*);
    };
}

/// Those that only others name.
const PARTS: &str = "Handler =SIG_: DFL IGN
ActionFlags =SA_: |0 26 RESTORER ONSTACK RESTART 30 NODEFER RESETHAND 0 NOCLDSTOP NOCLDWAIT SIGINFO
StackFlags =SS_: |0 ONSTACK DISABLE
StatusWord *[{%W}]
AtAsStat =AT_: |8 *0 STATX_SYNC_AS_STAT SYMLINK_NOFOLLOW 11 NO_AUTOMOUNT EMPTY_PATH
FdFlags =: |0 FD_CLOEXEC
GotFd %x<.!0: (flags %x(FdFlags))>
GotOpen %x (flags %x(Open))
Lock *{l_type=%h(LockKind), l_whence=%2h(Whence), l_start=%8D, l_len=%16D}
LockKind =F_: RDLCK WRLCK UNLCK
WindowSize *{ws_row=%h, ws_col=%2h, ws_xpixel=%4h, ws_ypixel=%6h}
Poll =POLL: |0 IN PRI OUT ERR HUP NVAL RDNORM RDBAND WRNORM WRBAND MSG 13 RDHUP
Timeout 0 (Timeout)
Ready %d (%$0(Returned))
Returned #8 a1?6 {fd=%d, revents=%6h(Poll)}
Epoll =EPOLL: |0 IN PRI OUT ERR HUP 6 RDNORM RDBAND WRNORM WRBAND MSG 13 RDHUP 28 EXCLUSIVE WAKEUP ONESHOT ET
EpollEvent *{events=%x(Epoll), data={u32=%4u, u64=%4U}}
InternetProtocol =IPPROTO_: IP ICMP 6 TCP 17 UDP 58 ICMPV6 255 RAW
NetlinkProtocol =NETLINK_: ROUTE 4 SOCK_DIAG 15 KOBJECT_UEVENT GENERIC
MessageVectors #16 o24 {iov_base=%q, iov_len=%8U}
SocketOption =SO_: - DEBUG REUSEADDR TYPE ERROR DONTROUTE BROADCAST SNDBUF RCVBUF KEEPALIVE OOBINLINE NO_CHECK PRIORITY LINGER BSDCOMPAT REUSEPORT PASSCRED PEERCRED RCVLOWAT SNDLOWAT RCVTIMEO_OLD SNDTIMEO_OLD 25 BINDTODEVICE ATTACH_FILTER DETACH_FILTER PEERNAME TIMESTAMP_OLD ACCEPTCONN PEERSEC SNDBUFFORCE RCVBUFFORCE PASSSEC 36 MARK 38 PROTOCOL DOMAIN
TcpOption =TCP_: - NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL KEEPCNT SYNCNT LINGER2 DEFER_ACCEPT WINDOW_CLAMP INFO QUICKACK CONGESTION 18 USER_TIMEOUT 23 FASTOPEN
IpOption =IP_: - TOS TTL HDRINCL OPTIONS 8 PKTINFO PKTOPTIONS MTU_DISCOVER RECVERR RECVTTL RECVTOS MTU FREEBIND 24 BIND_ADDRESS_NO_PORT 32 MULTICAST_IF MULTICAST_TTL MULTICAST_LOOP ADD_MEMBERSHIP DROP_MEMBERSHIP
Ipv6Option =IPV6_: 16 UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS MULTICAST_LOOP ADD_MEMBERSHIP DROP_MEMBERSHIP 23 MTU_DISCOVER MTU RECVERR V6ONLY 49 RECVPKTINFO PKTINFO RECVHOPLIMIT HOPLIMIT 66 RECVTCLASS TCLASS
FutexBits =FUTEX_BITSET_: |0 *ffffffff MATCH_ANY
";

/// Results that are more than a number, by the name of the call.
const RESULTS: &str = "brk %p
mmap %p
mremap %p
shmat %p
umask %o
fcntl ?1 1=GotFd 3=GotOpen *=I64
poll ?. 0=Timeout *=Ready
ppoll ?. 0=Timeout *=Ready
select ?. 0=Timeout *=I64
pselect6 ?. 0=Timeout *=I64
";

layouts! {
    Nothing = "",
    I32 = "%d",
    U32 = "%u",
    I64 = "%D",
    U64 = "%U",
    Fd = "%f",
    Flags = "%x",
    Hex = "%X",
    Mode = "%o",
    FileMode = "%m",
    OpenMode = "?-&4194368 0=- *=Mode",
    Signal = "%S",
    Pointer = "%p",
    Path = "%s",
    InBytes = "\"n",
    OutBytes = "\"r",
    Random = "\"xr",
    Strings = "%V",
    Environment = "%E",
    Entries = "%N",
    Int = "*[%d]",
    Pair = "*[%d, %4d]",
    Offset = "*[%D]",
    Timespec = "*{tv_sec=%D, tv_nsec=%8D}",
    Timespecs = "*[%(Timespec), %16(Timespec)]",
    Timeval = "*{tv_sec=%D, tv_usec=%8D}",
    Timevals = "*[%(Timeval), %16(Timeval)]",
    IntervalSpec = "*{it_interval=%(Timespec), it_value=%16(Timespec)}",
    IntervalValue = "*{it_interval=%(Timeval), it_value=%16(Timeval)}",
    Stat = "*{st_mode=%24m, <24&45056!8192:st_size=%48D><24&45056=8192:st_rdev=%40v>, ...}",
    Statx = "*{stx_mask=%x(StatxMask), stx_attributes=%8X, stx_mode=%28m, stx_size=%40U, ...}",
    Limit = "*{rlim_cur=%l, rlim_max=%8l}",
    Usage = "*{ru_utime=%(Timeval), ru_stime=%16(Timeval), ...}",
    Uname = "*{sysname=%c, nodename=%65c, ...}",
    SysInfo = "*{uptime=%D, loads=[%8U, %16U, %24U], totalram=%32U, freeram=%40U, sharedram=%48U, bufferram=%56U, totalswap=%64U, freeswap=%72U, procs=%80h, totalhigh=%88U, freehigh=%96U, mem_unit=%104u}",
    Set = "*%T",
    Action = "*{sa_handler=%p(Handler), sa_mask=%24T, sa_flags=%8x(ActionFlags)<8&67108864!0:, sa_restorer=%16p>}",
    Frame = "*{mask=%296T}",
    Stack = "*{ss_sp=%p, ss_flags=%8x(StackFlags), ss_size=%16U}",
    MaskHow = "=SIG_: BLOCK UNBLOCK SETMASK",
    Status = "?r 0=Pointer *=StatusWord",
    WaitFlags = "=W: |0 NOHANG STOPPED EXITED CONTINUED 24 NOWAIT 29 !__WNOTHREAD !__WALL !__WCLONE",
    WaitKind = "=P_: ALL PID PGID PIDFD",
    Prot = "=PROT_: NONE |0 READ WRITE EXEC SEM 24 GROWSDOWN GROWSUP",
    Map = "=MAP_: - SHARED PRIVATE SHARED_VALIDATE |4 FIXED ANONYMOUS 32BIT 8 GROWSDOWN 11 DENYWRITE EXECUTABLE LOCKED NORESERVE POPULATE NONBLOCK STACK HUGETLB SYNC FIXED_NOREPLACE",
    Remap = "=MREMAP_: |0 MAYMOVE FIXED DONTUNMAP",
    Sync = "=MS_: |0 ASYNC INVALIDATE SYNC",
    Advice = "=MADV_: NORMAL RANDOM SEQUENTIAL WILLNEED DONTNEED 8 FREE REMOVE DONTFORK DOFORK MERGEABLE UNMERGEABLE HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP WIPEONFORK KEEPONFORK COLD PAGEOUT POPULATE_READ POPULATE_WRITE",
    LockAll = "=MCL_: |0 CURRENT FUTURE ONFAULT",
    Open = "=O_: RDONLY WRONLY RDWR ACCMODE |2 6 CREAT EXCL NOCTTY TRUNC APPEND NONBLOCK *101000 SYNC DSYNC !FASYNC DIRECT LARGEFILE *410000 TMPFILE DIRECTORY NOFOLLOW NOATIME CLOEXEC - PATH",
    OpenFlags = "=O_: |0 11 NONBLOCK 14 DIRECT 19 CLOEXEC",
    At = "=AT_: |8 SYMLINK_NOFOLLOW REMOVEDIR SYMLINK_FOLLOW NO_AUTOMOUNT EMPTY_PATH STATX_FORCE_SYNC STATX_DONT_SYNC",
    AtAccess = "=AT_: |8 SYMLINK_NOFOLLOW EACCESS 12 EMPTY_PATH",
    AtStatx = "?.&24576 0=AtAsStat *=At",
    StatxMask = "=STATX_: |0 *fff ALL *7ff BASIC_STATS TYPE MODE NLINK UID GID ATIME MTIME CTIME INO SIZE BLOCKS BTIME MNT_ID DIOALIGN",
    Access = "=: F_OK |0 *4 R_OK *2 W_OK *1 X_OK",
    Whence = "=SEEK_: SET CUR END DATA HOLE",
    FcntlOp = "=F_: DUPFD GETFD SETFD GETFL SETFL GETLK SETLK SETLKW SETOWN GETOWN SETSIG GETSIG 15 SETOWN_EX GETOWN_EX 36 OFD_GETLK OFD_SETLK OFD_SETLKW 1024 SETLEASE GETLEASE NOTIFY 1030 DUPFD_CLOEXEC SETPIPE_SZ GETPIPE_SZ ADD_SEALS GET_SEALS",
    FcntlArgument = "?- 1,3,9,11,1025,1032,1034=- 2=FdFlags 4=Open 5,36=>Lock 6,7,37,38=Lock 10=Signal *=I64",
    FileLock = "=LOCK_: |0 SH EX NB UN",
    Fallocate = "=FALLOC_FL_: |0 KEEP_SIZE PUNCH_HOLE - COLLAPSE_RANGE ZERO_RANGE INSERT_RANGE UNSHARE_RANGE",
    Fadvise = "=POSIX_FADV_: NORMAL RANDOM SEQUENTIAL WILLNEED DONTNEED NOREUSE",
    Rename = "=RENAME_: |0 NOREPLACE EXCHANGE WHITEOUT",
    CloseRange = "=CLOSE_RANGE_: |1 UNSHARE CLOEXEC",
    Splice = "=SPLICE_F_: |0 MOVE NONBLOCK MORE GIFT",
    Mount = "=MS_: |0 RDONLY NOSUID NODEV NOEXEC SYNCHRONOUS REMOUNT MANDLOCK DIRSYNC NOSYMFOLLOW - NOATIME NODIRATIME BIND MOVE REC SILENT POSIXACL UNBINDABLE PRIVATE SLAVE SHARED RELATIME 24 STRICTATIME LAZYTIME",
    Unmount = "=MNT_: |0 FORCE DETACH EXPIRE !UMOUNT_NOFOLLOW",
    Memfd = "=MFD_: |0 CLOEXEC ALLOW_SEALING HUGETLB",
    Eventfd = "=EFD_: |0 SEMAPHORE *80000 CLOEXEC *800 NONBLOCK",
    Signalfd = "=SFD_: |0 *80000 CLOEXEC *800 NONBLOCK",
    Timerfd = "=TFD_: |0 *80000 CLOEXEC *800 NONBLOCK",
    Inotify = "=IN_: |0 *80000 CLOEXEC *800 NONBLOCK",
    InotifyMask = "=IN_: |0 ACCESS MODIFY ATTRIB CLOSE_WRITE CLOSE_NOWRITE OPEN MOVED_FROM MOVED_TO CREATE DELETE DELETE_SELF MOVE_SELF 13 UNMOUNT Q_OVERFLOW IGNORED 24 ONLYDIR DONT_FOLLOW EXCL_UNLINK 28 MASK_CREATE MASK_ADD ISDIR ONESHOT",
    InVectors = "#16 a2 {iov_base=%q, iov_len=%8U}",
    Clone = "=CLONE_: |8 VM FS FILES SIGHAND PIDFD PTRACE VFORK PARENT THREAD NEWNS SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID DETACHED UNTRACED CHILD_SETTID NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET IO CLEAR_SIGHAND INTO_CGROUP",
    // In an order of its own: the stack first, and of the rest what the flags ask for.
    CloneAll = "child_stack=%$1p, flags=%$0k<$0&1048576!0:, parent_tid=%$2p><$0&524288!0:, tls=%$4p><$0&18874368!0:, child_tidptr=%$3p>",
    Clone3 = "*{flags=%U(Clone)<0&4096!0:, pidfd=%8p><0&18874368!0:, child_tid=%16p><0&1048576!0:, parent_tid=%24p>, exit_signal=%32S, stack=%40p, stack_size=%48X<0&524288!0:, tls=%56p>}",
    ArchCode = "=ARCH_: 4097 SET_GS SET_FS GET_FS GET_GS 4113 GET_CPUID SET_CPUID",
    Prctl = "=PR_: - SET_PDEATHSIG GET_PDEATHSIG GET_DUMPABLE SET_DUMPABLE 7 GET_KEEPCAPS SET_KEEPCAPS 15 SET_NAME GET_NAME 21 GET_SECCOMP SET_SECCOMP CAPBSET_READ CAPBSET_DROP 27 GET_SECUREBITS SET_SECUREBITS SET_TIMERSLACK GET_TIMERSLACK 35 SET_MM SET_CHILD_SUBREAPER GET_CHILD_SUBREAPER SET_NO_NEW_PRIVS GET_NO_NEW_PRIVS 47 CAP_AMBIENT 1398164801 SET_VMA",
    PrctlFirst = "?0 3,7,21,27,30=- 1=Signal 15=Path 16=>Path 2,37=>Int 4,8,24,29,36,38,39=U64 *=Hex",
    PrctlRest = "?0 38,39=U64 22,35,47,1398164801=Hex *=-",
    Policy = "=SCHED_: OTHER FIFO RR BATCH - IDLE DEADLINE",
    Priority = "=PRIO_: PROCESS PGRP USER",
    Resource = "=RLIMIT_: CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME",
    Who = "=RUSAGE_: SELF THREAD 4294967295 CHILDREN",
    GetRandom = "=GRND_: |0 NONBLOCK RANDOM INSECURE",
    Clock = "=CLOCK_: REALTIME MONOTONIC PROCESS_CPUTIME_ID THREAD_CPUTIME_ID MONOTONIC_RAW REALTIME_COARSE MONOTONIC_COARSE BOOTTIME REALTIME_ALARM BOOTTIME_ALARM 11 TAI",
    TimerFlags = "=TIMER_: |0 ABSTIME",
    TimerfdFlags = "=TFD_TIMER_: |0 ABSTIME CANCEL_ON_SET",
    IntervalKind = "=ITIMER_: REAL VIRTUAL PROF",
    Futex = "=FUTEX_: WAIT WAKE FD REQUEUE CMP_REQUEUE WAKE_OP LOCK_PI UNLOCK_PI TRYLOCK_PI WAIT_BITSET WAKE_BITSET WAIT_REQUEUE_PI CMP_REQUEUE_PI LOCK_PI2 |7 +_PRIVATE CLOCK_REALTIME",
    FutexValue = "?1&127 6,7,8,13=- *=U32",
    FutexTime = "?1&127 0,6,9,11,13=Timespec 3,4,5,12=U32 *=-",
    FutexOther = "?1&127 3,4,5,11,12=Pointer *=-",
    FutexLast = "?1&127 9,10=FutexBits 4,5,12=Flags *=-",
    Membarrier = "=MEMBARRIER_CMD_: QUERY |0 GLOBAL GLOBAL_EXPEDITED REGISTER_GLOBAL_EXPEDITED PRIVATE_EXPEDITED REGISTER_PRIVATE_EXPEDITED PRIVATE_EXPEDITED_SYNC_CORE REGISTER_PRIVATE_EXPEDITED_SYNC_CORE",
    CpuSet = "%K",
    Seccomp = "=SECCOMP_: SET_MODE_STRICT SET_MODE_FILTER GET_ACTION_AVAIL GET_NOTIF_SIZES",
    Ptrace = "=PTRACE_: TRACEME PEEKTEXT PEEKDATA PEEKUSER POKETEXT POKEDATA POKEUSER CONT KILL SINGLESTEP 12 GETREGS SETREGS GETFPREGS SETFPREGS ATTACH DETACH 24 SYSCALL 16896 SETOPTIONS GETEVENTMSG GETSIGINFO SETSIGINFO GETREGSET SETREGSET SEIZE INTERRUPT LISTEN PEEKSIGINFO GETSIGMASK SETSIGMASK 16910 GET_SYSCALL_INFO",
    Ioctl = "=: 21505 TCGETS TCSETS TCSETSW TCSETSF 21518 TIOCSCTTY TIOCGPGRP TIOCSPGRP 21523 TIOCGWINSZ TIOCSWINSZ 21531 FIONREAD 21537 FIONBIO 21538 TIOCNOTTY 21584 FIONCLEX FIOCLEX 35090 SIOCGIFCONF SIOCGIFFLAGS 35093 SIOCGIFADDR 35123 SIOCGIFINDEX 2147767344 TIOCGPTN 1074025521 TIOCSPTLCK",
    IoctlArgument = "?- 21584,21585=- 21519,21531,2147767344=>Int 21520,21537,1074025521=Int 21523=>WindowSize 21524=WindowSize *=Hex",
    Sets = "%F",
    PollFds = "#8 a1 {fd=%d, events=%4h(Poll)}",
    EpollCreate = "=EPOLL_: |19 CLOEXEC",
    EpollOp = "=EPOLL_CTL_: - ADD DEL MOD",
    EpollArgument = "?1 2=Pointer *=EpollEvent",
    EpollEvents = "#12 r %(EpollEvent)",
    Domain = "=AF_: UNSPEC UNIX INET 10 INET6 16 NETLINK PACKET 40 VSOCK",
    SocketKind = "=SOCK_: - STREAM DGRAM RAW RDM SEQPACKET |4 *80000 CLOEXEC *800 NONBLOCK",
    SocketFlags = "=SOCK_: |4 *80000 CLOEXEC *800 NONBLOCK",
    Protocol = "?0 2,10=InternetProtocol 16=NetlinkProtocol *=I32",
    Address = "%a",
    OutAddress = "%A",
    Message = "*{msg_name=%M, msg_namelen=%8u, msg_iov=%16(MessageVectors), msg_iovlen=%24U<40!0:, msg_control=%32p>, msg_controllen=%40U, msg_flags=%48x(MessageFlags)}",
    MessageFlags = "=MSG_: |0 OOB PEEK DONTROUTE CTRUNC PROBE TRUNC DONTWAIT EOR WAITALL FIN SYN CONFIRM RST ERRQUEUE NOSIGNAL MORE WAITFORONE 29 FASTOPEN CMSG_CLOEXEC",
    Shutdown = "=SHUT_: RD WR RDWR",
    Level = "=SOL_: IP SOCKET 6 TCP 17 UDP 41 IPV6 255 RAW 263 PACKET 270 NETLINK",
    Option = "?1 1=SocketOption 6=TcpOption 0=IpOption 41=Ipv6Option *=U32",
    OptionValue = "?4 4=Int *=Pointer",
}

impl Shown {
    /// Stands before a kind whose argument the call writes: it is printed when the call has returned.
    pub const WRITTEN: u8 = 0x80;

    /// As a byte of the table of calls.
    pub const fn code(self, written: bool) -> u8 {
        let written = written || matches!(self, Self::OutBytes | Self::Random | Self::Entries);
        assert!((self as u8) < Self::WRITTEN, "a bit is left");
        self as u8 | if written { Self::WRITTEN } else { 0 }
    }
}

/// The layout that a byte of the table of calls stands for.
pub fn of_code(code: u8) -> &'static str {
    let line = TEXT.lines().nth((code & !Shown::WRITTEN).into());
    line.and_then(|line| line.split_once(' ')).map_or("", |(_, text)| text)
}

fn find(text: &'static str, name: &str) -> Option<&'static str> {
    text.lines().find_map(|line| line.split_once(' ').filter(|(own, _)| *own == name)).map(|(_, text)| text)
}

/// The layout of this name.
pub fn named(name: &str) -> &'static str {
    find(TEXT, name).or_else(|| find(PARTS, name)).unwrap_or_default()
}

/// How the result of the call of this name is printed, if it is no plain number.
pub fn of_result(call: &str) -> Option<&'static str> {
    find(RESULTS, call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_in_a_layout_is_there() {
        for line in TEXT.lines().chain(PARTS.lines()).chain(RESULTS.lines()) {
            let (_, text) = line.split_once(' ').unwrap();
            let choices = text.strip_prefix('?').into_iter().flat_map(|rest| rest.split(' ').skip(1));
            for choice in choices {
                let name = choice.split_once('=').unwrap().1.trim_start_matches('>');
                assert!(name == "-" || !named(name).is_empty(), "{line}");
            }
            let inner = text.split('(').skip(1).filter(|_| text.contains('%'));
            for name in inner.filter_map(|rest| rest.split_once(')')).map(|(name, _)| name) {
                assert!(name.contains(['%', ' ']) || !named(name).is_empty(), "{line}: {name}");
            }
        }
    }
}
