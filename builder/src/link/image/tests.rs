//! Links with a kernel that is made up here, and reads the result back with a second ELF reader.

use std::io::{Read as _, Seek as _, SeekFrom};

use goblin::elf::Elf;
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};
use proptest::prelude::*;

use super::*;
use crate::link::directory::SECTION;
use crate::link::open;

const BASE: u64 = 0x20_0000;
const NOTE: &[u8] = b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0\0\x10\x20\0";

/// A kernel with a code segment that holds the boot directory, and a note in a segment of its own.
fn kernel() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);
    let names = [&b".text"[..], SECTION, b".note"].map(|name| writer.add_section_name(name));
    writer.reserve_file_header();
    writer.reserve_program_headers(3);
    let note = writer.reserve(NOTE.len() as u64, 4);
    let code = writer.reserve(0x100, PAGE);
    let directory = writer.reserve(SIZE as u64, 1);
    for _ in names {
        writer.reserve_section_index();
    }
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().unwrap();
    writer.reserve_section_headers();

    let header = object::write::elf::FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_X86_64,
        e_entry: BASE + code,
        e_flags: elf::FileFlags(0),
    };
    writer.write_file_header(&header).unwrap();
    writer.write_align_program_headers();
    let part =
        |offset, length| Part { name: ROOT, extent: Extent { start: BASE + offset, length }, bytes: None };
    let load = |offset, length| data_segment(&part(offset, length), offset);
    let with_bss = ProgramHeader { p_memsz: 0x5000, ..load(code, 0x100 + SIZE as u64) };
    writer.write_program_header(&with_bss);
    writer.write_program_header(&load(0, note + NOTE.len() as u64));
    writer.write_program_header(&ProgramHeader {
        p_type: elf::PT_NOTE,
        p_align: 4,
        ..load(note, NOTE.len() as u64)
    });
    writer.write(NOTE);
    writer.pad_until(code);
    writer.write(&[0x90; 0x100]);
    writer.write(&BootDirectory::default().encode());
    writer.write_shstrtab();
    writer.write_null_section_header();
    for (name, offset, length) in
        [(names[0], code, 0x100), (names[1], directory, SIZE as u64), (names[2], note, NOTE.len() as u64)]
    {
        let name = writer.section_name_offset(Some(name));
        writer.write_section_header(&data_section(name, &part(offset, length), offset));
    }
    writer.write_shstrtab_section_header();
    bytes
}

/// Links and returns the file with its bytes.
fn linked(manifest: &[u8], root: &[u8]) -> (tempfile::NamedTempFile, Vec<u8>) {
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(root).unwrap();
    source.seek(SeekFrom::Start(0)).unwrap();
    let mut out = tempfile::NamedTempFile::new().unwrap();
    let payload = Payload { manifest, root: RootBytes::File(&source), about: b"about" };
    write(KernelFile { elf: &kernel(), packed: b"" }, Some(&payload), out.as_file()).unwrap();
    let mut bytes = Vec::new();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.read_to_end(&mut bytes).unwrap();
    (out, bytes)
}

#[test]
fn a_second_reader_finds_every_part_where_a_loader_puts_it() {
    let (manifest, root) = (vec![1; 5000], vec![2; 3 * 4096]);
    let (_, bytes) = linked(&manifest, &root);
    let elf = Elf::parse(&bytes).unwrap();
    assert_eq!(elf.entry, BASE + 0x1000);
    let note = elf.program_headers.iter().find(|segment| segment.p_type == PT_NOTE).unwrap();
    assert_eq!(&bytes[note.file_range()], NOTE);

    let mut loads: Vec<_> = elf.program_headers.iter().filter(|s| s.p_type == PT_LOAD).collect();
    loads.sort_by_key(|segment| segment.p_paddr);
    for pair in loads.windows(2) {
        assert!(pair[0].p_paddr + pair[0].p_memsz <= pair[1].p_paddr, "segments overlap: {pair:?}");
    }
    assert!(
        loads.iter().all(|segment| segment.p_offset % segment.p_align == segment.p_vaddr % segment.p_align)
    );
    assert!(loads.iter().all(|segment| segment.p_offset % SECTOR == segment.p_vaddr % SECTOR));

    let memory = |extent: Extent| {
        let load = loads.iter().find(|load| load.p_paddr == extent.start).unwrap();
        assert_eq!((load.p_filesz, load.p_memsz), (extent.length, extent.length));
        assert_eq!(extent.start % PAGE, 0);
        &bytes[load.file_range()]
    };
    let code =
        loads.iter().find(|load| load.p_vaddr <= elf.entry && elf.entry < load.p_vaddr + load.p_filesz);
    let code = &bytes[code.unwrap().file_range()];
    assert_eq!(&code[..0x100], [0x90; 0x100]);
    let directory = BootDirectory::decode(&code[0x100..]).unwrap();
    assert_eq!(memory(directory.manifest), manifest);
    assert_eq!(memory(directory.root), root);
}

