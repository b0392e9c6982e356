//! `memfd_create(2)`

use isopod_fs::Errno;

use super::open::install;
use crate::dev;
use crate::fail::SysResult;
use crate::process::Ctx;
use crate::syscall::argument::{Flags, UserPath};
use crate::wait::retry;

/// Longest name, its NUL included, so that `memfd:` fits before it.
const NAME_MAX: usize = 250;

/// `memfd_create(2)`. There are no huge pages: `MFD_HUGETLB` is EINVAL.
pub async fn memfd_create(ctx: &mut Ctx, name: UserPath, flags: Flags) -> SysResult {
    const CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    if flags.0 & !(CLOEXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = ctx.memory.read_string(name.0, NAME_MAX).await.map_err(|errno| match errno {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        errno => errno,
    })?;
    let credentials = ctx.thread.identity().for_files();
    let sealing = flags.0 & ALLOW_SEALING != 0;
    let file = retry(|| dev::memfd(&name, credentials.uid, credentials.gid, sealing)).await?;
    install(ctx, file, flags.0 & CLOEXEC != 0)
}
