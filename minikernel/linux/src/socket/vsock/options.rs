//! What can be set of a socket (`SO_VM_SOCKETS_*`): vsock(7).

use isopod_fs::Errno;

use crate::socket::options::OptionValue;

const BUFFER_SIZE: u32 = 0;
const BUFFER_MIN_SIZE: u32 = 1;
const BUFFER_MAX_SIZE: u32 = 2;
const CONNECT_TIMEOUT: u32 = 6;
const CONNECT_TIMEOUT_NEW: u32 = 8;

/// How many nanoseconds an answer to connect(2) is waited for (`VSOCK_DEFAULT_CONNECT_TIMEOUT`).
const CONNECT_TIME: u64 = 2_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// What setsockopt(2) has set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many bytes may wait to be received, and the bounds of that.
    pub size: u64,
    least: u64,
    most: u64,
    /// How long an answer to connect(2) is waited for.
    pub connect_time: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { size: 256 << 10, least: 128, most: 256 << 10, connect_time: CONNECT_TIME }
    }
}

impl Settings {
    /// getsockopt(2)
    pub fn get(&self, name: u32) -> Result<OptionValue, Errno> {
        let number = match name {
            BUFFER_SIZE => self.size,
            BUFFER_MIN_SIZE => self.least,
            BUFFER_MAX_SIZE => self.most,
            CONNECT_TIMEOUT | CONNECT_TIMEOUT_NEW => {
                let (seconds, rest) = (self.connect_time / SECOND, self.connect_time % SECOND);
                return Ok([seconds, rest / 1000].map(u64::to_le_bytes).concat());
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(number.to_le_bytes().to_vec())
    }

    /// setsockopt(2)
    pub fn set(&mut self, name: u32, value: &[u8]) -> Result<(), Errno> {
        let word = |at: usize| {
            let bytes = value.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Errno::EINVAL);
            bytes.map(|bytes| u64::from_le_bytes(*bytes))
        };
        let mut size = self.size;
        match name {
            BUFFER_SIZE => size = word(0)?,
            BUFFER_MIN_SIZE => self.least = word(0)?,
            BUFFER_MAX_SIZE => self.most = word(0)?,
            CONNECT_TIMEOUT | CONNECT_TIMEOUT_NEW => {
                let (seconds, microseconds) = (word(0)?.cast_signed(), word(8)?.cast_signed());
                let fraction = u64::try_from(microseconds).ok().filter(|fraction| *fraction < 1_000_000);
                let whole = u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(SECOND));
                let (Some(fraction), Some(whole)) = (fraction, whole) else { return Err(Errno::ERANGE) };
                let time = whole.saturating_add(fraction * 1000);
                self.connect_time = if time == 0 { CONNECT_TIME } else { time };
                return Ok(());
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        self.size = size.min(self.most).max(self.least);
        Ok(())
    }
}
