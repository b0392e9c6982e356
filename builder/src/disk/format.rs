//! The formats by their names.

use std::fmt;
use std::fs::File;
use std::io;

use super::content::Map;
use super::layout::{ALIGNMENT, Disk};
use super::ovf::Machine;
use super::pass::{self, PassError, Sink};
use super::raw::Raw;
use super::{DiskError, containerdisk, gce, iso, ova, qcow2, vhd, vhdx, vmdk};

/// How a disk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Its bytes, with holes.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VMware's streamOptimized VMDK, for imports.
    Vmdk,
    /// VMware's monolithicSparse VMDK, to run from.
    VmdkSparse,
    /// A machine with its disk, for VMware and VirtualBox.
    Ova,
    /// Hyper-V's fixed VHD, which Azure takes.
    Vhd,
    /// Hyper-V's dynamic VHDX.
    Vhdx,
    /// The archive that Google Cloud imports.
    Gce,
    /// A CD that is a disk, too.
    Iso,
    /// KubeVirt's image in an `oci-archive`.
    ContainerDisk,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Raw,
        Self::Qcow2,
        Self::Vmdk,
        Self::VmdkSparse,
        Self::Ova,
        Self::Vhd,
        Self::Vhdx,
        Self::Gce,
        Self::Iso,
        Self::ContainerDisk,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::VmdkSparse => "vmdk-sparse",
            Self::Ova => "ova",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Gce => "gce",
            Self::Iso => "iso",
            Self::ContainerDisk => "containerdisk",
        }
    }

    /// How names of its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::VmdkSparse => "sparse.vmdk",
            Self::Gce => "tar.gz",
            Self::ContainerDisk => "oci.tar",
            named => named.name(),
        }
    }

    /// The largest disk that it has room for, in bytes.
    fn limit(self) -> u64 {
        match self {
            Self::Raw | Self::Gce => i64::MAX as u64,
            Self::Qcow2 | Self::ContainerDisk => 64 << 40,
            Self::Vmdk | Self::VmdkSparse | Self::Ova => vmdk::LIMIT,
            Self::Vhd => vhd::LIMIT,
            Self::Vhdx => vhdx::LIMIT,
            Self::Iso => iso::LIMIT,
        }
    }

    fn check(self, map: &Map) -> Result<(), DiskError> {
        let (size, limit) = (map.size(), self.limit());
        if size > limit {
            return Err(DiskError::TooLarge { format: self, size, limit });
        }
        debug_assert!(size.is_multiple_of(ALIGNMENT));
        Ok(())
    }

    fn sink<'s>(
        self,
        disk: &'s Disk<'_>,
        machine: &'s Machine,
        file: &'s File,
    ) -> io::Result<Box<dyn Sink + 's>> {
        let (map, id) = (disk.bytes.map(), disk.id);
        Ok(match self {
            Self::Raw => Box::new(Raw::new(file, map.size(), None)),
            Self::Vhd => {
                let footer = vhd::footer(map.size(), id);
                Box::new(Raw::new(file, map.size() + footer.len() as u64, Some((map.size(), footer))))
            }
            Self::Iso => Box::new(Raw::new(file, map.size(), Some((iso::START, iso::volume(disk))))),
            Self::Qcow2 => Box::new(qcow2::Qcow2::new(map, file)?),
            Self::Vmdk => Box::new(vmdk::Stream::new(map, id, file)?),
            Self::VmdkSparse => Box::new(vmdk::Sparse::new(map, id, file)?),
            Self::Vhdx => Box::new(vhdx::Vhdx::new(map, id, file)?),
            Self::Gce => Box::new(gce::Gce::new(map, file)?),
            Self::Ova => Box::new(ova::Ova::new(map, id, machine, file)?),
            Self::ContainerDisk => Box::new(containerdisk::ContainerDisk::new(map, file)?),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes a disk in several formats, reading it once. The files are empty; `machine` is what an OVA says of the machine. The same disk
/// gives the same bytes.
///
/// # Errors
/// [`DiskError::TooLarge`] before anything is written; a part that cannot be read, or a file that cannot be written, in the midst.
pub fn write(disk: &Disk<'_>, machine: &Machine, outputs: &[(Format, &File)]) -> Result<(), DiskError> {
    outputs.iter().try_for_each(|(format, _)| format.check(disk.bytes.map()))?;
    let failed = |format: Format| move |source| DiskError::Write { format, source };
    let sinks = outputs
        .iter()
        .map(|&(format, file)| format.sink(disk, machine, file).map_err(failed(format)))
        .collect::<Result<_, _>>()?;
    pass::run(&disk.bytes, sinks).map_err(|error| match error {
        PassError::Read(error) => DiskError::Read(error),
        PassError::Write(number, source) => failed(outputs[number].0)(source),
    })
}
