//! The kernel's symbol table in the form that the kernel itself reads, so that a report of a fault names functions.
//!
//! Little endian: a `u32` count; `count` pairs of `u32` (offset of the function from [`KERNEL_BASE`], offset of its name in the
//! names), sorted by the first; the names, each ended by a NUL.

use object::elf;
use object::read::elf::{FileHeader as _, Sym as _};

use super::LinkError;
use super::kernel::ENDIAN;

/// Where the kernel's half of the address space starts: what the code model `kernel` gives it.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// The table of the functions in the kernel's ELF. Empty for a kernel that was stripped.
pub(super) fn table(kernel: &[u8]) -> Result<Vec<u8>, LinkError> {
    let functions = functions(kernel).map_err(|error| LinkError::Kernel(error.to_string()))?;
    if functions.is_empty() {
        return Ok(Vec::new());
    }
    let (mut pairs, mut names) = (Vec::new(), Vec::new());
    for (offset, name) in &functions {
        pairs.extend_from_slice(&offset.to_le_bytes());
        pairs.extend_from_slice(&(names.len() as u32).to_le_bytes());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    Ok([&(functions.len() as u32).to_le_bytes()[..], &pairs, &names].concat())
}

/// The address of the function `name` by such a table.
pub(super) fn find(table: &[u8], name: &str) -> Option<u64> {
    let (count, rest) = table.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (pairs, names) = rest.split_at_checked(count.checked_mul(8)?)?;
    let halves = pairs.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes).collect::<Vec<_>>();
    let ended = [name.as_bytes(), b"\0"].concat();
    let is_named = |at: u32| names.get(at as usize..).is_some_and(|rest| rest.starts_with(&ended));
    let [offset, _] = halves.as_chunks::<2>().0.iter().find(|[_, at]| is_named(*at))?;
    Some(KERNEL_BASE + u64::from(*offset))
}

/// Functions by their offset, each offset once.
fn functions(kernel: &[u8]) -> object::Result<Vec<(u32, String)>> {
    let header = elf::FileHeader64::parse(kernel)?;
    let sections = header.sections(ENDIAN, kernel)?;
    let symbols = sections.symbols(ENDIAN, kernel, elf::SHT_SYMTAB)?;
    let mut functions = Vec::new();
    for symbol in symbols.iter().filter(|symbol| symbol.st_type() == elf::STT_FUNC) {
        let offset =
            symbol.st_value(ENDIAN).checked_sub(KERNEL_BASE).and_then(|offset| u32::try_from(offset).ok());
        let Some(offset) = offset else { continue };
        let name = String::from_utf8_lossy(symbol.name(ENDIAN, symbols.strings())?).into_owned();
        // Without the hash that tells crates of one name apart.
        functions.push((offset, format!("{:#}", rustc_demangle::demangle(&name)).replace('\0', "")));
    }
    functions.sort();
    functions.dedup_by_key(|(offset, _)| *offset);
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_whole_name() {
        let table = table(crate::kernel::FILE.elf).unwrap();
        let found = find(&table, "isopod_program_begins").unwrap();
        assert!(found > KERNEL_BASE && find(&table, "isopod_program_begin").is_none());
        for damaged in [&table[..0], &table[..100]] {
            assert_eq!(find(damaged, "isopod_program_begins"), None);
        }
    }
}
