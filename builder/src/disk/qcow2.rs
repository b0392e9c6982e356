//! qcow2, version 3 ([specification](https://www.qemu.org/docs/master/interop/qcow2.html)).
//!
//! ```text
//! header | refcount table | refcount blocks | L1 table | L2 tables | data
//! ```
//!
//! Where the disk has no data, no cluster is allocated: it reads as zeros. All tables are known before any data is read, so the file is
//! written front to back.

use std::io::{self, Read as _, Write};

use super::content::{GRAIN, Map};
use super::pass::Sink;

const CLUSTER: u64 = GRAIN;
/// Entries in an L1 table, an L2 table or a refcount table have 8 bytes; those of a refcount block have 2.
const ENTRIES: u64 = CLUSTER / 8;
const REFCOUNTS: u64 = CLUSTER / 2;
/// In an entry: the cluster belongs to one user alone.
const COPIED: u64 = 1 << 63;

/// How many clusters each part takes.
#[derive(Debug)]
struct Plan {
    refcount_table: u64,
    refcount_blocks: u64,
    l1: u64,
    l2: u64,
    data: u64,
}

impl Plan {
    fn new(map: &Map) -> Self {
        let mut plan = Self {
            refcount_table: 1,
            refcount_blocks: 1,
            l1: l1_entries(map).div_ceil(ENTRIES),
            l2: map.blocks(CLUSTER * ENTRIES).count() as u64,
            data: map.blocks(CLUSTER).count() as u64,
        };
        // Refcounts count themselves, too; more of them make more clusters, but ever fewer.
        while plan.refcount_blocks < plan.total().div_ceil(REFCOUNTS) {
            plan.refcount_blocks = plan.total().div_ceil(REFCOUNTS);
            plan.refcount_table = plan.refcount_blocks.div_ceil(ENTRIES);
        }
        plan
    }

    fn total(&self) -> u64 {
        self.data_start() + self.data
    }

    fn refcount_blocks_start(&self) -> u64 {
        1 + self.refcount_table
    }

    fn l1_start(&self) -> u64 {
        self.refcount_blocks_start() + self.refcount_blocks
    }

    fn l2_start(&self) -> u64 {
        self.l1_start() + self.l1
    }

    fn data_start(&self) -> u64 {
        self.l2_start() + self.l2
    }
}

fn l1_entries(map: &Map) -> u64 {
    map.size().div_ceil(CLUSTER * ENTRIES)
}

/// The size of the file for a disk with data where `map` says.
pub(super) fn size(map: &Map) -> u64 {
    Plan::new(map).total() * CLUSTER
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Qcow2<W> {
    out: W,
}

impl<W: Write> Qcow2<W> {
    /// Writes all that comes before the data.
    pub fn new(map: &Map, mut out: W) -> io::Result<Self> {
        let plan = Plan::new(map);
        write_clusters(&mut out, &header(map, &plan))?;
        let blocks = plan.refcount_blocks_start()..plan.l1_start();
        write_clusters(&mut out, &be64(blocks.map(|cluster| cluster * CLUSTER)))?;
        for block in 0..plan.refcount_blocks {
            let used = (plan.total() - block * REFCOUNTS).min(REFCOUNTS);
            write_clusters(&mut out, &1u16.to_be_bytes().repeat(used as usize))?;
        }
        write_l1(map, &plan, &mut out)?;
        write_l2(map, &plan, &mut out)?;
        Ok(Self { out })
    }

    /// The output, when all data is there.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write + Send> Sink for Qcow2<W> {
    fn write(&mut self, _: u64, data: &[u8]) -> io::Result<()> {
        self.out.write_all(data)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn header(map: &Map, plan: &Plan) -> Vec<u8> {
    let mut bytes = vec![0; 112];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &CLUSTER.trailing_zeros().to_be_bytes());
    put(24, &map.size().to_be_bytes());
    put(36, &(l1_entries(map) as u32).to_be_bytes());
    put(40, &(plan.l1_start() * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes()); // the refcount table
    put(56, &(plan.refcount_table as u32).to_be_bytes());
    put(96, &4u32.to_be_bytes()); // refcounts of 1 << 4 bits
    put(100, &104u32.to_be_bytes()); // behind this header: the end of the header's extensions, 8 zeros
    bytes
}

fn write_l1(map: &Map, plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let mut table = vec![0; l1_entries(map) as usize];
    for (number, index) in map.blocks(CLUSTER * ENTRIES).enumerate() {
        table[index as usize] = COPIED | ((plan.l2_start() + number as u64) * CLUSTER);
    }
    write_clusters(out, &be64(table))
}

fn write_l2(map: &Map, plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let mut table: Option<(u64, Vec<u64>)> = None;
    for (number, cluster) in map.blocks(CLUSTER).enumerate() {
        let (index, entry) = (cluster / ENTRIES, cluster % ENTRIES);
        if table.as_ref().is_none_or(|(current, _)| *current != index) {
            let full = table.replace((index, vec![0; ENTRIES as usize]));
            full.map_or(Ok(()), |(_, entries)| write_clusters(out, &be64(entries)))?;
        }
        if let Some((_, entries)) = &mut table {
            entries[entry as usize] = COPIED | ((plan.data_start() + number as u64) * CLUSTER);
        }
    }
    table.map_or(Ok(()), |(_, entries)| write_clusters(out, &be64(entries)))
}

fn be64(words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_be_bytes).collect()
}

/// Writes `bytes`, and zeros to the end of their last cluster.
fn write_clusters(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    let rest = (bytes.len() as u64).next_multiple_of(CLUSTER) - bytes.len() as u64;
    io::copy(&mut io::repeat(0).take(rest), out).map(drop)
}
