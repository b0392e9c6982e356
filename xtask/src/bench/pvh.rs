//! The smallest programs that a hypervisor can enter by PVH: the yardstick for what a machine costs without a kernel.

use std::path::PathBuf;

use anyhow::Result;
use isopod_e2e::programs;

/// A kernel that ends the machine at its first instruction.
pub fn end() -> Result<PathBuf> {
    compile("pvh-end.S")
}

/// A kernel that prints the time-stamp counter found at its entry, for [`counter`] to read, and ends the machine.
pub fn print_counter() -> Result<PathBuf> {
    compile("pvh-counter.S")
}

fn compile(source: &str) -> Result<PathBuf> {
    programs::compile("gcc", source, &["-static", "-nostdlib", "-Wl,--build-id=none,-Ttext=0x100000"])
}

/// What the kernel printed: the low half, then the high half, in digits from `A` to `P`.
pub fn counter(text: &[u8]) -> Option<u64> {
    let digits: Vec<u64> = text
        .iter()
        .filter(|digit| (b'A'..=b'P').contains(digit))
        .map(|digit| u64::from(digit - b'A'))
        .collect();
    let half = |digits: &[u64]| digits.iter().fold(0, |number, digit| number << 4 | digit);
    (digits.len() == 16).then(|| half(&digits[8..]) << 32 | half(&digits[..8]))
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
