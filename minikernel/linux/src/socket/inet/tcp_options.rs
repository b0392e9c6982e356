//! Options at the level of TCP: tcp(7).

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_net::tcp::{Algorithm, Info, SocketOptions, State};

use super::limits::FIN_TIMEOUT;
use crate::socket::limits;
use crate::socket::options::{OptionValue, number, value_of};

/// `SOL_TCP`
pub const SOL_TCP: u32 = 6;

const NO_DELAY: u32 = 1;
const SEGMENT_MAX: u32 = 2;
const CORK: u32 = 3;
const KEEP_IDLE: u32 = 4;
const KEEP_INTERVAL: u32 = 5;
const KEEP_COUNT: u32 = 6;
const SYN_COUNT: u32 = 7;
const LINGER2: u32 = 8;
const DEFER_ACCEPT: u32 = 9;
const WINDOW_CLAMP: u32 = 10;
/// `TCP_INFO`
pub const INFO: u32 = 11;
const QUICK_ACK: u32 = 12;
const CONGESTION: u32 = 13;
const USER_TIMEOUT: u32 = 18;
const FAST_OPEN: u32 = 23;
const UNSENT_LOW_WATER: u32 = 25;
/// `TCP_FASTOPEN_CONNECT`
pub const FAST_OPEN_CONNECT: u32 = 30;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// Longer times are not taken (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`).
const KEEP_SECONDS_MAX: i32 = 32_767;
/// More probes are not taken (`MAX_TCP_KEEPCNT`, `MAX_TCP_SYNCNT`).
const COUNT_MAX: i32 = 127;
/// `TCP_FIN_TIMEOUT_MAX`
const FIN_SECONDS_MAX: i32 = 120;
/// The longest name of an algorithm, with its NUL (`TCP_CA_NAME_MAX`).
const NAME_MAX: usize = 16;
/// No window is clamped to less (`SOCK_MIN_RCVBUF`).
const WINDOW_LEAST: i32 = 1152;
/// A connection without one has this (RFC 9293, section 3.7.1).
const SEGMENT_DEFAULT: u32 = 536;

/// A number within a range. EINVAL
fn within(value: i32, least: i32, most: i32) -> Result<u32, Errno> {
    if (least..=most).contains(&value) { Ok(value.cast_unsigned()) } else { Err(Errno::EINVAL) }
}

/// So many seconds as the times at which a SYN's answer is sent again, each twice as late as the one before (`secs_to_retrans`).
fn rounded(seconds: i32) -> u64 {
    let (mut period, mut step) = (0, 1);
    for _ in 0..u8::MAX {
        if period >= i64::from(seconds) {
            break;
        }
        period += step;
        step = (step * 2).min(120);
    }
    period.cast_unsigned()
}

/// What was set and is only told again.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    fast_open: u32,
    fast_open_connect: bool,
    unsent_low_water: u32,
    /// `TCP_QUICKACK` is off.
    delays: bool,
}

impl Noted {
    /// What a connection has of that which was set on its listener.
    #[must_use]
    pub fn inherited(&self) -> Self {
        Self { fast_open: 0, delays: false, ..self.clone() }
    }
}

