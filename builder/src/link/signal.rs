//! Signals by name and number.

/// The names of `signal(7)` for x86-64, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and last real-time signal as glibc and musl count them, which keep 32 and 33 (musl 34 too) for themselves.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// The number of a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`. `None` for anything else.
pub fn number(name: &str) -> Option<u8> {
    if let Ok(number) = name.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let alias = match name {
        "IOT" => "ABRT",
        "POLL" => "IO",
        "CLD" => "CHLD",
        other => other,
    };
    if let Some(index) = NAMES.iter().position(|known| *known == alias) {
        return u8::try_from(index + 1).ok();
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers_are_those_of_linux() {
        for (name, expected) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("15", 15),
            ("SIGQUIT", 3),
            ("KILL", 9),
            ("SIGWINCH", 28),
            ("SIGPOLL", 29),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        for bad in ["", "0", "65", "-1", "SIG", "SIGFOO", "RTMIN-1", "RTMIN+31", "RTMAX-31", "RTMIN+300"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
