//! System calls without the C library, and the names of their errors.

use std::arch::asm;
use std::ffi::CStr;
use std::fmt;

/// An error as the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Names by number; Linux leaves 41 and 58 free.
#[rustfmt::skip]
const NAMES: [&str; 134] = [
    "", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR",
    "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS",
    "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY",
    "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH",
    "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC", "EBADSLT", "", "EBFONT", "ENOSTR",
    "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV", "ESRMNT", "ECOMM",
    "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG", "ELIBACC",
    "ELIBBAD", "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK",
    "EDESTADDRREQ", "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT",
    "EOPNOTSUPP", "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH",
    "ENETRESET", "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN",
    "ETOOMANYREFS", "ETIMEDOUT", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS",
    "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL", "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE",
    "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED", "EOWNERDEAD", "ENOTRECOVERABLE",
    "ERFKILL", "EHWPOISON",
];

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0 as usize) {
            Some(&name) if !name.is_empty() => f.write_str(name),
            _ => write!(f, "error {}", self.0),
        }
    }
}

/// What can stand in a register as an argument of a system call.
pub trait Word {
    /// The register's value.
    fn word(self) -> usize;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Word for $number {
            fn word(self) -> usize {
                self as usize
            }
        }
    )*};
}
// Signed numbers are sign-extended, as a C caller's `long` would be.
numbers!(i32, u32, i64, u64, usize, isize);

impl Word for &CStr {
    fn word(self) -> usize {
        self.as_ptr() as usize
    }
}

impl<T: ?Sized> Word for *const T {
    fn word(self) -> usize {
        self.cast::<u8>() as usize
    }
}

impl<T: ?Sized> Word for *mut T {
    fn word(self) -> usize {
        self.cast::<u8>() as usize
    }
}

impl<T> Word for &T {
    fn word(self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl<T> Word for &mut T {
    fn word(self) -> usize {
        std::ptr::from_mut(self) as usize
    }
}

/// Makes one system call. Cases pass wrong numbers and pointers on purpose; what they pass as a buffer lives longer
/// than the call.
pub fn call(number: i64, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    // SAFETY: the kernel preserves all registers but rax, rcx and r11. What it writes through pointers is what the
    // case asked for; the clobbered memory is declared by leaving `nomem` out.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") first, in("rsi") second, in("rdx") third, in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result.cast_unsigned()) }
}

/// The six words of a call, those not given being 0.
pub fn pad(given: &[usize]) -> [usize; 6] {
    let mut words = [0; 6];
    words[..given.len()].copy_from_slice(given);
    words
}

/// `sys!(SYS_name, arguments..)` makes the system call of that name.
macro_rules! sys {
    ($name:ident $(, $argument:expr)* $(,)?) => {
        $crate::sys::call(libc::$name, $crate::sys::pad(&[$($crate::sys::Word::word($argument)),*]))
    };
}

/// Structures of the kernel's interface that consist of numbers and null pointers when all bytes are zero.
///
/// # Safety
/// All bytes zero are a valid value.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: a C structure of numbers and raw pointers.
        unsafe impl Plain for $type {}
    )*};
}
plain!(
    libc::stat,
    libc::statx,
    libc::statfs,
    libc::timespec,
    libc::timeval,
    libc::itimerspec,
    libc::itimerval,
    libc::rlimit,
    libc::rusage,
    libc::sysinfo,
    libc::utsname,
    libc::tms,
    libc::flock,
    libc::epoll_event,
    libc::sigevent,
    libc::stack_t,
    libc::siginfo_t,
    libc::winsize,
    libc::termios,
    libc::sockaddr_un,
    libc::iovec,
    libc::msghdr,
    libc::mmsghdr,
    libc::ucred,
);

/// A value with all bytes zero, for structures that the kernel fills.
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` types are valid with all bytes zero.
    unsafe { std::mem::zeroed() }
}
