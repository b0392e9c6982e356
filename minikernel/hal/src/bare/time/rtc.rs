//! The battery-backed clock of a PC (Motorola MC146818), in universal time as on every virtual machine.

use crate::{clock::Civil, port::Port};

const INDEX: Port<u8> = Port::new(0x70);
const DATA: Port<u8> = Port::new(0x71);

const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Status A: the time is about to change.
const UPDATING: u8 = 0x80;
/// Status B: 24 hours; binary instead of decimal digits.
const HOURS_24: u8 = 2;
const BINARY: u8 = 4;
/// Top bit of the hour in the 12-hour form.
const AFTERNOON: u8 = 0x80;
/// Seconds, minutes, hours, day, month, year.
const FIELDS: [u8; 6] = [0, 2, 4, 7, 8, 9];
/// An update lasts some 2 ms; a clock that is never ready is taken as it is.
const PATIENCE: usize = 10_000;

/// Nanoseconds since 1970; 0 where there is no clock.
pub(super) fn read() -> u64 {
    for _ in 0..PATIENCE {
        if field(STATUS_A) & UPDATING == 0 {
            break;
        }
    }
    let mut fields = FIELDS.map(field);
    // The second is read again: if it has changed, so may have all others.
    if field(FIELDS[0]) != fields[0] {
        fields = FIELDS.map(field);
    }
    let status = field(STATUS_B);
    let afternoon = status & HOURS_24 == 0 && fields[2] & AFTERNOON != 0;
    if status & HOURS_24 == 0 {
        fields[2] &= !AFTERNOON;
    }
    if status & BINARY == 0 {
        fields = fields.map(|digits| (digits >> 4) * 10 + (digits & 0xf));
    }
    let [second, minute, mut hour, day, month, year] = fields.map(u64::from);
    if status & HOURS_24 == 0 {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    // The century's place is nowhere fixed; the chip's two digits are this century's.
    let civil = Civil { year: 2000 + year, month, day, hour, minute, second };
    civil.unix_seconds().unwrap_or(0) * 1_000_000_000
}

fn field(index: u8) -> u8 {
    INDEX.write(index);
    DATA.read()
}
