//! I/O ports.

use core::{fmt, marker::PhantomData};

use crate::machine;

/// A width of port access.
pub trait PortWord: Copy + sealed::Word {}

mod sealed {
    pub trait Word {
        const WIDTH: u8;
        fn widen(self) -> u32;
        fn narrow(value: u32) -> Self;
    }
}

macro_rules! port_word {
    ($($word:ty),*) => {
        $(
            impl PortWord for $word {}

            impl sealed::Word for $word {
                const WIDTH: u8 = size_of::<$word>() as u8;

                #[inline]
                #[allow(clippy::unnecessary_cast, clippy::allow_attributes, reason = "one of the types is u32")]
                fn widen(self) -> u32 {
                    self as u32
                }

                #[inline]
                #[allow(clippy::unnecessary_cast, clippy::allow_attributes, reason = "one of the types is u32")]
                fn narrow(value: u32) -> Self {
                    value as Self
                }
            }
        )*
    };
}

port_word!(u8, u16, u32);

/// An I/O port that is accessed by bytes, words or double words. Each access leaves a virtual machine for its host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Port<W> {
    address: u16,
    width: PhantomData<W>,
}

impl<W: PortWord> Port<W> {
    /// The port at `address`.
    pub const fn new(address: u16) -> Self {
        Self { address, width: PhantomData }
    }

    /// Reads the port; all ones where nothing answers.
    #[inline]
    pub fn read(self) -> W {
        W::narrow(machine::port_read(self.address, W::WIDTH))
    }

    /// Writes the port.
    #[inline]
    pub fn write(self, value: W) {
        machine::port_write(self.address, W::WIDTH, value.widen());
    }
}

impl<W> fmt::Debug for Port<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({:#x})", self.address)
    }
}
