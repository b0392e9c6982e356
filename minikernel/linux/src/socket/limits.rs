//! Limits that the administrator can change: `/proc/sys/net`, socket(7), unix(7).

use crate::tunable::Tunable;

/// The largest number that a setting of Linux's can have.
const INT_MAX: u64 = i32::MAX as u64;
/// The smallest buffers (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
pub const SEND_BUFFER_MIN: u32 = 4608;
/// See [`SEND_BUFFER_MIN`].
pub const RECEIVE_BUFFER_MIN: u32 = 2304;

/// Bytes of a new socket's buffers (`wmem_default`, `rmem_default`).
pub static SEND_BUFFER: Tunable = Tunable::new(|| 212_992, SEND_BUFFER_MIN as u64, INT_MAX);
/// See [`SEND_BUFFER`].
pub static RECEIVE_BUFFER: Tunable = Tunable::new(|| 212_992, RECEIVE_BUFFER_MIN as u64, INT_MAX);
/// Bytes that can be asked for without privilege (`wmem_max`, `rmem_max`).
pub static SEND_BUFFER_MAX: Tunable = Tunable::new(|| 4 << 20, SEND_BUFFER_MIN as u64, INT_MAX);
/// See [`SEND_BUFFER_MAX`].
pub static RECEIVE_BUFFER_MAX: Tunable = Tunable::new(|| 4 << 20, RECEIVE_BUFFER_MIN as u64, INT_MAX);
/// The most connections that wait to be accepted (`somaxconn`).
pub static BACKLOG_MAX: Tunable = Tunable::new(|| 4096, 0, INT_MAX);
/// The most bytes of ancillary data of one message (`optmem_max`).
pub static CONTROL_MAX: Tunable = Tunable::new(|| 128 << 10, 0, INT_MAX);
/// Messages that may wait in a queue that many can send to (`max_dgram_qlen`), of sockets made from then on.
pub static MESSAGES_MAX: Tunable = Tunable::new(|| 10, 0, INT_MAX);
