//! A disk that answers commands of ATA in tests.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::disk::simulated::sectors;

/// A disk of 4 MiB.
pub(crate) struct Drive {
    pub disk: Vec<u8>,
    /// What it says of itself.
    pub answer: Vec<u8>,
    pub flushed: usize,
    /// It fails, or says nothing any more.
    pub failing: bool,
    pub silent: bool,
    block: usize,
}

/// What a command moves.
pub(crate) enum Moves {
    Nothing,
    ToMemory(Vec<u8>),
    ToDisk(Range<usize>),
}

impl Drive {
    pub fn new(block: usize, long: bool) -> Self {
        let disk = sectors(8192);
        let mut answer = vec![0; 512];
        let count = (disk.len() / block) as u32;
        let words = [(49, 3 << 8), (83, 1 << 14 | 1 << 12 | u16::from(long) << 10)];
        for (index, word) in words {
            answer[2 * index..][..2].copy_from_slice(&u16::to_le_bytes(word));
        }
        answer[if long { 200 } else { 120 }..][..4].copy_from_slice(&count.to_le_bytes());
        if block != 512 {
            answer[212..214].copy_from_slice(&u16::to_le_bytes(1 << 14 | 1 << 12));
            answer[234..238].copy_from_slice(&(block as u32 / 2).to_le_bytes());
        }
        Self { disk, answer, flushed: 0, failing: false, silent: false, block }
    }

    /// What a command moves that the registers tell; `None` if it fails.
    pub fn run(&mut self, command: u8, device: u8, block: u64, count: u16) -> Option<Moves> {
        let long = matches!(command, 0x25 | 0x35);
        match command {
            0xec => Some(Moves::ToMemory(self.answer.clone())),
            _ if self.failing => None,
            0xe7 => {
                self.flushed += 1;
                Some(Moves::Nothing)
            }
            0x25 | 0xc8 => Some(Moves::ToMemory(self.disk[self.place(long, device, block, count)].to_vec())),
            0x35 | 0xca => Some(Moves::ToDisk(self.place(long, device, block, count))),
            _ => None,
        }
    }

    fn place(&self, long: bool, device: u8, block: u64, count: u16) -> Range<usize> {
        assert_eq!(device & 0x40, 0x40, "blocks have numbers");
        assert_eq!(long, self.answer[167] & 4 != 0, "a command that the disk knows");
        let block = if long { block } else { block & 0xff_ffff | u64::from(device & 0xf) << 24 };
        let count = match (long, count) {
            (false, 0) => 256,
            (false, count) => usize::from(count & 0xff),
            (true, 0) => 0x1_0000,
            (true, count) => count.into(),
        };
        let start = block as usize * self.block;
        start..start + count * self.block
    }
}