#[test]
fn what_was_linked_can_be_opened_again() {
    let (file, bytes) = linked(b"manifest", &[3; 4096]);
    let found = open(file.path()).unwrap().unwrap();
    assert_eq!((&*found.manifest, &*found.about), (&b"manifest"[..], &b"about"[..]));
    let (start, length) = found.root;
    assert_eq!(bytes[start as usize..][..length as usize], [3; 4096]);
    assert_eq!(bytes.len() as u64, start + length, "the root ends the file");

    std::fs::write(file.path(), kernel()).unwrap();
    assert!(open(file.path()).unwrap().is_none(), "a kernel alone is no image");
}

#[test]
fn the_same_parts_give_the_same_bytes() {
    assert_eq!(linked(b"m", &[7; 8192]).1, linked(b"m", &[7; 8192]).1);
}

#[test]
fn a_root_that_no_machine_could_load_is_refused() {
    let root = tempfile::tempfile().unwrap();
    root.set_len(LIMIT).unwrap();
    let out = tempfile::tempfile().unwrap();
    let error = write(
        KernelFile { elf: &kernel(), packed: b"" },
        Some(&Payload { manifest: b"m", root: RootBytes::File(&root), about: b"" }),
        &out,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the root takes 2048 MiB, but an image that is loaded into memory can hold at most 2048 MiB with its kernel"
    );
    assert_eq!(out.metadata().unwrap().len(), 0);
}

/// The kernel that this crate carries, with its symbols.
#[test]
fn the_guest_kernel_gets_its_symbols() {
    let mut out = tempfile::tempfile().unwrap();
    write(crate::kernel::FILE, None, &out).unwrap();
    let mut bytes = Vec::new();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.read_to_end(&mut bytes).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    let section = |name: &[u8]| {
        let name = str::from_utf8(name).unwrap();
        let found =
            elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name)).unwrap();
        (found.sh_addr, &bytes[found.file_range().unwrap()])
    };
    let (address, table) = section(SYMBOLS);
    assert_eq!(section(SECTION).1[48..56], address.to_le_bytes());
    let text = String::from_utf8_lossy(table);
    assert!(text.contains("isopod_hal::") && !text.contains("_ZN"), "names are demangled");
    let count = u32::from_le_bytes(table[..4].try_into().unwrap()) as usize;
    let offsets: Vec<u32> = table[4..][..count * 8]
        .chunks(8)
        .map(|pair| u32::from_le_bytes(pair[..4].try_into().unwrap()))
        .collect();
    assert!(offsets.is_sorted());
}

proptest! {
    #[test]
    fn damaged_kernels_are_refused_or_linked_but_never_panic(
        flips in prop::collection::vec((0usize..0x1400, any::<u8>()), 1..8),
        cut in prop::option::of(0usize..0x1400),
    ) {
        let mut bytes = kernel();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let root = tempfile::tempfile().unwrap();
        let payload = Payload { manifest: b"m", root: RootBytes::File(&root), about: b"" };
        let _ = write(KernelFile { elf: &bytes, packed: b"" }, Some(&payload), &tempfile::tempfile().unwrap());
    }
}

#[test]
fn a_segment_that_begins_where_another_ends_keeps_its_bytes() {
    let moved =
        [(0x100, 0x1000, 0x50), (0x150, 0x2000, 0x10)].map(|(from, to, length)| Moved { from, to, length });
    let places = [0x14f, 0x150, 0x160, 0x161].map(|offset| relocate(&moved, offset));
    assert_eq!(places, [Some(0x104f), Some(0x2000), Some(0x2010), None]);
}
