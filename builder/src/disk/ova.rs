//! An OVA: a tar of the description, the digests, and the disk as streamOptimized VMDK, in this order.
//!
//! What comes first tells the size and the digest of what comes last. So room is left for it, of a length that does not depend on them,
//! and it is filled in the end.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use tar::Header;
use uuid::Uuid;

use super::content::Map;
use super::ovf::{self, Disk, Machine, disk_name, envelope};
use super::pass::Sink;
use super::vmdk::Stream;
use crate::store::{Digest, DigestWriter};

const BLOCK: u64 = 512;
/// A file in a tar of the first form may not be larger: its size has eleven octal digits.
const FILE_MAX: u64 = 1 << 33;

/// A file being written.
pub(super) struct Ova<'a> {
    file: &'a File,
    machine: &'a Machine,
    capacity: u64,
    stream: Stream<DigestWriter<&'a File>>,
    places: Places,
}

/// Where the headers of the three files are, and how long the first two of them are.
#[derive(Debug, Clone, Copy)]
struct Places {
    envelope_len: u64,
    digests: u64,
    digests_len: u64,
    disk: u64,
}

impl Places {
    fn new(machine: &Machine) -> Self {
        let largest = Disk { capacity: u64::MAX, populated: u64::MAX, size: u64::MAX };
        let envelope_len = envelope(machine, largest).len() as u64;
        let none = Digest::of(b"");
        let digests_len = digests(machine, &none, &none).len() as u64;
        let digests = BLOCK + envelope_len.next_multiple_of(BLOCK);
        let disk = digests + BLOCK + digests_len.next_multiple_of(BLOCK);
        Self { envelope_len, digests, digests_len, disk }
    }
}

impl<'a> Ova<'a> {
    /// Leaves room for what comes before the disk, and begins with that.
    pub fn new(map: &Map, id: Uuid, machine: &'a Machine, mut file: &'a File) -> io::Result<Self> {
        let places = Places::new(machine);
        file.seek(SeekFrom::Start(places.disk + BLOCK))?;
        let stream = Stream::new(map, id, DigestWriter::new(file))?;
        Ok(Self { file, machine, capacity: map.size(), stream, places })
    }
}

impl Sink for Ova<'_> {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.stream.write(offset, data)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { mut file, machine, capacity, stream, places } = *self;
        let (out, populated) = stream.end()?;
        let size = out.written();
        let (disk_digest, _) = out.finish();
        if size >= FILE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "an OVA holds disks of less than 8 GiB, compressed",
            ));
        }
        let mut description = envelope(machine, Disk { capacity, populated, size }).into_bytes();
        // White space may follow the envelope.
        description.resize(places.envelope_len as usize, b'\n');
        let digests = digests(machine, &Digest::of(&description), &disk_digest);
        put(file, 0, &format!("{}.ovf", machine.name), description.len() as u64)?;
        file.write_all_at(&description, BLOCK)?;
        put(file, places.digests, &format!("{}.mf", machine.name), places.digests_len)?;
        file.write_all_at(digests.as_bytes(), places.digests + BLOCK)?;
        put(file, places.disk, &disk_name(machine), size)?;
        // Two blocks of zeros end a tar; the disk's last block is whole.
        file.seek(SeekFrom::End(0))?;
        file.write_all(&[0; 2 * BLOCK as usize])
    }
}

/// Writes the header of a file in the tar.
fn put(file: &File, at: u64, name: &str, size: u64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    file.write_all_at(header.as_bytes(), at)
}

/// The manifest of an OVA: digests of its other files.
fn digests(machine: &Machine, description: &Digest, disk: &Digest) -> String {
    let (name, disk_name) = (&machine.name, ovf::disk_name(machine));
    format!("SHA256({name}.ovf)= {}\nSHA256({disk_name})= {}\n", description.hex(), disk.hex())
}
