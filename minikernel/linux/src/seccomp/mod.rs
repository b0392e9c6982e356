//! Filters of system calls: seccomp(2).
//!
//! A thread has no filters, is in strict mode, or has a chain of [`Filter`]s that only grows. A call of a thread without any costs nothing:
//! [`crate::syscall`] looks at one flag, which it has looked at before. Their programs are [`crate::bpf`]'s.

mod call;
mod filter;

use alloc::sync::Arc;

pub use call::CallData;
pub use filter::{Filter, Verdict};

/// What becomes of a thread's calls.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    /// All may be made.
    #[default]
    Disabled,
    /// Only read, write, exit and sigreturn.
    Strict,
    /// The filters decide.
    Filter(Arc<Filter>),
}

impl Mode {
    /// As prctl(2) and proc(5) number it.
    pub fn number(&self) -> u32 {
        match self {
            Self::Disabled => 0,
            Self::Strict => 1,
            Self::Filter(_) => 2,
        }
    }

    /// The filters, if there are any.
    pub fn filters(&self) -> Option<&Arc<Filter>> {
        match self {
            Self::Filter(filter) => Some(filter),
            _ => None,
        }
    }
}

/// What a filter returns, without its data; a smaller number, as a signed one, takes precedence.
pub mod action {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const USER_NOTIF: u32 = 0x7fc0_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The bits of the action; the others are its data.
    pub const FULL: u32 = 0xffff_0000;
}
