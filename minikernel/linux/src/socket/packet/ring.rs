//! Frames in memory that a program shares: `PACKET_RX_RING`, in the second of its forms (`TPACKET_V2`), as libpcap takes it where there is no third.

use alloc::sync::Arc;

use isopod_fs::{Buffer, Bytes, Errno, Inode};

use super::{ADDRESS, Caught};
use crate::dev;
use crate::socket::Kind;
use crate::socket::filter::{self, Frame};

/// `TPACKET_V2`
pub const SECOND: i32 = 1;
/// `sizeof(struct tpacket2_hdr)`; behind it stands where the frame came from.
pub const HEADER: usize = 32;
/// Frames and what is in them are aligned to this.
const ALIGNMENT: usize = 16;
/// What a page is.
const PAGE: u32 = 4096;
/// No ring is larger.
const LENGTH_MAX: u64 = 256 << 20;
/// `TP_STATUS_LOSING`
const LOSING: u32 = 4;

/// A ring.
pub struct Ring {
    memory: Arc<dyn Inode>,
    block_size: usize,
    frame_size: usize,
    per_block: usize,
    frames: usize,
    /// The frame that is filled next.
    next: usize,
    /// Where frames begin in their places, and where what follows their header of Ethernet does.
    begins: usize,
    network: usize,
    lost: bool,
}

impl Ring {
    /// One as it is asked for: the size of blocks, their number, the size of frames, their number; none if that is 0. EINVAL, ENOMEM
    pub fn new(
        [block_size, blocks, frame_size, frames]: [u32; 4],
        version: u32,
        reserve: u32,
        kind: Kind,
    ) -> Result<Option<Self>, Errno> {
        if blocks == 0 {
            return if frames == 0 { Ok(None) } else { Err(Errno::EINVAL) };
        }
        let least = (HEADER + ADDRESS) as u64 + u64::from(reserve);
        let per_block = block_size.checked_div(frame_size).unwrap_or(0);
        let sound = version == SECOND.cast_unsigned()
            && i32::try_from(block_size).is_ok()
            && block_size.is_multiple_of(PAGE)
            && u64::from(frame_size) >= least
            && frame_size.is_multiple_of(ALIGNMENT as u32)
            && per_block > 0
            && per_block.checked_mul(blocks) == Some(frames);
        if !sound {
            return Err(Errno::EINVAL);
        }
        let length = u64::from(block_size) * u64::from(blocks);
        if length > LENGTH_MAX {
            return Err(Errno::ENOMEM);
        }
        let reserve = reserve as usize;
        let (begins, network) = if kind == Kind::Raw {
            let network = (HEADER + ADDRESS + ALIGNMENT).next_multiple_of(ALIGNMENT) + reserve;
            (network - filter::HEADER, network)
        } else {
            let network = (HEADER + ADDRESS).next_multiple_of(ALIGNMENT) + 16 + reserve;
            (network, network)
        };
        Ok(Some(Self {
            memory: dev::memory_inode(length)?,
            block_size: block_size as usize,
            frame_size: frame_size as usize,
            per_block: per_block as usize,
            frames: frames as usize,
            next: 0,
            begins,
            network,
            lost: false,
        }))
    }

    /// What a program maps.
    pub fn memory(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.memory)
    }

    fn place(&self, frame: usize) -> u64 {
        (frame / self.per_block * self.block_size + frame % self.per_block * self.frame_size) as u64
    }

    /// Whether a frame is the program's.
    fn is_given(&self, frame: usize) -> bool {
        let mut status = [0; 4];
        let read = self.memory.read_at(self.place(frame), &mut Buffer::new(&mut status));
        read.is_err() || u32::from_ne_bytes(status) != 0
    }

    /// Whether the program has something to look at: the last frame is its.
    pub fn is_filled(&self) -> bool {
        self.is_given((self.next + self.frames - 1) % self.frames)
    }

    fn write(&self, place: u64, bytes: &[u8]) -> bool {
        self.memory.write_at(place, &mut Bytes::new(bytes)).is_ok_and(|count| count == bytes.len())
    }

    /// Fills the next place with a frame from a byte on. False if that is still the program's, or there is no memory.
    pub fn put(&mut self, frame: &Frame<'_>, begin: usize, kept: usize, caught: &Caught) -> bool {
        let place = self.place(self.next);
        let kept = kept.min(self.frame_size.saturating_sub(self.begins));
        if self.is_given(self.next) || !self.fill(place, frame, begin, kept, caught) {
            self.lost = true;
            return false;
        }
        // The program may look once this says so.
        let lost = if core::mem::take(&mut self.lost) { LOSING } else { 0 };
        if !self.write(place, &(caught.status | lost).to_ne_bytes()) {
            return false;
        }
        self.next = (self.next + 1) % self.frames;
        true
    }

    fn fill(&self, place: u64, frame: &Frame<'_>, begin: usize, kept: usize, caught: &Caught) -> bool {
        let mut at = place + self.begins as u64;
        let (mut skip, mut left) = (begin, kept);
        for part in frame.parts() {
            let part = part.get(skip..).unwrap_or_else(|| {
                skip -= part.len();
                &[]
            });
            if part.is_empty() {
                continue;
            }
            skip = 0;
            let part = &part[..part.len().min(left)];
            if !self.write(at, part) {
                return false;
            }
            at += part.len() as u64;
            left -= part.len();
        }
        let offsets = self.begins as u32 | (self.network as u32) << 16;
        let (seconds, rest) = (caught.at / 1_000_000_000, caught.at % 1_000_000_000);
        let words =
            [caught.length as u32, kept as u32, offsets, seconds as u32, rest as u32].map(u32::to_ne_bytes);
        self.write(place + 4, words.as_flattened()) && self.write(place + HEADER as u64, &caught.from)
    }
}
