//! The discipline of the wall clock: adjtimex(2), `clock_adjtime(2)`.
//!
//! The clock is the host's, which keeps it: its rate is not changed here. A program that disciplines it all the same finds what it has set, and an
//! offset is made up for at once.

use isopod_fs::{Capabilities, Errno};
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fail::Attempt;
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::time::{self, Clock};

/// `struct timex`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timex {
    modes: u32,
    padding: u32,
    offset: i64,
    frequency: i64,
    max_error: i64,
    estimated_error: i64,
    status: i32,
    padding2: u32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    seconds: i64,
    part: i64,
    tick: i64,
    /// Pulses per second, which no device here gives; the distance to TAI, which nobody sets; and room.
    rest: [u64; 14],
}

/// What can be set.
struct Discipline {
    frequency: i64,
    max_error: i64,
    estimated_error: i64,
    status: i32,
    constant: i64,
    tick: i64,
}

/// As Linux starts: not synchronised, as far as it knows.
static DISCIPLINE: SpinLock<Discipline> = SpinLock::new(Discipline {
    frequency: 0,
    max_error: ERROR_MAX,
    estimated_error: ERROR_MAX,
    status: UNSYNCHRONISED,
    constant: 2,
    tick: TICK,
});

/// Which members count (`ADJ_`).
const OFFSET: u32 = 1;
const FREQUENCY: u32 = 2;
const MAX_ERROR: u32 = 4;
const ESTIMATED_ERROR: u32 = 8;
const STATUS: u32 = 0x10;
const CONSTANT: u32 = 0x20;
const SET_OFFSET: u32 = 0x100;
const MICRO: u32 = 0x1000;
const NANO: u32 = 0x2000;
const TICK_LENGTH: u32 = 0x4000;
/// adjtime(3), by this bit and `OFFSET`; with `NANO` it only asks.
const ADJTIME: u32 = 0x8000;

/// Bits of the status: an error, nanoseconds, and all that only the kernel sets.
const UNSYNCHRONISED: i32 = 0x40;
const CLOCK_ERROR: i32 = 0x1000;
const NANOSECONDS: i32 = 0x2000;
const READ_ONLY: i32 = 0xff00;

/// Limits of `include/linux/timex.h`: errors in microseconds, the frequency in 2^-16 parts of a million, a tick in microseconds.
const ERROR_MAX: i64 = 16_000_000;
const FREQUENCY_MAX: i64 = 500 << 16;
const CONSTANT_MAX: i64 = 10;
const TICK: i64 = 10_000;
/// `TIME_OK`, `TIME_ERROR`
const STATE_OK: usize = 0;
const STATE_ERROR: usize = 5;

/// adjtimex(2)
pub fn adjtimex(ctx: &mut Ctx, buffer: UserPtr<Timex>) -> Attempt {
    let mut given = buffer.get()?;
    check(ctx, &given)?;
    let (state, step) = discipline(&mut given);
    let now = clock::realtime_ns();
    let told = now.saturating_add_signed(step);
    (given.seconds, given.part) = ((told / 1_000_000_000) as i64, (told % 1_000_000_000) as i64);
    if given.status & NANOSECONDS == 0 {
        given.part /= 1000;
    }
    // A page that is not there has the call made again: nothing may have been done that cannot be done twice.
    buffer.put(&given)?;
    if step != 0 {
        time::set_wall_clock(told)?;
    }
    Ok(state)
}

/// `clock_adjtime(2)`. Only the wall clock can be disciplined.
pub fn clock_adjtime(ctx: &mut Ctx, id: i32, buffer: UserPtr<Timex>) -> Attempt {
    const REALTIME: i32 = 0;
    const ALARMS: core::ops::RangeInclusive<i32> = 8..=9;
    buffer.get()?;
    match id {
        REALTIME => adjtimex(ctx, buffer),
        _ if ALARMS.contains(&id) || id < 0 && id & 7 != 3 => Err(Errno::EOPNOTSUPP.into()),
        _ => Err(Clock::from_id(id, &ctx.thread).err().unwrap_or(Errno::EOPNOTSUPP).into()),
    }
}

