//! The text of a file while it is written.

use alloc::vec::Vec;
use core::fmt;

use isopod_fs::{Errno, Result};

/// Bytes that grow as long as there is memory.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    full: bool,
}

impl Text {
    /// Adds `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.bytes.try_reserve(bytes.len()).is_ok() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.full = true;
        }
    }

    /// Adds `bytes` and a newline.
    pub(super) fn put_line(&mut self, bytes: &[u8]) {
        self.put(bytes);
        self.put(b"\n");
    }

    /// Adds numbers, each after a space.
    pub(super) fn put_numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            super::table::put!(self, " {number}");
        }
    }

    /// Adds `bytes` with those in `special` as backslash and three octal digits.
    pub(super) fn put_escaped(&mut self, bytes: &[u8], special: &[u8]) {
        for byte in bytes {
            if special.contains(byte) {
                super::table::put!(self, "\\{byte:03o}");
            } else {
                self.put(core::slice::from_ref(byte));
            }
        }
    }

    /// What has been added so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps only the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// All of it; ENOMEM if something found no room.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        if self.full { Err(Errno::ENOMEM.into()) } else { Ok(self.bytes) }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}
