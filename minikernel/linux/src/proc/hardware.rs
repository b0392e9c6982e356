//! Caches and memory nodes below `/sys/devices/system`: `Documentation/ABI/testing/sysfs-devices-system-cpu` and `stable/sysfs-devices-node`
//! of Linux.

use alloc::sync::Arc;

use isopod_fs::generated::Entry;
use isopod_fs::{Errno, FileType, Result};
use isopod_hal::cpu::{self, Cache};
use isopod_hal::{PAGE_SIZE, memory_stats};

use super::machine::{list, range};
use super::subject::Subject;
use super::sys::{all, mask};
use super::table::{Folder, Numbers, Row, gather, put};
use super::text::Text;

/// Bits that tell the CPU in the number of a cache's directory; the cache is above them.
const CPU_BITS: u32 = 16;

/// A CPU's caches.
pub(super) static CACHES: Numbers = Numbers {
    prefix: "index",
    kind: FileType::Directory,
    all: |_| gather(&mut (0..).take_while(|&index| Cache::find(index).is_some())),
    entry: |subject, index| {
        Cache::find(index).ok_or(Errno::ENOENT)?;
        let subject = Subject::MACHINE.of_thread(index << CPU_BITS | subject.id()?);
        Ok(Entry::Directory(Arc::new(Folder { subject, mode: 0o555, rows: &CACHE, numbers: None })))
    },
};

static CACHE: [Row; 10] = [
    Row::thread("coherency_line_size", |subject, text| number(subject, text, |cache| cache.line)),
    Row::thread("id", |subject, text| {
        let id = if is_shared(cache(subject)?) { 0 } else { cpu_of(subject)? };
        put!(text, "{id}\n");
        Ok(())
    }),
    Row::thread("level", |subject, text| number(subject, text, |cache| cache.level)),
    Row::thread("number_of_sets", |subject, text| number(subject, text, |cache| cache.sets)),
    Row::thread("physical_line_partition", |subject, text| number(subject, text, |cache| cache.partitions)),
    Row::thread("shared_cpu_list", |subject, text| {
        list(sharers(subject)?, text);
        Ok(())
    }),
    Row::thread("shared_cpu_map", |subject, text| {
        mask(sharers(subject)?, text);
        Ok(())
    }),
    Row::thread("size", |subject, text| {
        put!(text, "{}K\n", cache(subject)?.size() >> 10);
        Ok(())
    }),
    Row::thread("type", |subject, text| {
        put!(text, "{}\n", cache(subject)?.holds);
        Ok(())
    }),
    Row::thread("ways_of_associativity", |subject, text| number(subject, text, |cache| cache.ways)),
];

fn cache(subject: &Subject) -> Result<Cache> {
    Ok(Cache::find(subject.id()? >> CPU_BITS).ok_or(Errno::ENOENT)?)
}

fn cpu_of(subject: &Subject) -> Result<u32> {
    Ok(subject.id()? & ((1 << CPU_BITS) - 1))
}

fn number(subject: &Subject, text: &mut Text, of: fn(Cache) -> u32) -> Result<()> {
    put!(text, "{}\n", of(cache(subject)?));
    Ok(())
}

/// All CPUs are cores of one package: the first two levels are each core's own, the others are all cores'.
fn is_shared(cache: Cache) -> bool {
    cache.level > 2
}

/// The CPUs that have the cache.
fn sharers(subject: &Subject) -> Result<u64> {
    let every = u64::MAX >> (64 - cpu::count().clamp(1, 64));
    Ok(if is_shared(cache(subject)?) { every } else { 1u64.unbounded_shl(cpu_of(subject)?) })
}

/// There is one node, which has all CPUs and all memory.
pub(super) static NODES: [Row; 6] = [
    Row::constant("has_cpu", "0\n"),
    Row::constant("has_memory", "0\n"),
    Row::constant("has_normal_memory", "0\n"),
    Row::rows("node0", &NODE),
    Row::constant("online", "0\n"),
    Row::constant("possible", "0\n"),
];

static NODE: [Row; 4] = [
    Row::machine("cpulist", |text| range(cpu::count(), text)),
    Row::machine("cpumap", all),
    Row::constant("distance", "10\n"),
    Row::machine("meminfo", |text| {
        let memory = memory_stats();
        let used = memory.total_frames - memory.free_frames;
        for (name, frames) in
            [("MemTotal:", memory.total_frames), ("MemFree:", memory.free_frames), ("MemUsed:", used)]
        {
            put!(text, "Node 0 {name:<15}{:8} kB\n", frames * (PAGE_SIZE >> 10));
        }
    }),
];
