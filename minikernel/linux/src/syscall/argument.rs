//! Arguments of system calls: how each type is taken from a register.

use super::print::Shown;
use crate::mm::UserPtr;

/// A type that an argument register can hold.
pub trait Argument: Sized {
    /// How a trace shows it.
    const SHOWN: Shown;

    /// Takes the argument from its register. It cannot fail: values that make no sense are the handler's to refuse, in the order of its man page.
    fn from_register(register: u64) -> Self;
}

/// Writing to a `String` cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{
        let _ = core::fmt::Write::write_fmt($out, format_args!($($format)*));
    }};
}
pub(crate) use put;

macro_rules! plain {
    ($($type:ty => $shown:ident),* $(,)?) => {$(
        impl Argument for $type {
            const SHOWN: Shown = Shown::$shown;

            fn from_register(register: u64) -> Self {
                register as Self
            }
        }
    )*};
}

plain! {
    i32 => I32,
    u32 => U32,
    i64 => I64,
    u64 => U64,
    usize => U64,
}

/// A file descriptor, or `AT_FDCWD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Fd {
    /// The working directory, where a directory's descriptor is expected (`openat(2)`).
    pub const WORKING_DIR: Self = Self(-100);
}

impl Argument for Fd {
    const SHOWN: Shown = Shown::Fd;

    fn from_register(register: u64) -> Self {
        Self(register as i32)
    }
}

/// Flags, shown in hexadecimal, or by name where the table says whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Argument for Flags {
    const SHOWN: Shown = Shown::Flags;

    fn from_register(register: u64) -> Self {
        Self(register as u32)
    }
}

/// Permission bits and file type, shown in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Argument for Mode {
    const SHOWN: Shown = Shown::Mode;

    fn from_register(register: u64) -> Self {
        Self(register as u32)
    }
}

/// A signal number, or 0 where a call allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalNumber(pub i32);

impl Argument for SignalNumber {
    const SHOWN: Shown = Shown::Signal;

    fn from_register(register: u64) -> Self {
        Self(register as i32)
    }
}

impl<T> Argument for UserPtr<T> {
    const SHOWN: Shown = Shown::Pointer;

    fn from_register(register: u64) -> Self {
        Self::new(register as usize)
    }
}

/// The address of a NUL-terminated string: a path or a name.
#[derive(Debug, Clone, Copy)]
pub struct UserPath(pub UserPtr<u8>);

impl Argument for UserPath {
    const SHOWN: Shown = Shown::Path;

    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }
}

/// The address of bytes that the program passes in; the next argument is their number.
#[derive(Debug, Clone, Copy)]
pub struct InBytes(pub UserPtr<u8>);

impl Argument for InBytes {
    const SHOWN: Shown = Shown::InBytes;

    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }
}

/// The address of a buffer that the call fills; its result is how far.
#[derive(Debug, Clone, Copy)]
pub struct OutBytes(pub UserPtr<u8>);

impl Argument for OutBytes {
    const SHOWN: Shown = Shown::OutBytes;

    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }
}
