use proptest::prelude::*;

use super::simulated::Drive;
use super::*;
use crate::segment::Segment;
use isopod_hal::PhysAddr;

fn about(changes: &[(usize, u16)]) -> Option<About> {
    let mut answer = Drive::new(512, true).answer;
    for (word, value) in changes {
        answer[2 * word..][..2].copy_from_slice(&value.to_le_bytes());
    }
    About::parse(&answer)
}

#[test]
fn disks_say_how_large_they_are() {
    let geometry = Geometry { sectors: 8192, block: 1, read_only: false, can_flush: true };
    assert_eq!(About::parse(&Drive::new(512, true).answer), Some(About { geometry, long: true }));
    assert_eq!(About::parse(&Drive::new(512, false).answer), Some(About { geometry, long: false }));
    let geometry = Geometry { block: 8, ..geometry };
    assert_eq!(About::parse(&Drive::new(4096, true).answer), Some(About { geometry, long: true }));
    assert_eq!(about(&[(103, 1)]).unwrap().geometry.sectors, 1 << 48, "as much as commands reach");
    assert!(!about(&[(83, 1 << 14 | 1 << 10)]).unwrap().geometry.can_flush);
}

#[test]
fn what_is_no_disk_for_us_is_left_out() {
    assert_eq!(about(&[(0, 0x8580)]), None, "packets");
    assert_eq!(about(&[(49, 1 << 8)]), None, "no numbers of blocks");
    assert_eq!(about(&[(49, 1 << 9)]), None, "no access to memory");
    assert_eq!(about(&[(100, 0)]), None, "no blocks");
    assert_eq!(about(&[(83, 0xffff)]), None, "words that hold nothing, and no blocks by the others");
    for words in [0, 128, 257, 4096, 0x8000] {
        assert_eq!(about(&[(106, 0x5000), (117, words)]), None, "blocks of {words} words");
    }
    for len in [0, 1, 100, 201, 237] {
        assert_eq!(About::parse(&Drive::new(4096, true).answer[..len]), None, "{len} bytes");
    }
}

fn registers(kind: Kind, sector: u64, len: usize, long: bool) -> Registers {
    let data = [Segment { address: PhysAddr::new(0), len: len as u32 }];
    Registers::of(&Command { kind, unit: 0, sector, block: 1, len, data: &data }, long)
}

#[test]
fn commands_are_of_the_length_that_the_disk_knows() {
    let long = registers(Kind::Read, 0x1234_5678_9abc, 256 * 512, true);
    assert_eq!(long, Registers { command: 0x25, device: 0x40, block: 0x1234_5678_9abc, count: 256 });
    let short = registers(Kind::Write, 0xabc_def0, 256 * 512, false);
    assert_eq!(short, Registers { command: 0xca, device: 0x4a, block: 0xbc_def0, count: 0 });
    assert_eq!(registers(Kind::Read, 0, 512, false).command, 0xc8);
    assert_eq!(registers(Kind::Write, 0, 512, true).command, 0x35);
    assert_eq!(registers(Kind::Flush, 0, 0, true), Registers::new(0xe7));
    assert_eq!(registers(Kind::Scsi([7; 16]), 0, 0, true), Registers::new(0));
}

proptest! {
    #[test]
    fn any_answer_is_survived(mut answer in proptest::collection::vec(any::<u8>(), 0..520), able in any::<bool>()) {
        if let Some(words) = answer.get_mut(..100).filter(|_| able) {
            words[1] &= 0x7f;
            words[99] |= 3;
        }
        if let Some(About { geometry, long }) = About::parse(&answer) {
            prop_assert!([1, 2, 4, 8].contains(&geometry.block));
            prop_assert!(geometry.sectors > 0 && geometry.sectors.is_multiple_of(geometry.block));
            prop_assert!(geometry.sectors / geometry.block <= REACH[usize::from(long)]);
        }
    }
}
