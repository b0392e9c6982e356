//! ELF programs written by hand, so that a test decides about every field.

/// `PT_LOAD`
pub const LOAD: u32 = 1;
/// `PT_INTERP`
pub const INTERP: u32 = 3;
/// `PT_GNU_STACK`
pub const STACK: u32 = 0x6474_e551;

/// Where the first segment of [`Elf::program`] lies in memory.
pub const BASE: u64 = 0x40_0000;
/// The status with which [`Elf::program`] ends.
pub const STATUS: i32 = 7;

/// `mov $60, %eax; mov $7, %edi; syscall`: exit(2).
const CODE: [u8; 12] = [0xb8, 60, 0, 0, 0, 0xbf, STATUS as u8, 0, 0, 0, 0x0f, 0x05];

/// Size of the header and of a program header.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// A program header, with the fields of `Elf64_Phdr` (elf(5)).
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// `p_type`
    pub kind: u32,
    /// `p_flags`
    pub flags: u32,
    /// `p_offset`
    pub offset: u64,
    /// `p_vaddr` and `p_paddr`
    pub address: u64,
    /// `p_filesz`
    pub file_size: u64,
    /// `p_memsz`
    pub memory_size: u64,
    /// `p_align`
    pub alignment: u64,
}

/// A program that is being put together: the fields of `Elf64_Ehdr` that matter, the program headers, and what follows them.
#[derive(Clone, Debug)]
pub struct Elf {
    /// `e_ident`
    pub ident: [u8; 16],
    /// `e_type`
    pub kind: u16,
    /// `e_machine`
    pub machine: u16,
    /// `e_entry`
    pub entry: u64,
    /// `e_phoff`
    pub headers_offset: u64,
    /// `e_phentsize`
    pub header_size: u16,
    /// `e_phnum`; `None` for as many as there are.
    pub headers_count: Option<u16>,
    /// The program headers.
    pub segments: Vec<Segment>,
    /// The bytes behind them.
    pub content: Vec<u8>,
}

impl Elf {
    /// A static program that ends with [`STATUS`]: one segment of the whole file, and one of a page that can be written.
    pub fn program() -> Self {
        let code = (HEADER + 2 * PROGRAM_HEADER) as u64;
        let end = code + CODE.len() as u64;
        let segment = |flags, address, file_size, memory_size| Segment {
            kind: LOAD,
            flags,
            offset: 0,
            address,
            file_size,
            memory_size,
            alignment: 4096,
        };
        Self {
            ident: *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
            kind: 2,
            machine: 62,
            entry: BASE + code,
            headers_offset: HEADER as u64,
            header_size: PROGRAM_HEADER as u16,
            headers_count: None,
            segments: vec![segment(5, BASE, end, end), segment(6, BASE + 0x1000, 0, 0x1000)],
            content: CODE.to_vec(),
        }
    }

    /// The same program with an interpreter: these bytes in place of its path.
    pub fn with_interpreter(path: &[u8]) -> Self {
        let mut elf = Self::program();
        let offset = (HEADER + 3 * PROGRAM_HEADER + CODE.len()) as u64;
        elf.entry += PROGRAM_HEADER as u64;
        let length = path.len() as u64;
        let segment = Segment {
            kind: INTERP,
            flags: 4,
            offset,
            address: BASE + offset,
            file_size: length,
            memory_size: length,
            alignment: 1,
        };
        elf.segments.insert(0, segment);
        elf.segments[1].file_size = offset + length;
        elf.segments[1].memory_size = offset + length;
        elf.content.extend_from_slice(path);
        elf
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.ident.to_vec();
        let count = self.headers_count.unwrap_or(self.segments.len() as u16);
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.machine.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        for word in [self.entry, self.headers_offset, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [HEADER as u16, self.header_size, count, 0, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        for segment in &self.segments {
            bytes.extend(segment.kind.to_le_bytes());
            bytes.extend(segment.flags.to_le_bytes());
            let Segment { offset, address, file_size, memory_size, alignment, .. } = *segment;
            for word in [offset, address, address, file_size, memory_size, alignment] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend_from_slice(&self.content);
        bytes
    }
}
