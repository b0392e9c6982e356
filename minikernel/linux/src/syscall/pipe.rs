//! pipe(2)

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;

use super::argument::Flags;
use super::file::open::install;
use crate::fail::{Attempt, Stop};
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
    let files = ctx.thread.files();
    let read_fd = install(ctx, reader, close_on_exec)? as i32;
    let outcome = match install(ctx, writer, close_on_exec) {
        Ok(write_fd) => {
            let written = fds.put(&[read_fd, write_fd as i32]);
            if written.is_err() {
                files.remove(write_fd as i32)?;
            }
            written.map_err(Into::into)
        }
        Err(fail) => Err(Stop::Fail(fail)),
    };
    // Also for a call that is made again.
    if let Err(stop) = outcome {
        files.remove(read_fd)?;
        return Err(stop);
    }
    Ok(0)
}
