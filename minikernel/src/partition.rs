//! Finding a partition by its identifier, on whichever disk has it.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_drivers::block::{Block, BlockError, SECTOR_SIZE};
use isopod_drivers::disk::Disks;
use isopod_drivers::disk::gpt::{Damage, Header};
use isopod_hal::frame::Frame;
use isopod_hal::{PAGE_SIZE, clock, log};
use isopod_linux::sched;
use isopod_manifest::PartitionId;

/// Sectors of a page.
const PAGE: u64 = PAGE_SIZE as u64 / SECTOR_SIZE;
const SECOND: u64 = 1_000_000_000;
/// How long a disk may come late. Clouds attach volumes while the machine starts.
const PATIENCE: u64 = 30 * SECOND;
/// How long a read of a partition table may take.
const READ: u64 = 20 * SECOND;

/// A partition of a disk.
pub struct Partition {
    /// The disk.
    pub disk: Arc<dyn Block>,
    /// Its sectors there.
    pub sectors: Range<u64>,
}

/// Looks for the partition until it is there. The error says which disks there are, and on a second line what to do.
pub async fn find(id: PartitionId, disks: &mut Disks) -> Result<Partition, String> {
    let begin = clock::monotonic_ns();
    let mut pause = SECOND / 20;
    let mut told = false;
    // What is wrong with each disk that was looked at.
    let mut seen: Vec<String> = Vec::new();
    loop {
        disks.look();
        for disk in &disks.known()[seen.len()..] {
            match on_disk(&**disk, id).await {
                Ok(Some(sectors)) => return Ok(Partition { disk: Arc::clone(disk), sectors }),
                Ok(None) => seen.push(describe(&**disk, "no such partition")),
                Err(reason) => seen.push(describe(&**disk, &reason)),
            }
        }
        let list = if seen.is_empty() { String::from("there is no disk") } else { seen.join(", ") };
        if clock::monotonic_ns() - begin > PATIENCE {
            return Err(format!(
                "the root's partition {id} is on no disk: {list}\nhint: attach the disk that was built with this kernel, whole, to a controller that there is a driver for"
            ));
        }
        if !told {
            told = true;
            log!("isopod: waiting for a disk with the root's partition {id}: {list}");
        }
        sched::sleep_until(clock::monotonic_ns() + pause).await;
        pause = (pause * 2).min(SECOND);
    }
}

fn describe(disk: &dyn Block, what: &str) -> String {
    format!("{} ({} MiB) has {what}", disk.name(), disk.size() >> 20)
}

/// Looks for the partition on a disk, by the table at its beginning or, if that is damaged, the one at its end. The error says what is wrong with
/// both.
async fn on_disk(disk: &dyn Block, id: PartitionId) -> Result<Option<Range<u64>>, String> {
    let sectors = disk.size() / SECTOR_SIZE;
    let first = match by_table(disk, 1, sectors, id).await {
        Ok(found) => return Ok(found),
        Err(reason) => reason,
    };
    let second = match by_table(disk, sectors.saturating_sub(1), sectors, id).await {
        Ok(found) => {
            log!("isopod: {} has {first} at its beginning; the one at its end is used", disk.name());
            return Ok(found);
        }
        Err(reason) => reason,
    };
    if first == second { Err(first) } else { Err(format!("{first}, and at its end {second}")) }
}

/// Looks for the partition by the table whose header is in a sector.
async fn by_table(
    disk: &dyn Block,
    header: u64,
    sectors: u64,
    id: PartitionId,
) -> Result<Option<Range<u64>>, String> {
    let damage = |damage: Damage| format!("{damage}");
    let failed = |error: BlockError| format!("a partition table that cannot be read: {error}");
    let bytes = read(disk, header..header + 1).await.map_err(failed)?;
    let header = Header::parse(&bytes, header, sectors).map_err(damage)?;
    let table = read(disk, header.table()).await.map_err(failed)?;
    header.find(&table, &id.0).map_err(damage)
}

/// Reads sectors of a disk, in whole pages: it may have blocks of that size.
async fn read(disk: &dyn Block, sectors: Range<u64>) -> Result<Vec<u8>, BlockError> {
    /// Nanoseconds for which it is looked whether it is done, and then nanoseconds of sleep. A disk answers within the first, as a rule.
    const LOOK: u64 = 200_000;
    const PAUSE: u64 = 1_000_000;
    let no_memory = |_| BlockError::OutOfMemory;
    let first = sectors.start / PAGE * PAGE;
    let count = (sectors.end - first).div_ceil(PAGE) as usize;
    let mut pages = Vec::new();
    for _ in 0..count {
        pages.push(Frame::zeroed().map_err(|_| BlockError::OutOfMemory)?);
    }
    let request = disk.read(first, &pages)?;
    let begin = clock::monotonic_ns();
    while !isopod_drivers::wait(LOOK, &mut || {
        disk.poll();
        request.result().is_some()
    }) {
        if clock::monotonic_ns() - begin > READ {
            return Err(BlockError::Io);
        }
        sched::sleep_until(clock::monotonic_ns() + PAUSE).await;
    }
    request.result().unwrap_or(Err(BlockError::Io))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count * PAGE_SIZE).map_err(no_memory)?;
    bytes.resize(count * PAGE_SIZE, 0);
    for (page, bytes) in pages.iter().zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
        page.read(0, bytes);
    }
    let skipped = (sectors.start - first) * SECTOR_SIZE;
    bytes.drain(..skipped as usize);
    Ok(bytes)
}
