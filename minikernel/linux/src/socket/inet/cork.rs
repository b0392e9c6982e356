//! Messages of UDP that are put together by several calls: `MSG_MORE`, `UDP_CORK`, udp(7).

use alloc::boxed::Box;

use isopod_fs::{self as fs, Errno, Source};
use isopod_hal::clock;
use isopod_hal::sync::{SpinLock, SpinLockGuard};
use isopod_net::address::is_v4;
use isopod_net::chunk::Chunks;
use isopod_net::error::Error;
use isopod_net::udp::{Course, Manner};

use super::datagram::{DatagramSocket, SEGMENTS_MAX, fits, take_all};
use super::{configuring, errno, options as names, stack, with_stack};

/// A message, and where it goes.
#[derive(Debug)]
pub struct Letter {
    /// Where: that of its first part, whatever the others say.
    pub course: Course,
    /// How, as its first part says.
    pub how: Manner,
    /// How long the messages are that it is cut into; 0 if it is not.
    pub piece: usize,
    /// Its bytes.
    pub data: Chunks,
}

/// One that is not yet whole. It is locked before what waits in the socket.
pub type Cork = SpinLock<Option<Box<Letter>>>;

impl DatagramSocket {
    /// EMSGSIZE if so many bytes cannot be one message.
    pub(super) fn check_length(&self, course: &Course, how: &Manner, length: usize) -> Result<(), Errno> {
        let to = &course.to.address;
        let whole = !is_v4(to) && self.ip.has(names::DONT_FRAGMENT);
        if whole && !fits(to, length) {
            return Err(Errno::EMSGSIZE);
        }
        stack().header_along(&self.endpoint, course, how, length).map(drop).map_err(errno)
    }

    /// The first part of a message has been given. EINVAL if another was faster.
    pub(super) fn begin_letter(&self, letter: Letter) -> Result<(), Errno> {
        let mut cork = self.cork.lock();
        if cork.is_some() {
            return Err(Errno::EINVAL);
        }
        *cork = Some(Box::new(letter));
        Ok(())
    }

    /// Adds to a message, which goes unless `more` follows. What went wrong ends it (`udp_flush_pending_frames`).
    pub(super) fn append(
        &self,
        mut cork: SpinLockGuard<'_, Option<Box<Letter>>>,
        more: bool,
        source: &mut dyn Source,
    ) -> fs::Result<usize> {
        let Some(letter) = &mut *cork else { return Ok(0) };
        let length = source.remaining();
        let added = match self.check_length(&letter.course, &letter.how, letter.data.len() + length) {
            Ok(()) => match take_all(source) {
                // The copy was cut, and is made again.
                Ok(None) => return Ok(0),
                Ok(Some(part)) => letter.add(part),
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        };
        let letter = if added.is_err() || !more { cork.take() } else { None };
        drop(cork);
        added?;
        if let Some(letter) = letter {
            self.post(*letter)?;
        }
        Ok(length)
    }

    /// It has a new peer, to whom one of IPv4 goes: that and the socket have one flow (`__ip4_datagram_connect`).
    pub(super) fn redirect(&self) {
        let mut cork = self.cork.lock();
        let Some(letter) = cork.as_deref_mut().filter(|letter| is_v4(&letter.course.to.address)) else {
            return;
        };
        if let Ok(course) = stack().course(&self.endpoint, None, &letter.how, clock::monotonic_ns())
            && is_v4(&course.to.address)
        {
            letter.course = course;
        }
    }

    /// No more follows.
    pub(super) fn uncork(&self) {
        let letter = self.cork.lock().take();
        if let Some(letter) = letter {
            // Nobody is told what becomes of it (`udp_lib_setsockopt`).
            let _ = self.post(*letter);
        }
    }

    /// Sends a message, or those that it is cut into. EINVAL if they are too long or too many.
    pub(super) fn post(&self, Letter { course, how, piece, mut data }: Letter) -> fs::Result<()> {
        if piece > 0 {
            let first = piece.min(data.len());
            if !fits(&course.to.address, first) || data.len() > piece * SEGMENTS_MAX {
                return Err(Errno::EINVAL.into());
            }
        }
        let sent = with_stack(|stack, out| {
            while piece > 0 && data.len() > piece {
                let part = data.split_to(piece).map_err(Error::from)?;
                stack.send_along(&self.endpoint, &course, &how, part, out)?;
            }
            stack.send_along(&self.endpoint, &course, &how, data, out)
        });
        self.endpoint.has_sent();
        sent.map_err(configuring::failure)
    }
}

impl Letter {
    /// Adds bytes. ENOMEM
    fn add(&mut self, mut part: Chunks) -> Result<(), Errno> {
        while let Some(chunk) = part.pop() {
            self.data.gather(chunk).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }
}
