//! Compresses the code that the kernel can do without until it is first reached, in the form that `isopod_hal::packed` reads.

use lzzzz::lz4_hc;
use object::{Object as _, ObjectSection as _};

/// A page of x86-64.
const PAGE: usize = 4096;

/// How far a match of LZ4's block format reaches back: so much of the code before `.packed` is its dictionary.
const REACH: usize = (64 << 10) - 1;

/// The blocks of the kernel's section `.packed`; nothing where that is empty.
pub fn pack(kernel: &[u8]) -> Vec<u8> {
    let kernel = object::File::parse(kernel).expect("the linker writes an ELF");
    let section = |name| kernel.section_by_name(name).and_then(|section| section.data().ok());
    let code = section(".packed").unwrap_or_default();
    if code.is_empty() {
        return Vec::new();
    }
    let first = section(".first").unwrap_or_default();
    let dictionary = &first[first.len().saturating_sub(REACH)..];
    let blocks: Vec<Vec<u8>> = code.chunks(PAGE).map(|page| block(page, dictionary)).collect();
    let mut bytes = (blocks.len() as u32).to_le_bytes().to_vec();
    let mut at = 4 * (blocks.len() + 2);
    for length in blocks.iter().map(Vec::len).chain([0]) {
        bytes.extend((at as u32).to_le_bytes());
        at += length;
    }
    bytes.extend(blocks.concat());
    bytes
}

/// One page by itself, as small as LZ4 makes it.
fn block(code: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut page = [0; PAGE];
    page[..code.len()].copy_from_slice(code);
    let level = lz4_hc::CLEVEL_MAX;
    let mut block = Vec::new();
    let mut compressor =
        lz4_hc::Compressor::with_dict(dictionary, level).expect("a compressor takes little memory");
    compressor.next_to_vec(&page, &mut block).expect("the block grows as it has to");
    if block.len() >= PAGE {
        return page.to_vec();
    }
    let unpacked = lz4_flex::block::decompress_with_dict(&block, PAGE, dictionary);
    assert_eq!(
        unpacked.as_deref().ok(),
        Some(&page[..]),
        "one implementation reads what the other has written"
    );
    block
}
