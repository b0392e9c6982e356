//! SYN cookies (Bernstein, 1996; RFC 4987, section 3.6): under a flood the state of a handshake is not kept but folded into the sequence number
//! and the timestamp of the answer, and read from the acknowledgment that comes back.

use super::hash::Key;
use super::{Flow, Options, SECOND, Secret, SegmentHeader, Seq};

/// The time in which the count of a cookie rises.
const PERIOD: u64 = 64 * SECOND;
/// A cookie of this period or the one before is good (Linux' `MAX_SYNCOOKIE_AGE`).
const PERIODS: u32 = 2;
/// How long after the last cookie one may come back.
pub(super) const LIFETIME: u64 = PERIOD * PERIODS as u64;
/// Segment sizes that a cookie can tell, with those that occur most (as in Linux).
const SIZES: [u16; 4] = [536, 1300, 1440, 1460];
/// In the timestamp's lowest bits: the window's shift, with this for none, and whether SACK is permitted.
const NO_SCALE: u32 = 0xf;
const SACK: u32 = 0x10;
const BITS: u32 = 0x3f;

/// The sequence number that answers a SYN.
pub(super) fn sequence(key: Key, flow: &Flow, irs: Seq, offered: &Options, now: u64) -> Seq {
    let size = offered.maximum_segment_size.unwrap_or(0);
    let index = SIZES.iter().rposition(|&fits| fits <= size).unwrap_or(0) as u32;
    let count = (now / PERIOD) as u32;
    let low = mask(key, flow, count).wrapping_add(index) & 0xff_ffff;
    Seq((key.sip(flow, 0) as u32).wrapping_add(irs.0).wrapping_add(count << 24).wrapping_add(low))
}

/// What is added to the clock, for the answer's timestamp to tell the options. Never into the future.
pub(super) fn timestamp_offset(offset: u32, clock: u32, offered: &Options) -> u32 {
    let scale = offered.window_scale.map_or(NO_SCALE, |shift| u32::from(shift.min(14)));
    let bits = scale | if offered.sack_permitted { SACK } else { 0 };
    let value = clock.wrapping_add(offset);
    let told = (value & !BITS) | bits;
    let told = if told.wrapping_sub(value) as i32 > 0 { told.wrapping_sub(BITS + 1) } else { told };
    told.wrapping_sub(clock)
}

/// The options and numbers of a handshake whose last segment is `header`; `None` where it acknowledges no cookie.
pub(super) fn open(
    key: Key,
    flow: &Flow,
    header: &SegmentHeader,
    now: u64,
    timestamp_offset: u32,
) -> Option<(Secret, Options)> {
    let cookie = header.acknowledgment - 1;
    let irs = header.sequence - 1;
    let rest = cookie.0.wrapping_sub(key.sip(flow, 0) as u32).wrapping_sub(irs.0);
    let now_count = (now / PERIOD) as u32;
    // The count's lowest byte is the highest of the cookie, the mask below it may have carried nothing into it.
    let age = (now_count.wrapping_sub(rest >> 24)) & 0xff;
    if age >= PERIODS {
        return None;
    }
    let index = rest.wrapping_sub(mask(key, flow, now_count.wrapping_sub(age))) & 0xff_ffff;
    let size = *SIZES.get(index as usize)?;
    let mut options = Options { maximum_segment_size: Some(size), ..Options::default() };
    if let Some(timestamps) = header.options.timestamps {
        let scale = timestamps.echo & NO_SCALE;
        options.timestamps = Some(timestamps);
        options.window_scale = (scale != NO_SCALE).then_some(scale as u8);
        options.sack_permitted = timestamps.echo & SACK != 0;
    }
    Some((Secret { sequence: cookie, timestamp_offset }, options))
}

fn mask(key: Key, flow: &Flow, count: u32) -> u32 {
    key.sip(flow, 1 << 32 | u64::from(count)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{Endpoint, Timestamps};
    use core::net::Ipv4Addr;

    const KEY: Key = Key(1, 2);

    fn flow(port: u16) -> Flow {
        let address = Ipv4Addr::LOCALHOST.into();
        Flow { local: Endpoint::new(address, 80), remote: Endpoint::new(address, port) }
    }

    fn offered() -> Options {
        Options {
            maximum_segment_size: Some(1460),
            window_scale: Some(9),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 77, echo: 0 }),
            ..Options::default()
        }
    }

    /// The acknowledgment of the answer to a SYN.
    fn acknowledgment(now: u64) -> SegmentHeader {
        let sequence = sequence(KEY, &flow(5), Seq(1000), &offered(), now);
        let clock = (now / 1_000_000) as u32;
        let echo = clock.wrapping_add(timestamp_offset(12345, clock, &offered()));
        SegmentHeader {
            sequence: Seq(1001),
            acknowledgment: sequence + 1,
            options: Options { timestamps: Some(Timestamps { value: 78, echo }), ..Options::default() },
            ..SegmentHeader::default()
        }
    }

    #[test]
    fn a_cookie_brings_the_options_back() {
        for now in [0, PERIOD - 1, 12_345 * SECOND] {
            let header = acknowledgment(now);
            for later in [now, now + PERIOD] {
                let (secret, options) = open(KEY, &flow(5), &header, later, 0).unwrap();
                assert_eq!(secret.sequence + 1, header.acknowledgment);
                assert_eq!(options.maximum_segment_size, Some(1460));
                assert_eq!((options.window_scale, options.sack_permitted), (Some(9), true));
            }
        }
    }

    #[test]
    fn nobody_else_s_cookie_and_no_old_one_is_taken() {
        let header = acknowledgment(0);
        assert!(open(KEY, &flow(6), &header, 0, 0).is_none());
        assert!(open(Key(1, 3), &flow(5), &header, 0, 0).is_none());
        assert!(open(KEY, &flow(5), &header, 2 * PERIOD, 0).is_none());
        let guessed = (0..1000u32).filter(|guess| {
            let guess =
                SegmentHeader { acknowledgment: Seq(guess.wrapping_mul(0x9e37_79b9)), ..header.clone() };
            open(KEY, &flow(5), &guess, 0, 0).is_some()
        });
        assert_eq!(guessed.count(), 0);
    }

    #[test]
    fn the_timestamp_is_not_from_the_future() {
        for clock in 0..200 {
            let told = timestamp_offset(0, clock, &offered()).wrapping_add(clock);
            assert!((told.wrapping_sub(clock) as i32) <= 0);
        }
    }
}
