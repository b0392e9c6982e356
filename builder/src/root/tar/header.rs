//! The fields of one header, which the `tar` crate lays out; numbers and names as Go's `archive/tar` reads them.

use ::tar::Header;

use super::{TarProblem, until_nul};

/// Bytes that the checksum field itself stands for.
const SPACES: i64 = 8 * b' ' as i64;

/// Whether the checksum is that of the header's bytes, which old archivers took for signed.
pub(super) fn has_checksum(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let field = 148..156;
    let outside = || bytes[..field.start].iter().chain(&bytes[field.end..]);
    let unsigned = outside().map(|&byte| i64::from(byte)).sum::<i64>() + SPACES;
    let signed = outside().map(|&byte| i64::from(byte.cast_signed())).sum::<i64>() + SPACES;
    number(&bytes[field.clone()]).is_some_and(|sum| sum == unsigned || sum == signed)
}

/// A numeric field: octal digits between spaces and NULs, none of which is 0, or GNU's base 256 in two's complement.
/// `None` for anything else, and for what 64 bits cannot hold.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The topmost bit marks the form, the next one is the sign.
        let first = i128::from(((first << 1).cast_signed()) >> 1);
        let wide =
            rest.iter().try_fold(first, |sum, &byte| sum.checked_mul(256).map(|sum| sum | i128::from(byte)));
        return wide.and_then(|wide| i64::try_from(wide).ok());
    }
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field.split(|&byte| byte == 0).find(|part| !part.iter().all(padding));
    let Some(digits) = digits.map(<[u8]>::trim_ascii) else { return Some(0) };
    digits.iter().try_fold(0_i64, |sum, &digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// A numeric field that cannot be negative; `what` names it in the error.
pub(super) fn unsigned(field: &[u8], what: &'static str) -> Result<u64, TarProblem> {
    number(field).and_then(|number| u64::try_from(number).ok()).ok_or(TarProblem::Number(what))
}

/// How many bytes of contents follow the header.
pub(super) fn size(header: &Header) -> Result<u64, TarProblem> {
    unsigned(&header.as_old().size, "size")
}

/// The name, with the prefix that POSIX headers may have before it.
pub(super) fn path(header: &Header) -> Vec<u8> {
    let name = until_nul(header.as_old().name.to_vec());
    let Some(ustar) = header.as_ustar() else { return name };
    // Schilling's star keeps times in the last 24 bytes of the prefix, and marks that at the header's end.
    let len = if header.as_bytes().ends_with(b"tar\0") { 131 } else { ustar.prefix.len() };
    let mut path = until_nul(ustar.prefix[..len].to_vec());
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(name);
    path
}

/// What a link points to.
pub(super) fn link(header: &Header) -> Vec<u8> {
    until_nul(header.as_old().linkname.to_vec())
}

/// Major and minor number of a device.
pub(super) fn device(header: &Header) -> Result<(u64, u64), TarProblem> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
        (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
        _ => return Ok((0, 0)),
    };
    Ok((unsigned(major, "device number")?, unsigned(minor, "device number")?))
}
