//! An image as a program that UEFI firmware starts, and every loader of Linux (`minikernel/hal/efi`).
//!
//! ```text
//! a page of headers: PE32+, and Linux' setup header where the root is inside
//! .text                                  the program, with the plan of what it loads
//! .reloc                                 nothing: some firmware wants one
//! .kernel                                a linked image without its root
//! .root                                  to the end of the file, unless it is on a partition
//! ```
//!
//! Everything lies in memory as it lies in the file, so that one plan serves whoever has loaded it.

use object::pe;
use object::write::pe::{NtHeaders, SectionRange, Writer};

use super::{LinkError, Loading};

/// Headers and code as they lie in memory.
const PROGRAM: &[u8] = include_bytes!(env!("ISOPOD_EFI"));
/// Where its parts begin, as `setup.s` and `start.s` have them: the plan, and what the firmware calls.
const PLAN: usize = 0x1008;
const ENTRY: u32 = 0x1208;
/// In the plan: the loads, and how many there can be.
const LOADS: usize = 48;
const LOAD: usize = 16;
const LOADS_MAX: usize = 16;
/// Boundary of sections in the file and in memory.
const PAGE: u32 = 4096;
/// The setup header and the code of 16 bits, with the PE's headers between them.
const SETUP: [std::ops::Range<usize>; 2] = [0x1f1..0x280, 0xd00..0x1000];
/// In the setup header: the length of what is loaded to 1 MiB in units of 16 bytes, and how much memory it needs there.
const SYSSIZE: usize = 0x1f4;
const INIT_SIZE: usize = 0x260;
/// Where Linux' loaders put what is behind the headers.
const PLACE: u32 = 1 << 20;

/// Where a program finds its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EfiRoot {
    /// Behind the program, so many bytes.
    Inside(u32),
    /// So many bytes of the partition with this identifier, as the GPT has it, on the disk that the program is read from.
    Partition([u8; 16], u32),
    /// Nowhere: the kernel looks for it.
    Unloaded,
}

/// A program, without a root that comes behind it.
#[derive(Debug)]
pub struct EfiProgram {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where the image that it loads begins in them.
    pub kernel: u64,
}

impl EfiProgram {
    /// A program that loads `image`, a linked one without its root, as `loading` says.
    ///
    /// # Errors
    /// [`LinkError`] for an image that cannot be loaded so.
    pub fn new(image: &[u8], loading: &Loading, root: EfiRoot) -> Result<Self, LinkError> {
        let (inside, root_len) = match root {
            EfiRoot::Inside(len) => (len, len),
            EfiRoot::Partition(_, len) => (0, len),
            EfiRoot::Unloaded => (0, 0),
        };
        let too_large = |_| LinkError::TooLarge { size: u64::from(root_len) };
        let failed = |error: object::write::Error| LinkError::Kernel(error.to_string());
        let text = &PROGRAM[PAGE as usize..];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(true, PAGE, PAGE, &mut bytes);
        writer.reserve_dos_header();
        writer.reserve_until(SETUP[0].end as u32);
        writer.reserve_nt_headers(16);
        writer.reserve_section_headers(if inside > 0 { 4 } else { 3 });
        writer.add_reloc(PAGE, pe::IMAGE_REL_BASED_ABSOLUTE);
        let code = pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_READ | pe::IMAGE_SCN_MEM_EXECUTE;
        let data = pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_READ;
        let section = |writer: &mut Writer<'_>, name: &[u8; 8], flags, len: usize| {
            let len = len.try_into().map_err(too_large)?;
            Ok::<_, LinkError>(writer.reserve_section(*name, flags, len, len))
        };
        let text_at = section(&mut writer, b".text\0\0\0", code, text.len())?;
        writer.reserve_reloc_section();
        let kernel_at = section(&mut writer, b".kernel\0", data, image.len())?;
        let root_at = match inside {
            0 => None,
            len => Some(section(&mut writer, b".root\0\0\0", data, len as usize)?),
        };
        writer.write_empty_dos_header().map_err(failed)?;
        writer.write_nt_headers(headers());
        writer.write_section_headers();
        writer.write_section(text_at.file_offset, text);
        writer.write_reloc_section();
        writer.write_section(kernel_at.file_offset, image);