/// What is refused (`timekeeping_validate_timex`).
fn check(ctx: &Ctx, given: &Timex) -> Result<(), Errno> {
    /// Of a frequency, to 2^-32 nanoseconds a second (`PPM_SCALE`).
    const SCALE: i64 = 65_536_000;
    let modes = given.modes;
    let privileged = ctx.thread.identity().capable(Capabilities::SYS_TIME);
    if modes & ADJTIME != 0 {
        if modes & OFFSET == 0 {
            return Err(Errno::EINVAL);
        }
        if modes & NANO == 0 && !privileged {
            return Err(Errno::EPERM);
        }
    } else if modes != 0 && !privileged {
        return Err(Errno::EPERM);
    } else if modes & TICK_LENGTH != 0 && !(TICK * 9 / 10..=TICK * 11 / 10).contains(&given.tick) {
        return Err(Errno::EINVAL);
    }
    if modes & SET_OFFSET != 0 {
        if !privileged {
            return Err(Errno::EPERM);
        }
        let most = if modes & NANO != 0 { 1_000_000_000 } else { 1_000_000 };
        if !(0..most).contains(&given.part) {
            return Err(Errno::EINVAL);
        }
    }
    // More could not be scaled.
    let scales = (i64::MIN / SCALE..=i64::MAX / SCALE).contains(&given.frequency);
    if modes & FREQUENCY != 0 && !scales { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Takes what counts and fills in the rest; the state of the clock, and by how many nanoseconds it is to be set forward.
fn discipline(given: &mut Timex) -> (usize, i64) {
    let modes = given.modes;
    let mut step = 0;
    let mut kept = DISCIPLINE.lock();
    if modes & SET_OFFSET != 0 {
        let part = if modes & NANO != 0 { given.part } else { given.part * 1000 };
        step = given.seconds.saturating_mul(1_000_000_000).saturating_add(part);
    }
    if modes & ADJTIME != 0 {
        // Nothing is ever left of an earlier one.
        step += if modes & NANO == 0 { given.offset.saturating_mul(1000) } else { 0 };
    } else {
        if modes & STATUS != 0 {
            kept.status = kept.status & READ_ONLY | given.status & !READ_ONLY;
        }
        if modes & NANO != 0 {
            kept.status |= NANOSECONDS;
        }
        if modes & MICRO != 0 {
            kept.status &= !NANOSECONDS;
        }
        let nanoseconds = kept.status & NANOSECONDS != 0;
        if modes & FREQUENCY != 0 {
            kept.frequency = given.frequency.clamp(-FREQUENCY_MAX, FREQUENCY_MAX);
        }
        if modes & MAX_ERROR != 0 {
            kept.max_error = given.max_error.clamp(0, ERROR_MAX);
        }
        if modes & ESTIMATED_ERROR != 0 {
            kept.estimated_error = given.estimated_error.clamp(0, ERROR_MAX);
        }
        if modes & CONSTANT != 0 {
            let constant = given.constant.clamp(0, CONSTANT_MAX);
            kept.constant = if nanoseconds { constant } else { (constant + 4).min(CONSTANT_MAX) };
        }
        if modes & OFFSET != 0 {
            let most = if nanoseconds { 500_000_000 } else { 500_000 };
            step += given.offset.clamp(-most, most) * if nanoseconds { 1 } else { 1000 };
        }
        if modes & TICK_LENGTH != 0 {
            kept.tick = given.tick;
        }
    }
    *given = Timex {
        modes,
        padding: given.padding,
        offset: 0,
        frequency: kept.frequency,
        max_error: kept.max_error,
        estimated_error: kept.estimated_error,
        status: kept.status,
        padding2: given.padding2,
        constant: kept.constant,
        precision: 1,
        tolerance: FREQUENCY_MAX,
        seconds: 0,
        part: 0,
        tick: kept.tick,
        rest: [0; 14],
    };
    let wrong = kept.status & (UNSYNCHRONISED | CLOCK_ERROR) != 0;
    (if wrong { STATE_ERROR } else { STATE_OK }, step)
}

const _: () = assert!(size_of::<Timex>() == 208);
