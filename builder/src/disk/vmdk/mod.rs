//! VMDK in its two forms of one file: streamOptimized, compressed and written front to back, which OVAs and imports take; and
//! monolithicSparse, which a virtual machine can run from. After VMware's *Virtual Disk Format 5.0*.

mod sparse;
mod stream;

use uuid::Uuid;

use super::content::GRAIN;

pub(super) use sparse::Sparse;
pub(super) use stream::Stream;

/// The largest disk that the format has: offsets in its tables count sectors by 32 bits.
pub(super) const LIMIT: u64 = 2040 << 30;

const SECTOR: u64 = 512;
/// Entries of 4 bytes in a grain table, which so stands for 32 MiB.
const ENTRIES: u64 = 512;
const TABLE: u64 = ENTRIES * 4;
const TABLE_COVERS: u64 = ENTRIES * GRAIN;
/// The descriptor is in the header's file, behind it, and has so many sectors.
const DESCRIPTOR_SECTORS: u64 = 20;
const DESCRIPTOR_END: u64 = 1 + DESCRIPTOR_SECTORS;

/// What the two forms say differently in their headers.
#[derive(Debug, Clone, Copy)]
struct Header {
    version: u32,
    flags: u32,
    /// The disk's size in bytes.
    size: u64,
    /// Sectors at which the directories of grain tables begin.
    redundant_directory: u64,
    directory: u64,
    /// Sectors before the first grain.
    overhead: u64,
    compression: u16,
}

impl Header {
    fn encode(&self) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"KDMV");
        put(4, &self.version.to_le_bytes());
        put(8, &self.flags.to_le_bytes());
        put(12, &(self.size / SECTOR).to_le_bytes());
        put(20, &(GRAIN / SECTOR).to_le_bytes());
        put(28, &1u64.to_le_bytes());
        put(36, &DESCRIPTOR_SECTORS.to_le_bytes());
        put(44, &(ENTRIES as u32).to_le_bytes());
        put(48, &self.redundant_directory.to_le_bytes());
        put(56, &self.directory.to_le_bytes());
        put(64, &self.overhead.to_le_bytes());
        put(73, b"\n \r\n"); // would be damaged by a transfer as text
        put(77, &self.compression.to_le_bytes());
        bytes
    }
}

/// The descriptor, filled up to the sectors that it has.
fn descriptor(form: &str, size: u64, id: Uuid) -> Vec<u8> {
    let (sectors, content) = (size / SECTOR, id.as_fields().0);
    // Geometry of a SCSI disk of more than 2 GiB; below that VMware counts 64 heads of 32 sectors.
    let (heads, track) = if size > 2 << 30 { (255, 63) } else { (64, 32) };
    let cylinders = (sectors / (heads * track)).min(65_535);
    let text = format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={content:08x}\n\
         parentCID=ffffffff\n\
         createType=\"{form}\"\n\
         \n\
         # Extent description\n\
         RW {sectors} SPARSE \"disk.vmdk\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{track}\"\n\
         ddb.toolsVersion = \"2147483647\"\n\
         ddb.virtualHWVersion = \"13\"\n"
    );
    let mut bytes = text.into_bytes();
    bytes.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
    bytes
}

/// The bytes of a table or directory.
fn le32(entries: impl IntoIterator<Item = u32>) -> Vec<u8> {
    entries.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// How many grain tables a disk of `size` bytes has.
fn tables(size: u64) -> u64 {
    size.div_ceil(TABLE_COVERS)
}
