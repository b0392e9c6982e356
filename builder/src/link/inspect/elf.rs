//! What an ELF says of how it is to be loaded, read piece by piece: a program may be far larger than what is looked at.

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::dynamic::{self, Dynamic};
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader};

use super::{Entry, InspectError};

/// Sizes that no real object exceeds, in bytes: of a string (`PATH_MAX`), and of a dynamic section.
const STRING_MAX: usize = 4096;
const DYNAMIC_MAX: u64 = 64 << 10;

/// An executable or shared object.
#[derive(Debug)]
pub(super) struct Object {
    /// Its `e_entry`.
    pub entry: u64,
    /// Its `PT_INTERP`.
    pub interpreter: Option<Vec<u8>>,
    /// Its `DT_NEEDED`.
    pub needed: Vec<Vec<u8>>,
    /// Its `DT_RPATH`, which counts only without a `DT_RUNPATH`.
    pub rpath: Option<Vec<u8>>,
    /// Its `DT_RUNPATH`.
    pub runpath: Option<Vec<u8>>,
}

impl Object {
    /// Reads `entry`, which messages call `path`.
    pub fn read(entry: &Entry, path: &[u8]) -> Result<Self, InspectError> {
        Reader { entry, path }.object()
    }
}

struct Reader<'a> {
    entry: &'a Entry,
    path: &'a [u8],
}

impl Reader<'_> {
    fn object(&self) -> Result<Object, InspectError> {
        let head = self.entry.read(0, header::header64::SIZEOF_EHDR)?;
        if !head.starts_with(header::ELFMAG) {
            return Err(InspectError::NotAProgram { path: self.path.to_vec() });
        }
        self.check_machine(&head)?;
        let header = goblin::elf::Elf::parse_header(&head).map_err(|error| self.malformed(error))?;
        if !matches!(header.e_type, header::ET_EXEC | header::ET_DYN) {
            return Err(self.malformed("it is neither an executable nor a shared object"));
        }
        let segments = self.segments(&header)?;
        let interpreter = match segments.iter().find(|segment| segment.p_type == PT_INTERP) {
            Some(segment) => Some(self.string(segment.p_offset)?),
            None => None,
        };
        let mut object =
            Object { entry: header.e_entry, interpreter, needed: Vec::new(), rpath: None, runpath: None };
        if let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) {
            self.dynamic(segment, &segments, &mut object)?;
        }
        Ok(object)
    }

    fn check_machine(&self, head: &[u8]) -> Result<(), InspectError> {
        let machine = match (head.get(header::EI_CLASS), head.get(header::EI_DATA), head.get(18..20)) {
            (Some(&header::ELFCLASS64), Some(&header::ELFDATA2LSB), Some(machine)) => {
                let machine = u16::from_le_bytes([machine[0], machine[1]]);
                if machine == header::EM_X86_64 {
                    return Ok(());
                }
                header::machine_to_str(machine).trim_start_matches("EM_").to_ascii_lowercase()
            }
            (Some(&header::ELFCLASS32), ..) => "a 32-bit machine".to_owned(),
            (_, Some(&header::ELFDATA2MSB), _) => "a big-endian machine".to_owned(),
            _ => return Err(self.malformed("its header is cut short")),
        };
        Err(InspectError::Machine { path: self.path.to_vec(), machine })
    }

    fn segments(&self, header: &Header) -> Result<Vec<ProgramHeader>, InspectError> {
        let count = usize::from(header.e_phnum);
        let table = self.exactly(header.e_phoff, count as u64 * ProgramHeader::size(CTX) as u64)?;
        ProgramHeader::parse(&table, 0, count, CTX).map_err(|error| self.malformed(error))
    }

    fn dynamic(
        &self,
        segment: &ProgramHeader,
        segments: &[ProgramHeader],
        object: &mut Object,
    ) -> Result<(), InspectError> {
        if segment.p_filesz > DYNAMIC_MAX {
            return Err(self.malformed("its dynamic section is absurdly large"));
        }
        let bytes = self.exactly(segment.p_offset, segment.p_filesz)?;
        // The section stands alone here, so its segment starts at offset 0.
        let here = ProgramHeader { p_offset: 0, ..segment.clone() };
        let parsed = Dynamic::parse(&bytes, &[here], CTX).map_err(|error| self.malformed(error))?;
        let Some(Dynamic { dyns, .. }) = parsed else { return Ok(()) };
        let value = |tag| dyns.iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val);
        let Some(strings) = value(dynamic::DT_STRTAB) else { return Ok(()) };
        let strings = file_offset(segments, strings)
            .ok_or_else(|| self.malformed("its string table is in no segment"))?;
        let string = |offset: u64| match strings.checked_add(offset) {
            Some(offset) => self.string(offset),
            None => Err(self.malformed("a string lies outside of the file")),
        };
        for entry in dyns.iter().filter(|entry| entry.d_tag == dynamic::DT_NEEDED) {
            object.needed.push(string(entry.d_val)?);
        }
        object.rpath = value(dynamic::DT_RPATH).map(string).transpose()?;
        object.runpath = value(dynamic::DT_RUNPATH).map(string).transpose()?;
        Ok(())
    }

    /// The string at `offset` of the file, without its NUL.
    fn string(&self, offset: u64) -> Result<Vec<u8>, InspectError> {
        let mut bytes = self.entry.read(offset, STRING_MAX)?;
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(end.ok_or_else(|| self.malformed("a string in it has no end"))?);
        Ok(bytes)
    }

    fn exactly(&self, offset: u64, length: u64) -> Result<Vec<u8>, InspectError> {
        let bytes = self.entry.read(offset, usize::try_from(length).unwrap_or(usize::MAX))?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(self.malformed("it is cut short")) }
    }

    fn malformed(&self, what: impl std::fmt::Display) -> InspectError {
        InspectError::Malformed { path: self.path.to_vec(), what: what.to_string() }
    }
}

/// The only kind of ELF that is read on.
const CTX: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// Where in the file the byte at a virtual address comes from.
fn file_offset(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    segments.iter().filter(|segment| segment.p_type == PT_LOAD).find_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr).filter(|into| *into < segment.p_filesz)?;
        segment.p_offset.checked_add(into)
    })
}
