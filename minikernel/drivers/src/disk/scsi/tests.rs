use super::*;
use crate::disk::simulated::BAR;
use isopod_hal::PhysAddr;

fn command(kind: Kind, sector: u64, len: usize) -> [u8; 16] {
    let data = [crate::segment::Segment { address: PhysAddr::new(BAR), len: len as u32 }];
    bytes(&Command { kind, unit: 0, sector, block: 8, len, data: &data })
}

#[test]
fn commands_are_as_long_as_they_must_be() {
    let read = command(Kind::Read, 0x12345678 * 8, 0x1234 * 4096);
    assert_eq!(read, [0x28, 0, 0x12, 0x34, 0x56, 0x78, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0]);
    let write = command(Kind::Write, (1 << 32) * 8, 4096);
    assert_eq!(write, [0x8a, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(command(Kind::Read, 0, 0x1_0000 * 4096)[..14], [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(command(Kind::Flush, 0, 0), [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(command(Kind::Scsi([7; 16]), 1, 2), [7; 16]);
}

#[test]
fn what_passes_is_tried_again() {
    let (io, unsupported) = (Outcome::Failed(BlockError::Io), Outcome::Failed(BlockError::Unsupported));
    for (status, sense, expected) in [
        (0, [0; 4], Outcome::Done),
        (8, [0; 4], Outcome::Again),
        (0x28, [0; 4], Outcome::Again),
        (0x18, [0; 4], io),
        (2, [0x70, 0, 6, 0], Outcome::Again),
        (2, [0xf0, 0, 0x22, 0], Outcome::Again),
        (2, [0x72, 0xb, 0, 0], Outcome::Again),
        (2, [0x73, 1, 3, 0], Outcome::Done),
        (2, [0x70, 0, 3, 0], io),
        (2, [0x71, 0, 5, 0], unsupported),
        (2, [0; 4], io),
    ] {
        assert_eq!(outcome(status, sense), expected, "{status} {sense:x?}");
    }
}