/// Sets an option. EINVAL, ENOENT for an algorithm that there is not, ENOPROTOOPT.
pub fn set(options: &mut SocketOptions, noted: &mut Noted, name: u32, value: &[u8]) -> Result<(), Errno> {
    if name == CONGESTION {
        let text = &value[..value.len().min(NAME_MAX - 1)];
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        options.congestion = match text {
            b"" if value.is_empty() => return Err(Errno::EINVAL),
            b"cubic" => Algorithm::Cubic,
            b"reno" => Algorithm::Reno,
            _ => return Err(Errno::ENOENT),
        };
        return Ok(());
    }
    let value = number(value)?;
    let seconds = |value: u32| u64::from(value) * SECOND;
    match name {
        NO_DELAY => options.no_delay = value != 0,
        CORK => options.cork = value != 0,
        SEGMENT_MAX if value == 0 => options.maximum_segment = 0,
        SEGMENT_MAX => options.maximum_segment = within(value, 88, 32_767)? as u16,
        KEEP_IDLE => options.keep_alive_idle = seconds(within(value, 1, KEEP_SECONDS_MAX)?),
        KEEP_INTERVAL => options.keep_alive_interval = seconds(within(value, 1, KEEP_SECONDS_MAX)?),
        KEEP_COUNT => options.keep_alive_count = within(value, 1, COUNT_MAX)? as u8,
        SYN_COUNT => options.syn_retries = within(value, 1, COUNT_MAX)? as u8,
        LINGER2 if value == 0 => options.fin_timeout = FIN_TIMEOUT.get() * SECOND,
        LINGER2 => options.fin_timeout = seconds(value.clamp(0, FIN_SECONDS_MAX).cast_unsigned()),
        DEFER_ACCEPT => options.defer_accept = rounded(value) * SECOND,
        WINDOW_CLAMP if value == 0 => options.window_clamp = 0,
        WINDOW_CLAMP => options.window_clamp = value.max(WINDOW_LEAST).cast_unsigned(),
        QUICK_ACK => {
            options.quick_ack = value != 0;
            noted.delays = value == 0;
        }
        USER_TIMEOUT => options.user_timeout = u64::from(within(value, 0, i32::MAX)?) * MILLISECOND,
        UNSENT_LOW_WATER => {
            noted.unsent_low_water = value.cast_unsigned();
            options.unsent_low_water = if value == 0 { u32::MAX } else { value.cast_unsigned() };
        }
        // It is allowed to do without (RFC 7413, section 4.2.2).
        FAST_OPEN => {
            let most = limits::BACKLOG_MAX.get() as u32;
            noted.fast_open = within(value, 0, i32::MAX)?.min(most);
        }
        FAST_OPEN_CONNECT => noted.fast_open_connect = within(value, 0, 1)? != 0,
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

/// Tells an option; `segment` is how long the segments of the connection are, if there is one. ENOPROTOOPT
pub fn get(
    options: &SocketOptions,
    noted: &Noted,
    name: u32,
    segment: Option<u32>,
) -> Result<OptionValue, Errno> {
    let in_seconds = |time: u64| (time / SECOND) as u32;
    Ok(value_of(match name {
        NO_DELAY => options.no_delay.into(),
        CORK => options.cork.into(),
        SEGMENT_MAX => segment.unwrap_or(match options.maximum_segment {
            0 => SEGMENT_DEFAULT,
            size => size.into(),
        }),
        KEEP_IDLE => in_seconds(options.keep_alive_idle),
        KEEP_INTERVAL => in_seconds(options.keep_alive_interval),
        KEEP_COUNT => options.keep_alive_count.into(),
        SYN_COUNT => options.syn_retries.into(),
        LINGER2 if options.fin_timeout == 0 => u32::MAX,
        LINGER2 => in_seconds(options.fin_timeout),
        DEFER_ACCEPT => in_seconds(options.defer_accept),
        WINDOW_CLAMP => options.window_clamp,
        QUICK_ACK => (!noted.delays).into(),
        CONGESTION => {
            let mut name = match options.congestion {
                Algorithm::Cubic => b"cubic".to_vec(),
                Algorithm::Reno => b"reno".to_vec(),
            };
            name.resize(NAME_MAX, 0);
            return Ok(name);
        }
        USER_TIMEOUT => (options.user_timeout / MILLISECOND) as u32,
        UNSENT_LOW_WATER => noted.unsent_low_water,
        FAST_OPEN => noted.fast_open,
        FAST_OPEN_CONNECT => noted.fast_open_connect.into(),
        _ => return Err(Errno::ENOPROTOOPT),
    }))
}

/// `TCP_CLOSE`
pub const CLOSED: u8 = 7;
/// `TCP_LISTEN`
pub const LISTENS: u8 = 10;

/// The number of a state (`include/net/tcp_states.h`).
pub fn number_of(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::Closed => CLOSED,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

/// `sizeof(struct tcp_info)`, as far as it is filled.
pub const INFO_LENGTH: usize = 232;

/// `struct tcp_info`
pub fn told(info: &Info) -> OptionValue {
    const TIMESTAMPS: u8 = 1;
    const SACK: u8 = 2;
    const WINDOW_SCALE: u8 = 4;
    let scales = info.snd_wscale | info.rcv_wscale << 4;
    let agreed = [(info.timestamps, TIMESTAMPS), (info.sack, SACK), (scales != 0, WINDOW_SCALE)];
    let options = agreed.iter().filter(|(holds, _)| *holds).fold(0, |bits, (_, bit)| bits | bit);
    let mut bytes: Vec<u8> = alloc::vec![
        number_of(info.state),
        info.ca_state,
        info.retransmits,
        info.probes,
        info.backoff,
        options,
        scales,
        0,
    ];
    let mut words = |list: &[u32]| list.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    words(&[
        info.rto,
        40_000,
        info.snd_mss,
        info.rcv_mss,
        info.unacked,
        info.sacked,
        info.lost,
        info.retrans,
        0,
    ]);
    words(&[info.last_data_sent, 0, info.last_data_recv, info.last_data_recv, info.pmtu, info.rcv_wnd]);
    words(&[info.rtt, info.rttvar, info.snd_ssthresh, info.snd_cwnd, info.advmss, 3, 0, info.rcv_space]);
    words(&[info.total_retrans]);
    let long = |number: u64| [number as u32, (number >> 32) as u32];
    let none = [u32::MAX; 2];
    words(&[none, none, long(info.bytes_acked), long(info.bytes_received)].concat());
    words(&[info.segs_out, info.segs_in, info.notsent_bytes, info.min_rtt, info.segs_in, info.segs_out]);
    // Rates and times that are not measured, what was delivered, and what was sent.
    words(&[0; 10]);
    words(&[long(info.bytes_sent), long(0)].concat());
    words(&[0, u32::from(info.reordering_seen), 0, info.snd_wnd, info.rcv_wnd, 0]);
    bytes
}
