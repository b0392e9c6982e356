use proptest::prelude::*;

use super::sample::{ID, SECTORS, sample, seal};
use super::*;

fn look(header: &[u8], entries: &[u8]) -> Result<Option<Range<u64>>, Damage> {
    Header::parse(header, 1, SECTORS)?.find(entries, &ID)
}

#[test]
fn the_checksum_is_the_published_one() {
    let table = crc_table();
    assert_eq!(crc32(&table, 0, b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(&table, crc32(&table, 0, b"1234"), b"56789"), 0xcbf4_3926);
}

#[test]
fn a_partition_is_found_by_its_identifier() {
    let (header, entries) = sample();
    let parsed = Header::parse(&header, 1, SECTORS).unwrap();
    assert_eq!(parsed.table(), 2..34);
    assert_eq!(parsed.find(&entries, &ID), Ok(Some(2048..4096)));
    assert_eq!(parsed.find(&entries, b"another of those"), Ok(Some(64..100)));
    assert_eq!(parsed.find(&entries, b"of whom nobody..."[..16].try_into().unwrap()), Ok(None));
    assert_eq!(parsed.find(&entries, &[0; 16]), Ok(None), "unused entries have no identifier");
}

#[test]
fn damage_is_named() {
    let (good, entries) = sample();
    let (mut header, mut table) = (good.clone(), entries.clone());
    header[0] ^= 1;
    assert_eq!(look(&header, &entries), Err(Damage::Missing));
    assert_eq!(look(&[], &entries), Err(Damage::Missing));
    assert_eq!(look(&good[..91], &entries), Err(Damage::Header));
    header.clone_from(&good);
    header[91] ^= 1;
    assert_eq!(look(&header, &entries), Err(Damage::HeaderChecksum));
    table[16383] ^= 1;
    assert_eq!(look(&good, &table), Err(Damage::Checksum));
    assert_eq!(look(&good, &entries[..16383]), Err(Damage::Place));
    assert_eq!(Header::parse(&good, 2, SECTORS), Err(Damage::Header), "a copy of the other one");
    assert_eq!(Header::parse(&good, 1, 34), Err(Damage::Place), "the disk became smaller");
}

#[test]
fn numbers_that_make_no_sense_are_refused_although_their_checksums_are_right() {
    let (good, entries) = sample();
    let with = |at: usize, bytes: &[u8]| {
        let mut header = good.clone();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut header, &entries);
        look(&header, &entries)
    };
    assert_eq!(with(8, &[1]), Err(Damage::Header), "another revision");
    for size in [0, 91, 513, u32::MAX] {
        assert_eq!(with(12, &size.to_le_bytes()), Err(Damage::Header), "a header of {size}");
    }
    for first in [0, SECTORS - 31, u64::MAX - 1, u64::MAX] {
        assert_eq!(with(72, &first.to_le_bytes()), Err(Damage::Place), "entries at {first}");
    }
    for count in [1025, u32::MAX] {
        assert_eq!(with(80, &count.to_le_bytes()), Err(Damage::Place), "{count} entries");
    }
    for size in [0, 127, 129, u32::MAX] {
        assert_eq!(with(84, &size.to_le_bytes()), Err(Damage::Place), "entries of {size}");
    }
    for last in [SECTORS, u64::MAX] {
        assert_eq!(with(48, &last.to_le_bytes()), Err(Damage::Place), "usable up to {last}");
    }
    for (first, last) in [(2048, 2047), (33, 100), (2048, SECTORS - 33), (u64::MAX, u64::MAX), (0, u64::MAX)]
    {
        let (mut header, mut table) = sample();
        table[128 + 32..][..8].copy_from_slice(&u64::to_le_bytes(first));
        table[128 + 40..][..8].copy_from_slice(&last.to_le_bytes());
        seal(&mut header, &table);
        assert_eq!(look(&header, &table), Err(Damage::Partition), "{first} to {last}");
    }
}

proptest! {
    #[test]
    fn anything_is_survived(
        changes in proptest::collection::vec((0..512usize, any::<u8>()), 0..6),
        entries in proptest::collection::vec(any::<u8>(), 0..1024),
        sectors in any::<u64>(),
        whole in any::<bool>(),
    ) {
        let (mut header, good) = sample();
        for (at, byte) in changes {
            header[at] = byte;
        }
        let table = if whole { good } else { entries };
        seal(&mut header, &table);
        if let Ok(header) = Header::parse(&header, 1, sectors) {
            prop_assert!(header.table().end <= sectors);
            if let Ok(Some(found)) = header.find(&table, &ID) {
                prop_assert!(!found.is_empty() && found.end <= sectors);
            }
        }
    }
}
