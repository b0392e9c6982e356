//! syslog(2): the kernel's log.

use alloc::sync::Arc;

use isopod_fs::{Capabilities, Errno};
use isopod_hal::sync::wait::WaitQueue;

use crate::fail::{Attempt, Later};
use crate::poll::FOREVER;
use crate::process::Ctx;

/// What fits into the log of a kernel of Linux' by default (`CONFIG_LOG_BUF_SHIFT` of 17).
const ROOM: usize = 1 << 17;

/// syslog(2). What the kernel says it says to the host; the guest's own log is always empty.
pub fn syslog(ctx: &mut Ctx, action: i32, buffer: usize, length: i32) -> Attempt {
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CONSOLE_LEVEL: i32 = 8;
    const SIZE_BUFFER: i32 = 10;
    if !matches!(action, READ_ALL | SIZE_BUFFER) && !ctx.thread.identity().capable(Capabilities::SYSLOG) {
        return Err(Errno::EPERM.into());
    }
    match action {
        READ | READ_ALL | READ_CLEAR if buffer == 0 || length < 0 => Err(Errno::EINVAL.into()),
        READ if length > 0 => {
            let queue = Arc::new(WaitQueue::new());
            Err(Later::new(queue, FOREVER).into())
        }
        CONSOLE_LEVEL if !(1..=8).contains(&length) => Err(Errno::EINVAL.into()),
        SIZE_BUFFER => Ok(ROOM),
        0..=SIZE_BUFFER => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}
