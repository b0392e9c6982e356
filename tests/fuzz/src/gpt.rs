//! A partition table on a disk of anybody's. Its checksums are put right, or hardly a change would get beyond them.

use isopod_drivers::disk::gpt::Header;
use isopod_drivers::disk::gpt::sample::{ID, SECTORS, seal};

/// How far it got: to a table, to a partition.
pub fn run(data: &[u8]) -> usize {
    let Some((header, table)) = data.split_at_checked(512) else { return 0 };
    let _ = Header::parse(header, 1, SECTORS);
    let mut header = header.to_vec();
    seal(&mut header, table);
    let Ok(header) = Header::parse(&header, 1, SECTORS) else { return 0 };
    assert!(header.table().end <= SECTORS);
    match header.find(table, &ID) {
        Ok(Some(found)) => {
            assert!(!found.is_empty() && found.end <= SECTORS);
            2
        }
        _ => 1,
    }
}
