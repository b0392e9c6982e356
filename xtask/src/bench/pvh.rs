//! The smallest programs that a hypervisor can enter by PVH: the yardstick for what a machine costs without a kernel.

use std::path::Path;

use anyhow::Result;

/// Where the program lies and is entered.
const ADDRESS: u32 = 0x10_0000;

/// Ends the machine at its first instruction: `ud2` without an interrupt table is a triple fault, and QEMU started
/// with `-no-reboot` ends at that.
pub const END: [u8; 2] = [0x0f, 0x0b];

/// Prints the time-stamp counter found at the entry on the first serial port as 16 hexadecimal digits, low byte first
/// within each half, then ends the machine. 32-bit code, as PVH enters it.
pub const PRINT_COUNTER: [u8; 39] = [
    0x0f, 0x31, // rdtsc
    0x89, 0xd5, // mov ebp, edx
    0x89, 0xc3, // mov ebx, eax
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xbf, 0x02, 0x00, 0x00, 0x00, // mov edi, 2          two halves
    0xb9, 0x08, 0x00, 0x00, 0x00, // half: mov ecx, 8    eight digits
    0xc1, 0xc3, 0x04, // digit: rol ebx, 4               highest digit first
    0x88, 0xd8, // mov al, bl
    0x24, 0x0f, // and al, 15
    0x04, 0x41, // add al, 'A'                           'A' stands for 0, 'P' for 15
    0xee, // out dx, al
    0xe2, 0xf4, // loop digit
    0x89, 0xeb, // mov ebx, ebp
    0x4f, // dec edi
    0x75, 0xea, // jnz half
    0x0f, 0x0b, // ud2
];

/// What [`PRINT_COUNTER`] printed: the low half, then the high half, in digits from `A` to `P`.
pub fn counter(text: &[u8]) -> Option<u64> {
    let digits: Vec<u64> = text
        .iter()
        .filter(|digit| (b'A'..=b'P').contains(digit))
        .map(|digit| u64::from(digit - b'A'))
        .collect();
    let half = |digits: &[u64]| digits.iter().fold(0, |number, digit| number << 4 | digit);
    (digits.len() == 16).then(|| half(&digits[8..]) << 32 | half(&digits[..8]))
}

/// Writes an ELF with a PVH note that holds this code.
pub fn write(path: &Path, code: &[u8]) -> Result<()> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    let note_offset = HEADER + 2 * PROGRAM_HEADER;
    let note: Vec<u8> = [
        &4u32.to_le_bytes()[..], // length of the name
        &4u32.to_le_bytes(),     // length of the value
        &18u32.to_le_bytes(),    // XEN_ELFNOTE_PHYS32_ENTRY
        b"Xen\0",
        &ADDRESS.to_le_bytes(),
    ]
    .concat();
    let code_offset = 4096;
    let program_header =
        |kind: u32, flags: u32, offset: usize, address: u32, size: usize, align: u64| -> Vec<u8> {
            let words = [offset as u64, address.into(), address.into(), size as u64, size as u64, align];
            let head = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
            head.into_iter().chain(words.into_iter().flat_map(u64::to_le_bytes)).collect()
        };
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2u16, 62].into_iter().flat_map(u16::to_le_bytes)); // executable, x86-64
    file.extend(1u32.to_le_bytes());
    file.extend([u64::from(ADDRESS), HEADER as u64, 0].into_iter().flat_map(u64::to_le_bytes));
    file.extend(0u32.to_le_bytes());
    file.extend(
        [HEADER, PROGRAM_HEADER, 2, 64, 0, 0].into_iter().flat_map(|number| (number as u16).to_le_bytes()),
    );
    file.extend(program_header(1, 5, code_offset, ADDRESS, code.len(), 4096)); // PT_LOAD
    file.extend(program_header(4, 4, note_offset, 0, note.len(), 4)); // PT_NOTE
    file.extend(note);
    file.resize(code_offset, 0);
    file.extend(code);
    std::fs::write(path, file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn reads_a_counter() {
        assert_eq!(counter(b"AAAAAABPAAAAAAAB"), Some(0x1_0000_001f));
        assert_eq!(counter(b"AAAA"), None);
    }
}
