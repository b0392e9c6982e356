//! The control channel between a running guest and its host.
//!
//! One reliable byte stream each way (a virtio-serial port today) carries frames:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, [`Kind`] |
//! | 1 | 3 | length of the payload in bytes, little endian, at most [`MAX_PAYLOAD`] |
//! | 4 | .. | payload |
//!
//! The guest's first frame is [`Kind::Hello`], sent with its first output at the latest; the host refuses a version it does not know, and
//! may send signals and the terminal's size before. Standard input is sent only against
//! [`Kind::Credit`], so that a program that does not read cannot hold up a [`Kind::Signal`] behind it. A receiver ignores kinds it
//! does not know: a later minor addition must not end a run.

use core::fmt;

/// Protocol version, the payload of [`Kind::Hello`] as four bytes, little endian.
pub const VERSION: u32 = 1;

/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Bytes of a frame before its payload.
pub const HEADER: usize = 4;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Guest to host, first frame: the protocol's [`VERSION`].
    Hello = 1,
    /// Guest to host: bytes of the application's standard output.
    Stdout = 2,
    /// Guest to host: bytes of the application's standard error.
    Stderr = 3,
    /// Guest to host: the kernel's own words (a fault report, a trace line), as text.
    Log = 4,
    /// Guest to host, last frame: one byte, the exit status as a shell would report it (0 to 255).
    Exit = 5,
    /// Guest to host: four bytes, little endian: how many more bytes of standard input the guest can take.
    Credit = 6,
    /// Host to guest: bytes of standard input. An empty payload is the end of the file.
    Stdin = 16,
    /// Host to guest: one byte, a signal (1 to 64) for the application.
    Signal = 17,
    /// Host to guest: the terminal's size: rows and columns, two bytes each, little endian.
    Window = 18,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Hello,
        Self::Stdout,
        Self::Stderr,
        Self::Log,
        Self::Exit,
        Self::Credit,
        Self::Stdin,
        Self::Signal,
        Self::Window,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why a stream of bytes is not this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A frame announces more than [`MAX_PAYLOAD`] bytes. The field is how many.
    TooLong(usize),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => {
                write!(f, "a control frame announces {length} bytes, {MAX_PAYLOAD} at the most")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// The four bytes before a payload of `length` bytes.
///
/// # Panics
///
/// When `length` is more than [`MAX_PAYLOAD`]: senders split their data.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    assert!(length <= MAX_PAYLOAD, "a payload of {length} bytes must be split");
    let [a, b, c, _] = (length as u32).to_le_bytes();
    [kind as u8, a, b, c]
}

/// A frame found at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries; `None` for a kind this version does not know, to be skipped.
    pub kind: Option<Kind>,
    /// Its bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes one frame from the start of `buffer`: the frame and what follows it, or `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when no frame can start like this: the stream is lost.
    pub fn parse(buffer: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, FrameError> {
        let Some((&[kind, a, b, c], rest)) = buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        Ok(rest
            .split_at_checked(length)
            .map(|(payload, rest)| (Self { kind: Kind::from_byte(kind), payload }, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn every_kind_survives_its_byte() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_byte(0), None);
    }

    #[test]
    fn waits_for_the_whole_frame() {
        let mut bytes = header(Kind::Stdout, 3).to_vec();
        bytes.extend_from_slice(b"abcX");
        assert_eq!(Frame::parse(&bytes[..6]), Ok(None));
        let (frame, rest) = Frame::parse(&bytes).unwrap().unwrap();
        assert_eq!((frame.kind, frame.payload, rest), (Some(Kind::Stdout), &b"abc"[..], &b"X"[..]));
    }

    #[test]
    fn unknown_kinds_are_skipped_not_refused() {
        let (frame, _) = Frame::parse(&[99, 1, 0, 0, 7]).unwrap().unwrap();
        assert_eq!((frame.kind, frame.payload), (None, &[7][..]));
    }

    proptest! {
        #[test]
        fn never_panics_and_always_advances(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while let Ok(Some((_, after))) = Frame::parse(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }
}
