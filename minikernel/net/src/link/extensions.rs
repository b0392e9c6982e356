//! The extension headers of IPv6 (RFC 8200, section 4): what lies between its header and what the packet carries.

use super::reassembly::Fragment;

/// The headers' numbers.
const HOP_BY_HOP: u8 = 0;
/// See [`HOP_BY_HOP`].
const ROUTING: u8 = 43;
/// See [`HOP_BY_HOP`].
pub const FRAGMENT: u8 = 44;
/// See [`HOP_BY_HOP`].
const OPTIONS: u8 = 60;
/// Bytes of a fragment's header.
pub const FRAGMENT_HEADER: usize = 8;
/// Nobody in good order sends more of them.
const HEADERS: usize = 8;
/// And no more options in one (`max_hbh_opts_number`, `max_dst_opts_number`).
const OPTIONS_MOST: usize = 8;

/// What stands behind them.
#[derive(Debug, PartialEq, Eq)]
pub struct Behind {
    /// The protocol.
    pub protocol: u8,
    /// So many bytes they are.
    pub length: usize,
    /// The packet is a part of one, and this is in its header, which was the last.
    pub fragment: Option<Fragment>,
}

/// Why they cannot be heeded.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// They make no sense: nobody is told.
    Dropped,
    /// The sender is told what is wrong, and where; of what was for many only if the last says so.
    Told {
        /// The code of the message.
        code: u8,
        /// Where in them.
        at: usize,
        /// Even if it was for many.
        always: bool,
    },
}

/// Walks them, `bytes` being what follows the header of IPv6, as far as it is in one piece.
pub fn walk(mut protocol: u8, bytes: &[u8]) -> Result<Behind, Problem> {
    let mut at = 0;
    for number in 0..HEADERS {
        let rest = bytes.get(at..).unwrap_or_default();
        match protocol {
            HOP_BY_HOP if number > 0 => return Err(Problem::Told { code: 1, at, always: false }),
            HOP_BY_HOP | OPTIONS | ROUTING => {
                let &[next, length, _, left, ..] = rest else { return Err(Problem::Dropped) };
                let length = (usize::from(length) + 1) * 8;
                let body = rest.get(2..length).ok_or(Problem::Dropped)?;
                if protocol != ROUTING {
                    options(body, at + 2)?;
                } else if left > 0 {
                    // This machine sends nothing on for others (RFC 8200, section 4.4; RFC 5095).
                    return Err(Problem::Told { code: 0, at: at + 2, always: false });
                }
                protocol = next;
                at += length;
            }
            FRAGMENT => {
                let &[next, _, high, low, a, b, c, d] = rest.first_chunk().ok_or(Problem::Dropped)?;
                let place = u16::from_be_bytes([high, low]);
                let identification = u32::from_be_bytes([a, b, c, d]);
                let fragment =
                    Fragment { protocol: next, identification, offset: place & !7, more: place & 1 != 0 };
                at += FRAGMENT_HEADER;
                // One that is all of it is none (RFC 6946).
                if fragment.offset > 0 || fragment.more {
                    return Ok(Behind { protocol: next, length: at, fragment: Some(fragment) });
                }
                protocol = next;
            }
            _ => return Ok(Behind { protocol, length: at, fragment: None }),
        }
    }
    Err(Problem::Dropped)
}

/// Looks at the options of a header, which begin at `at`: those that are not known say themselves what to do (RFC 8200, section 4.2).
fn options(bytes: &[u8], at: usize) -> Result<(), Problem> {
    const PAD: u8 = 0;
    const PADDING: u8 = 1;
    const ROUTER_ALERT: u8 = 5;
    let (mut place, mut count) = (0, 0);
    while let Some(&kind) = bytes.get(place) {
        if kind == PAD {
            place += 1;
            continue;
        }
        let length = usize::from(*bytes.get(place + 1).ok_or(Problem::Dropped)?) + 2;
        if place + length > bytes.len() {
            return Err(Problem::Dropped);
        }
        if kind != PADDING {
            count += 1;
        }
        if count > OPTIONS_MOST {
            return Err(Problem::Dropped);
        }
        match (kind, kind >> 6) {
            (PADDING | ROUTER_ALERT, _) | (_, 0) => {}
            (_, 1) => return Err(Problem::Dropped),
            (_, what) => return Err(Problem::Told { code: 2, at: at + place, always: what == 2 }),
        }
        place += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[expect(clippy::unnecessary_wraps, reason = "it is what `walk` gives")]
    fn behind(protocol: u8, length: usize) -> Result<Behind, Problem> {
        Ok(Behind { protocol, length, fragment: None })
    }

    #[test]
    fn rfc_8200_4_headers_are_walked_in_their_order() {
        assert_eq!(walk(17, &[]), behind(17, 0));
        assert_eq!(walk(0, &[60, 0, 5, 2, 0, 0, 1, 0, 17, 0, 1, 4, 0, 0, 0, 0]), behind(17, 16));
        assert_eq!(
            walk(60, &[0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]),
            Err(Problem::Told { code: 1, at: 8, always: false })
        );
        assert_eq!(walk(59, &[]), behind(59, 0));
        assert_eq!(walk(60, &[17, 1, 1, 4, 0, 0, 0, 0]), Err(Problem::Dropped));
    }

    #[test]
    fn rfc_8200_4_2_unknown_options_say_what_to_do() {
        let with = |kind: u8| [17, 0, 0, kind, 0, 1, 1, 0];
        assert_eq!(walk(60, &with(0x1e)), behind(17, 8));
        assert_eq!(walk(60, &with(0x5e)), Err(Problem::Dropped));
        assert_eq!(walk(60, &with(0x9e)), Err(Problem::Told { code: 2, at: 3, always: true }));
        assert_eq!(walk(60, &with(0xde)), Err(Problem::Told { code: 2, at: 3, always: false }));
        assert_eq!(walk(60, &[17, 0, 0x1e, 9, 0, 0, 0, 0]), Err(Problem::Dropped));
        let many = [&[17, 2][..], &[0x1e, 0].repeat(11)].concat();
        assert_eq!(walk(60, &many), Err(Problem::Dropped));
    }

    #[test]
    fn rfc_8200_4_4_routes_that_have_been_gone_are_passed_over() {
        assert_eq!(walk(43, &[17, 0, 0, 0, 0, 0, 0, 0]), behind(17, 8));
        assert_eq!(
            walk(43, &[17, 0, 0, 1, 0, 0, 0, 0]),
            Err(Problem::Told { code: 0, at: 2, always: false })
        );
    }

    #[test]
    fn rfc_6946_a_fragment_that_is_all_is_none() {
        assert_eq!(walk(44, &[17, 0, 0, 0, 1, 2, 3, 4]), behind(17, 8));
        let fragment = Fragment { protocol: 17, identification: 0x0102_0304, offset: 0x0550, more: true };
        assert_eq!(
            walk(44, &[17, 0, 5, 0x51, 1, 2, 3, 4]),
            Ok(Behind { protocol: 17, length: 8, fragment: Some(fragment) })
        );
    }

    #[test]
    fn there_are_not_many() {
        let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(20);
        assert_eq!(walk(60, &chain), Err(Problem::Dropped));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_or_refused(first: u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(behind) = walk(first, &bytes) {
                prop_assert!(behind.length <= bytes.len());
            }
            let small = bytes.iter().map(|byte| byte % 4).collect::<vec::Vec<u8>>();
            if let Ok(behind) = walk([0, 43, 44, 60][usize::from(first % 4)], &small) {
                prop_assert!(behind.length <= small.len());
            }
        }
    }
}
