//! `memfd_create(2)`

use isopod_fs::Errno;

use super::open::install;
use crate::dev;
use crate::fail::{Attempt, Fail, Stop};
use crate::process::Ctx;
use crate::syscall::argument::{Flags, UserPath};

/// Longest name, its NUL included, so that `memfd:` fits before it.
const NAME_MAX: usize = 250;

/// `memfd_create(2)`. There are no huge pages: `MFD_HUGETLB` is EINVAL.
pub fn memfd_create(ctx: &mut Ctx, name: UserPath, flags: Flags) -> Attempt {
    const CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    if flags.0 & !(CLOEXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = match name.0.get_string(NAME_MAX) {
        Err(Stop::Fail(Fail::Errno(Errno::ENAMETOOLONG))) => return Err(Errno::EINVAL.into()),
        outcome => outcome?,
    };
    let credentials = ctx.thread.identity().for_files();
    let sealing = flags.0 & ALLOW_SEALING != 0;
    let file = dev::memfd(&name, credentials.uid, credentials.gid, sealing)?;
    Ok(install(ctx, file, flags.0 & CLOEXEC != 0)?)
}
