//! Compresses the code that the kernel can do without until it is first reached, in the form that the kernel unpacks.

use isopod_packed::{Codes, PAGE, Packed};
use object::{Object as _, ObjectSection as _};

/// The packed pages of the kernel's section `.packed`; nothing where that is empty.
pub fn pack(kernel: &[u8]) -> Vec<u8> {
    let kernel = object::File::parse(kernel).expect("the linker writes an ELF");
    let section = |name| kernel.section_by_name(name).and_then(|section| section.data().ok());
    let code = section(".packed").unwrap_or_default();
    if code.is_empty() {
        return Vec::new();
    }
    let dictionary = section(".first").unwrap_or_default();
    let packed = isopod_packed::pack(code, dictionary);
    check(&packed, code, dictionary);
    packed
}

/// The kernel would have an error wherever it came to a page that is another one now.
fn check(packed: &[u8], code: &[u8], dictionary: &[u8]) {
    let (mut codes, mut page) = (Codes::new(), [0; PAGE]);
    for (index, code) in code.chunks(PAGE).enumerate() {
        let unpacked = Packed::new(packed).unpack(index, dictionary, &mut codes, &mut page);
        assert!(unpacked.is_some() && page.starts_with(code), "page {index} is unpacked as it was packed");
    }
}