        let plan = plan(loading, kernel_at, root, root_at)
            .ok_or_else(|| LinkError::Kernel("a loader of Linux cannot put it into its place".to_owned()))?;
        bytes[PLAN..][..plan.len()].copy_from_slice(&plan);
        if let Some(root) = root_at {
            for part in SETUP {
                bytes[part.clone()].copy_from_slice(&PROGRAM[part]);
            }
            let loaded = (root.file_offset + root.file_size - PAGE) / 16;
            bytes[SYSSIZE..][..4].copy_from_slice(&loaded.to_le_bytes());
            bytes[INIT_SIZE..][..4].copy_from_slice(&(loading.end - PLACE).to_le_bytes());
        }
        Ok(Self { bytes, kernel: u64::from(kernel_at.file_offset) })
    }
}

fn headers() -> NtHeaders {
    NtHeaders {
        machine: pe::IMAGE_FILE_MACHINE_AMD64,
        time_date_stamp: 0,
        characteristics: pe::IMAGE_FILE_EXECUTABLE_IMAGE | pe::IMAGE_FILE_LARGE_ADDRESS_AWARE,
        major_linker_version: 0,
        minor_linker_version: 0,
        address_of_entry_point: ENTRY,
        image_base: 0,
        major_operating_system_version: 0,
        minor_operating_system_version: 0,
        major_image_version: 0,
        minor_image_version: 0,
        major_subsystem_version: 0,
        minor_subsystem_version: 0,
        subsystem: pe::IMAGE_SUBSYSTEM_EFI_APPLICATION,
        dll_characteristics: pe::DllFlags(0),
        size_of_stack_reserve: 0,
        size_of_stack_commit: 0,
        size_of_heap_reserve: 0,
        size_of_heap_commit: 0,
    }
}

