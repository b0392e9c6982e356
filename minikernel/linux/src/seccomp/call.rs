//! What filters know of a call.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bpf::{Subject, Use};

/// `struct seccomp_data`: what a filter knows of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CallData {
    /// Its number.
    pub number: i32,
    /// `AUDIT_ARCH_X86_64`
    pub arch: u32,
    /// Where the program goes on.
    pub instruction_pointer: u64,
    /// The registers of the arguments.
    pub arguments: [u64; 6],
}

impl CallData {
    /// `AUDIT_ARCH_X86_64`
    pub const ARCH: u32 = 0xc000_003e;

    /// What programs that look at this are for.
    pub const USE: Use = Use::Calls(size_of::<Self>() as u32);
}

impl Subject for CallData {
    fn load(&self, place: u32, _: usize) -> Option<u32> {
        self.as_bytes().get(place as usize..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    fn length(&self) -> u32 {
        size_of::<Self>() as u32
    }
}
