//! Arguments of system calls: how each type is taken from a register, and how a trace shows it.

use alloc::string::String;

use isopod_hal::uaccess;

use crate::mm::UserPtr;
use crate::signal::Signal;

/// The most bytes of a string or buffer that a trace shows, as strace's `-s` default.
const SHOWN: usize = 32;

/// A call as a trace sees it after it returned.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The six argument registers.
    pub registers: [u64; 6],
    /// What it returned; a negative number is an error.
    pub result: i64,
}

/// A type that an argument register can hold.
pub trait Argument: Sized {
    /// How a trace shows it.
    const SHOWN: Shown;

    /// Takes the argument from its register. It cannot fail: values that make no sense are the handler's to refuse, in the order of its man page.
    fn from_register(register: u64) -> Self;
}

/// How a trace shows an argument, as strace does. What points to memory is shown only as far as that is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Shown {
    /// There is none.
    Nothing,
    /// As a number of 32 bits.
    I32,
    /// The same, without a sign.
    U32,
    /// As a number of 64 bits.
    I64,
    /// The same, without a sign.
    U64,
    /// See [`Fd`].
    Fd,
    /// See [`Flags`].
    Flags,
    /// See [`Mode`].
    Mode,
    /// See [`SignalNumber`].
    Signal,
    /// See [`UserPtr`].
    Pointer,
    /// See [`UserPath`].
    Path,
    /// See [`InBytes`].
    InBytes,
    /// See [`OutBytes`].
    OutBytes,
}

impl Shown {
    /// Writes the argument, register number `index` of `call`.
    pub fn show(self, call: &Call, index: usize, out: &mut String) {
        let register = call.registers.get(index).copied().unwrap_or(0);
        match self {
            Self::Nothing => {}
            Self::I32 => put!(out, "{}", register as i32),
            Self::U32 => put!(out, "{}", register as u32),
            Self::I64 => put!(out, "{}", register as i64),
            Self::U64 => put!(out, "{register}"),
            Self::Fd => match Fd::from_register(register) {
                Fd::WORKING_DIR => out.push_str("AT_FDCWD"),
                Fd(fd) => put!(out, "{fd}"),
            },
            Self::Flags => put!(out, "{:#x}", register as u32),
            Self::Mode => put!(out, "0{:02o}", register as u32),
            Self::Signal => match u32::try_from(register as i32).ok().and_then(Signal::new) {
                Some(signal) => put!(out, "{signal}"),
                None => put!(out, "{}", register as i32),
            },
            Self::Pointer => show_pointer(register, out),
            Self::Path => show_path(register, out),
            Self::InBytes => {
                let length = call.registers.get(index + 1).copied().unwrap_or(0) as usize;
                show_bytes(register, length, out);
            }
            Self::OutBytes => match usize::try_from(call.result) {
                Ok(length) => show_bytes(register, length, out),
                Err(_) => show_pointer(register, out),
            },
        }
    }
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

/// Flags or a mode, shown in hexadecimal or octal as the parameter says.
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

fn show_pointer(address: u64, out: &mut String) {
    match address {
        0 => out.push_str("NULL"),
        address => put!(out, "{address:#x}"),
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

fn show_path(address: u64, out: &mut String) {
    let mut bytes = [0; 256];
    let present = present_bytes(address, &mut bytes);
    match bytes[..present].iter().position(|&byte| byte == 0) {
        Some(end) => quote(&bytes[..end], end, out),
        None => show_pointer(address, out),
    }
}

fn show_bytes(address: u64, length: usize, out: &mut String) {
    let mut bytes = [0; SHOWN];
    let wanted = length.min(SHOWN);
    if present_bytes(address, &mut bytes[..wanted]) < wanted {
        return show_pointer(address, out);
    }
    quote(&bytes[..wanted], length, out);
}

/// Copies what is present of the program's memory; returns how many bytes.
fn present_bytes(address: u64, into: &mut [u8]) -> usize {
    let length = into.len();
    match uaccess::copy_from_user(into, address as usize) {
        Ok(()) => length,
        Err(at) => at.done,
    }
}

/// Writes bytes as a C string literal, with `...` when there are more than shown.
fn quote(bytes: &[u8], length: usize, out: &mut String) {
    out.push('"');
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0xb => out.push_str("\\v"),
            0xc => out.push_str("\\f"),
            0x20..0x7f => out.push(byte as char),
            // A digit that follows must not be taken for one of these.
            _ if bytes.get(index + 1).is_some_and(u8::is_ascii_digit) => put!(out, "\\{byte:03o}"),
            _ => put!(out, "\\{byte:o}"),
        }
    }
    out.push('"');
    if length > bytes.len() {
        out.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_so_that_they_can_be_read_back() {
        let quoted = |bytes: &[u8]| {
            let mut out = String::new();
            quote(bytes, bytes.len(), &mut out);
            out
        };
        assert_eq!(quoted(b"\x011a\n"), r#""\0011a\n""#);
        assert_eq!(quoted(b"\x01a\xff"), r#""\1a\377""#);
        assert_eq!(quoted(b"\t\x0b\"\\"), r#""\t\v\"\\""#);
    }

    #[test]
    fn modes_are_octal_as_in_c() {
        let call = Call { registers: [0o644, 0, 0o4755, 0, 0, 0], result: 0 };
        let shown = [0, 1, 2].map(|index| {
            let mut out = String::new();
            Shown::Mode.show(&call, index, &mut out);
            out
        });
        assert_eq!(shown, ["0644", "000", "04755"]);
    }
}