/// The plan (`minikernel/hal/efi/src/plan.rs`); `None` where there is no room for so many loads, or where one would overwrite another that
/// is yet to be moved.
fn plan(
    loading: &Loading,
    kernel: SectionRange,
    root: EfiRoot,
    root_at: Option<SectionRange>,
) -> Option<Vec<u8>> {
    let (partition, root_len) = match root {
        EfiRoot::Inside(len) => ([0; 16], len),
        EfiRoot::Partition(id, len) => (id, len),
        EfiRoot::Unloaded => ([0; 16], 0),
    };
    let kernel = kernel.virtual_address;
    let mut loads: Vec<[u32; 4]> = Vec::new();
    for part in &loading.segments {
        // What has no bytes in the file comes from nowhere.
        let behind = loads.last().map_or(kernel, |[from, _, len, _]| from + len);
        let offset = u32::try_from(part.offset).ok()?;
        let from = if part.len == 0 { behind } else { kernel.checked_add(offset)? };
        loads.push([from, part.to, part.len, part.zero]);
    }
    loads.extend(root_at.map(|at| [at.virtual_address, loading.root, root_len, 0]));
    let in_order = loads.is_sorted_by_key(|[from, ..]| from) && loads.is_sorted_by_key(|[_, to, ..]| to);
    if loads.len() > LOADS_MAX || !in_order || loads.iter().any(|[from, to, ..]| from - PAGE + PLACE > *to) {
        return None;
    }
    let words = [
        loading.entry,
        loading.directory,
        loading.root,
        0,
        root_len,
        root_at.map_or(0, |at| at.virtual_address),
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(partition);
    bytes.extend([loading.root, loads.len() as u32].iter().flat_map(|word| word.to_le_bytes()));
    debug_assert_eq!(bytes.len(), LOADS);
    bytes.extend(loads.iter().flatten().flat_map(|word| word.to_le_bytes()));
    bytes.resize(LOADS + LOADS_MAX * LOAD, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64};
    use object::{LittleEndian, Object as _, ObjectSection as _};

    use super::*;
    use crate::link::Segment;

    /// An image of three pages, of which the second is loaded where the first ends, with zeros behind it.
    fn loading() -> Loading {
        let segments = vec![
            Segment { offset: 0, len: 5000, to: 2 << 20, zero: 0 },
            Segment { offset: 0, len: 0, to: (2 << 20) + 8192, zero: 4096 },
            Segment { offset: 8192, len: 100, to: 3 << 20, zero: 28 },
        ];
        Loading { entry: 0x20_0010, segments, directory: 0x20_0100, root: 4 << 20, end: 5 << 20 }
    }

    fn words(bytes: &[u8], from: usize, count: usize) -> Vec<u32> {
        let words = bytes[from..].chunks_exact(4).take(count);
        words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn a_program_lies_in_memory_as_in_the_file() {
        let image = vec![7; 12_288];
        let mut bytes = EfiProgram::new(&image, &loading(), EfiRoot::Inside(8192)).unwrap().bytes;
        bytes.extend([9; 8192]);
        let file = PeFile64::parse(&*bytes).unwrap();
        let optional = file.nt_headers().optional_header();
        assert_eq!(optional.subsystem(), pe::IMAGE_SUBSYSTEM_EFI_APPLICATION);
        assert_eq!(optional.size_of_image() as usize, bytes.len());
        for section in file.section_table().iter() {
            let (memory, file) =
                (section.virtual_address.get(LittleEndian), section.pointer_to_raw_data.get(LittleEndian));
            assert_eq!(memory, file);
        }
        assert_eq!(file.section_by_name(".kernel").unwrap().data().unwrap(), image);
        assert_eq!(file.section_by_name(".root").unwrap().data().unwrap(), [9; 8192]);
        assert_eq!(file.section_by_name(".text").unwrap().kind(), object::SectionKind::Text);
    }

    #[test]
    fn the_plan_says_what_goes_where() {
        let image = vec![7; 12_288];
        let program = EfiProgram::new(&image, &loading(), EfiRoot::Inside(8192)).unwrap();
        let (bytes, kernel) = (&program.bytes, program.kernel as u32);
        let root = kernel + 12_288;
        assert_eq!(words(bytes, PLAN, 6), [0x20_0010, 0x20_0100, 4 << 20, 0, 8192, root]);
        assert_eq!(words(bytes, PLAN + 40, 2), [4 << 20, 4]);
        let loads = [
            [kernel, 2 << 20, 5000, 0],
            [kernel + 5000, (2 << 20) + 8192, 0, 4096],
            [kernel + 8192, 3 << 20, 100, 28],
            [root, 4 << 20, 8192, 0],
        ];
        assert_eq!(words(bytes, PLAN + LOADS, 16), loads.concat());
        assert_eq!(
            (&bytes[0x202..0x206], words(bytes, SYSSIZE, 1)[0]),
            (&b"HdrS"[..], (root + 8192 - PAGE) / 16)
        );
        assert_eq!(words(bytes, INIT_SIZE, 1), [4 << 20]);

        let program = EfiProgram::new(&image, &loading(), EfiRoot::Partition([3; 16], 8192)).unwrap();
        assert_eq!(
            words(&program.bytes, PLAN + 16, 6),
            [8192, 0, 0x0303_0303, 0x0303_0303, 0x0303_0303, 0x0303_0303]
        );
        assert_eq!(words(&program.bytes, PLAN + 44, 1), [3]);
        // Without its root nothing but firmware can start it.
        assert_eq!(program.bytes[0x202..0x206], [0; 4]);
    }

    #[test]
    fn what_cannot_be_moved_in_place_is_refused() {
        let image = vec![7; 12_288];
        let refused = |segments: Vec<Segment>| {
            let loading = Loading { segments, ..loading() };
            let error = EfiProgram::new(&image, &loading, EfiRoot::Inside(8192)).unwrap_err();
            assert!(matches!(error, LinkError::Kernel(_)), "{error}");
        };
        let [first, _, last] = loading().segments.try_into().unwrap();
        refused(vec![last, first]);
        refused(vec![Segment { to: 1 << 20, ..first }, last]);
        refused(vec![first; LOADS_MAX + 1]);
    }
}
