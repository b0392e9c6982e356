//! pipe(2)

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::argument::Flags;
use super::file::open::insert_two;
use crate::fail::Attempt;
use crate::ipc::pipe::new_pipe;
use crate::mm::UserPtr;
use crate::process::Ctx;

/// pipe(2)
pub fn pipe(ctx: &mut Ctx, fds: UserPtr<[i32; 2]>) -> Attempt {
    pipe2(ctx, fds, Flags(0))
}

/// pipe2(2)
pub fn pipe2(ctx: &mut Ctx, fds: UserPtr<[i32; 2]>, flags: Flags) -> Attempt {
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let owner = ctx.thread.identity();
    let (reader, writer) = new_pipe(flags, owner.users.file, owner.groups.file)?;
    insert_two(ctx, Ok([reader, writer]), close_on_exec, fds)
}
