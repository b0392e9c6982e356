//! The kernel saves xmm0-15 at its border and nothing wider: no instruction of its code may touch ymm or zmm registers.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, workspace};

/// Builds the kernel (the builder's build script does) and reads its disassembly.
pub fn check() -> Result<()> {
    process::run(workspace::cargo().args(["build", "--quiet", "--package", "isopod"]))?;
    let kernel = workspace::kernel();
    let listing = process::output(Command::new("objdump").args(["-d", "--wide"]).arg(&kernel))?;
    let listing = String::from_utf8_lossy(&listing);
    let instructions = listing.lines().filter_map(bytes_of).count();
    if instructions == 0 {
        bail!("objdump shows no instruction in {}", kernel.display());
    }
    let wide: Vec<_> =
        listing.lines().filter(|line| bytes_of(line).is_some_and(|bytes| is_vex(&bytes))).collect();
    if !wide.is_empty() {
        bail!("{} VEX or EVEX instructions in {}:\n{}", wide.len(), kernel.display(), wide.join("\n"));
    }
    Ok(())
}

/// The instruction's bytes in a line of `objdump -d`: `address:<tab>bytes<tab>mnemonic`.
fn bytes_of(line: &str) -> Option<Vec<u8>> {
    let (address, rest) = line.split_once(":\t")?;
    u64::from_str_radix(address.trim(), 16).ok()?;
    let (bytes, _mnemonic) = rest.split_once('\t')?;
    bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

/// Whether an instruction is encoded with VEX (0xc4, 0xc5), EVEX (0x62) or XOP (0x8f): in 64-bit mode these opcodes
/// mean nothing else, but for 0x8f with a zero register field, which is `pop` (AMD64 manual volume 3, 1.1).
fn is_vex(bytes: &[u8]) -> bool {
    const LEGACY_PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    let mut rest = bytes.iter().skip_while(|byte| LEGACY_PREFIXES.contains(byte));
    match rest.next() {
        Some(0xc4 | 0xc5 | 0x62) => true,
        Some(0x8f) => rest.next().is_some_and(|second| second & 0x1f >= 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, is_vex};

    #[test]
    fn reads_a_line_of_objdump() {
        let line = "ffffffff80000000:\tc5 fc 58 c1          \tvaddps %ymm1,%ymm0,%ymm0";
        assert_eq!(bytes_of(line), Some(vec![0xc5, 0xfc, 0x58, 0xc1]));
        assert_eq!(bytes_of("0000000000200000 <_start>:"), None);
        assert_eq!(bytes_of("kernel:     file format elf64-x86-64"), None);
    }

    #[test]
    fn tells_vex_from_the_rest() {
        assert!(is_vex(&[0xc5, 0xf8, 0x77])); // vzeroupper
        assert!(is_vex(&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1])); // vaddps zmm
        assert!(is_vex(&[0xc4, 0xe2, 0x78, 0xf2, 0xc1])); // andn
        assert!(!is_vex(&[0x0f, 0xae, 0x27])); // xsave
        assert!(!is_vex(&[0x8f, 0x00])); // pop (%rax)
        assert!(!is_vex(&[0x66, 0x0f, 0x58, 0xc1])); // addpd xmm
        assert!(!is_vex(&[0xf3, 0x48, 0xa5])); // rep movsq
    }
}
