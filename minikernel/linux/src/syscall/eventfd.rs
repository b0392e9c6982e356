//! eventfd(2)

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::argument::Flags;
use super::file::open::install;
use crate::fail::SysResult;
use crate::ipc::eventfd::new_eventfd;
use crate::process::Ctx;

/// eventfd(2)
pub fn eventfd(ctx: &mut Ctx, initial: u32) -> SysResult {
    eventfd2(ctx, initial, Flags(0))
}

/// eventfd2(2)
pub fn eventfd2(ctx: &mut Ctx, initial: u32, flags: Flags) -> SysResult {
    const SEMAPHORE: u32 = 1;
    let open = OpenFlags::from_bits_retain(flags.0 & !SEMAPHORE);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(open) {
        return Err(Errno::EINVAL.into());
    }
    let file = new_eventfd(initial, flags.0 & SEMAPHORE != 0, open & OpenFlags::NONBLOCK)?;
    install(ctx, file, open.contains(OpenFlags::CLOEXEC))
}
