//! Socket addresses as programs give and take them: `struct sockaddr` with its length.

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::uaccess::{self, Fault};

use crate::fail::Attempt;
use crate::mm::UserPtr;

/// `sizeof(struct sockaddr_storage)`
pub const ADDRESS_MAX: usize = 128;

/// The bytes of an address, the family in the first two.
#[derive(Clone, Copy)]
pub struct Address {
    bytes: [u8; ADDRESS_MAX],
    length: usize,
}

impl Address {
    /// An address of these bytes, of which there are at most [`ADDRESS_MAX`].
    pub fn new(family: u16, rest: &[u8]) -> Self {
        let mut bytes = [0; ADDRESS_MAX];
        let length = rest.len().min(ADDRESS_MAX - 2);
        bytes[..2].copy_from_slice(&family.to_le_bytes());
        bytes[2..2 + length].copy_from_slice(&rest[..length]);
        Self { bytes, length: 2 + length }
    }

    /// Reads an address of a program's (`move_addr_to_kernel`): `EINVAL` for a length that none has.
    pub fn read(from: UserPtr<u8>, length: i32) -> Attempt<Self> {
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        let mut bytes = [0; ADDRESS_MAX];
        let into = bytes.get_mut(..length).ok_or(Errno::EINVAL)?;
        uaccess::copy_from_user(into, from.address()).map_err(Fault::from)?;
        Ok(Self { bytes, length })
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The family, if it is long enough to have one.
    pub fn family(&self) -> Option<u16> {
        self.bytes().first_chunk().map(|family| u16::from_le_bytes(*family))
    }

    /// What follows the family.
    pub fn rest(&self) -> &[u8] {
        self.bytes().get(2..).unwrap_or(&[])
    }

    /// Gives the address to a program: as much as fits in what `length` says there is room for, and its whole length there
    /// (`move_addr_to_user`). No address has the length 0. `EINVAL` for a negative length.
    pub fn give(address: Option<&Self>, to: UserPtr<u8>, length: UserPtr<i32>) -> Attempt<()> {
        let bytes = address.map_or(&[][..], Self::bytes);
        let room = usize::try_from(length.get()?).map_err(|_| Errno::EINVAL)?;
        to.put_bytes(&bytes[..bytes.len().min(room)])?;
        Ok(length.put(&(bytes.len() as i32))?)
    }

    /// As a list of bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Address").field(&self.bytes()).finish()
    }
}
