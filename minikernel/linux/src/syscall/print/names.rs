//! Names of values and flags.
//!
//! A set is a text of words, each the name of the number behind that of the word before it, from 0 on. `PREFIX:` stands before all that follow, a
//! number says what the next word names, and `-` names nothing. Behind `|N` words name bits, from bit N on, and those below are one number.
//! There, `*HEX` says that the next word names all these bits, if they are set. `!` before a word keeps the prefix away, `+` the bar, too.

use alloc::string::String;

use crate::syscall::put;

/// Writes `value` by the names of `set`, and what has none as a number.
pub fn write(set: &'static str, value: u64, out: &mut String) {
    let words = || set.split(' ');
    let first_bit = words().find_map(|word| word.strip_prefix('|')?.parse::<u32>().ok());
    let number_bits = first_bit.map_or(u64::MAX, |bit| (1 << bit) - 1);
    let (number, mut rest) = (value & number_bits, value & !number_bits);
    let mut is_named = number == 0;
    let (mut prefix, mut next, mut several) = ("", 0_u64, None);
    let (mut are_bits, mut any) = (false, false);
    for word in words() {
        if let Some(new) = word.strip_suffix(':') {
            prefix = new;
        } else if let Some(bit) = word.strip_prefix('|') {
            (are_bits, next) = (true, bit.parse().unwrap_or(0));
        } else if let Some(bits) = word.strip_prefix('*') {
            several = u64::from_str_radix(bits, 16).ok();
        } else if let Ok(known) = word.parse() {
            next = known;
        } else {
            let bits = several.take().unwrap_or_else(|| {
                let this = next;
                next += 1;
                if are_bits { 1_u64.checked_shl(this as u32).unwrap_or(0) } else { this }
            });
            let is_it = if are_bits {
                // No bits at all are what is always so.
                rest & bits == bits
            } else {
                number == bits && (number_bits != 0 || value == 0)
            };
            if word == "-" || !is_it {
                continue;
            }
            match word.as_bytes() {
                [b'+', ..] => out.push_str(&word[1..]),
                bytes => {
                    let (prefix, word) =
                        if bytes.starts_with(b"!") { ("", &word[1..]) } else { (prefix, word) };
                    put!(out, "{}{prefix}{word}", if any { "|" } else { "" });
                }
            }
            any = true;
            if are_bits {
                rest &= !bits;
            } else {
                is_named = true;
            }
        }
    }
    let unknown = rest | if is_named { 0 } else { number };
    match (unknown, any) {
        (0, true) => {}
        (0, false) => out.push('0'),
        (_, true) => put!(out, "|{unknown:#x}"),
        (_, false) if prefix.is_empty() => put!(out, "{unknown:#x}"),
        (_, false) => put!(out, "{unknown:#x} /* {prefix}??? */"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::print::layouts::named;

    #[test]
    fn values_have_the_names_that_strace_gives_them() {
        let shown = |name, value| {
            let mut out = String::new();
            write(&named(name)[1..], value, &mut out);
            out
        };
        assert_eq!(shown("Open", 0o2_000_302), "O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC");
        assert_eq!(shown("Open", 0), "O_RDONLY");
        assert_eq!(shown("Open", 0o4_010_001), "O_WRONLY|O_SYNC");
        assert_eq!(shown("Open", 0o20_200_002), "O_RDWR|O_TMPFILE");
        assert_eq!(shown("Open", 0o20_000_000), "O_RDONLY|0x400000");
        assert_eq!(shown("Map", 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(shown("Prot", 0), "PROT_NONE");
        assert_eq!(shown("Prot", 5), "PROT_READ|PROT_EXEC");
        assert_eq!(shown("At", 0x1100), "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH");
        assert_eq!(shown("At", 0), "0");
        assert_eq!(shown("At", 0x10000), "0x10000 /* AT_??? */");
        assert_eq!(shown("AtAsStat", 0x100), "AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW");
        assert_eq!(shown("Whence", 2), "SEEK_END");
        assert_eq!(shown("Whence", 9), "0x9 /* SEEK_??? */");
        assert_eq!(shown("Futex", 0x189), "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME");
        assert_eq!(shown("SocketKind", 0o2_004_001), "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK");
        assert_eq!(shown("WaitFlags", 0x4000_0003), "WNOHANG|WSTOPPED|__WALL");
        assert_eq!(shown("Access", 6), "R_OK|W_OK");
        assert_eq!(shown("Access", 0), "F_OK");
        assert_eq!(shown("ActionFlags", 0x1400_0004), "SA_RESTORER|SA_RESTART|SA_SIGINFO");
        assert_eq!(shown("StatxMask", 0x17ff), "STATX_BASIC_STATS|STATX_MNT_ID");
        assert_eq!(shown("Who", 0xffff_ffff), "RUSAGE_CHILDREN");
    }
}
