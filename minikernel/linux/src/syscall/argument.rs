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
    /// Takes the argument from its register. It cannot fail: values that make no sense are the handler's to refuse, in the order of its man page.
    fn from_register(register: u64) -> Self;

    /// Writes the argument, register number `index` of `call`, as strace shows it. What points to memory is shown only as far as that is present.
    fn show(call: &Call, index: usize, out: &mut String);
}

/// Writing to a `String` cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{
        let _ = core::fmt::Write::write_fmt($out, format_args!($($format)*));
    }};
}
pub(crate) use put;

macro_rules! plain {
    ($($type:ty => $format:literal),* $(,)?) => {$(
        impl Argument for $type {
            fn from_register(register: u64) -> Self {
                register as Self
            }

            fn show(call: &Call, index: usize, out: &mut String) {
                put!(out, $format, call.registers[index] as Self);
            }
        }
    )*};
}

plain! {
    i32 => "{}",
    u32 => "{}",
    i64 => "{}",
    u64 => "{}",
    usize => "{}",
}

/// A file descriptor, or `AT_FDCWD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Fd {
    /// The working directory, where a directory's descriptor is expected (`openat(2)`).
    pub const WORKING_DIR: Self = Self(-100);
}

impl Argument for Fd {
    fn from_register(register: u64) -> Self {
        Self(register as i32)
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        match Self::from_register(call.registers[index]) {
            Self::WORKING_DIR => out.push_str("AT_FDCWD"),
            Self(fd) => put!(out, "{fd}"),
        }
    }
}

/// Flags or a mode, shown in hexadecimal or octal as the parameter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Argument for Flags {
    fn from_register(register: u64) -> Self {
        Self(register as u32)
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        put!(out, "{:#x}", call.registers[index] as u32);
    }
}

/// Permission bits and file type, shown in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Argument for Mode {
    fn from_register(register: u64) -> Self {
        Self(register as u32)
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        put!(out, "{:#03o}", call.registers[index] as u32);
    }
}

/// A signal number, or 0 where a call allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalNumber(pub i32);

impl Argument for SignalNumber {
    fn from_register(register: u64) -> Self {
        Self(register as i32)
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        let number = call.registers[index] as i32;
        match u32::try_from(number).ok().and_then(Signal::new) {
            Some(signal) => put!(out, "{signal}"),
            None => put!(out, "{number}"),
        }
    }
}

impl<T> Argument for UserPtr<T> {
    fn from_register(register: u64) -> Self {
        Self::new(register as usize)
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        show_pointer(call.registers[index], out);
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
    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        let address = call.registers[index];
        let mut bytes = [0; 256];
        let present = present_bytes(address, &mut bytes);
        match bytes[..present].iter().position(|&byte| byte == 0) {
            Some(end) => quote(&bytes[..end], end, out),
            None => show_pointer(address, out),
        }
    }
}

/// The address of bytes that the program passes in; the next argument is their number.
#[derive(Debug, Clone, Copy)]
pub struct InBytes(pub UserPtr<u8>);

impl Argument for InBytes {
    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        let length = call.registers.get(index + 1).copied().unwrap_or(0) as usize;
        show_bytes(call.registers[index], length, out);
    }
}

/// The address of a buffer that the call fills; its result is how far.
#[derive(Debug, Clone, Copy)]
pub struct OutBytes(pub UserPtr<u8>);

impl Argument for OutBytes {
    fn from_register(register: u64) -> Self {
        Self(UserPtr::from_register(register))
    }

    fn show(call: &Call, index: usize, out: &mut String) {
        match usize::try_from(call.result) {
            Ok(length) => show_bytes(call.registers[index], length, out),
            Err(_) => show_pointer(call.registers[index], out),
        }
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
    for &byte in bytes.iter().take(SHOWN.max(bytes.len().min(256))) {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0x20..0x7f => out.push(byte as char),
            _ => put!(out, "\\{byte:o}"),
        }
    }
    out.push('"');
    if length > bytes.len() {
        out.push_str("...");
    }
}
