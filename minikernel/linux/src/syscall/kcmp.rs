//! kcmp(2)

use alloc::sync::Arc;
use core::cmp::Ordering;

use isopod_fs::Errno;

use crate::fail::{Attempt, Fail};
use crate::ipc::sysv::semaphores;
use crate::mm::UserPtr;
use crate::poll::Epoll;
use crate::process::{Ctx, Thread, With, find_thread};

/// kcmp(2): 0 for the same, 1 or 2 in an order that is always the same.
pub fn kcmp(ctx: &mut Ctx, first: u32, second: u32, kind: i32, first_fd: u64, second_fd: u64) -> Attempt {
    const FILE: i32 = 0;
    const VM: i32 = 1;
    const FILES: i32 = 2;
    const FS: i32 = 3;
    const SIGHAND: i32 = 4;
    const IO: i32 = 5;
    const SYSVSEM: i32 = 6;
    const EPOLL_TARGET: i32 = 7;
    let [first, second] = [find_thread(first).ok_or(Errno::ESRCH)?, find_thread(second).ok_or(Errno::ESRCH)?];
    if ![&first, &second].into_iter().all(|thread| ctx.thread.may_inspect(thread, With::RealIds)) {
        return Err(Errno::EPERM.into());
    }
    let pair = |of: &dyn Fn(&Thread) -> usize| of(&first).cmp(&of(&second));
    let place = |thread: &Thread, fd: u64| -> Result<usize, Fail> {
        let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
        Ok(Arc::as_ptr(&thread.files().get_or_place(fd)?).addr())
    };
    let order = match kind {
        FILE => place(&first, first_fd)?.cmp(&place(&second, second_fd)?),
        VM => pair(&|thread| Arc::as_ptr(&thread.process().memory()).addr()),
        FILES => pair(&|thread| Arc::as_ptr(&thread.files()).addr()),
        FS => pair(&|thread| Arc::as_ptr(&thread.fs()).addr()),
        SIGHAND => pair(&|thread| Arc::as_ptr(&thread.actions.lock()).addr()),
        // Those who have none of it have the same.
        IO => pair(&|thread| if thread.scheduling().transfers == 0 { 0 } else { thread.tid() as usize }),
        SYSVSEM => pair(&|thread| {
            let pid = thread.process().pid;
            if semaphores::has_undo(pid) { pid as usize } else { 0 }
        }),
        EPOLL_TARGET => {
            // `struct kcmp_epoll_slot`: an epoll, a descriptor that it watches, and how many of that number come first.
            let [epoll, target, skip]: [u32; 3] = UserPtr::new(second_fd as usize).get()?;
            let file = place(&first, first_fd)?;
            let epoll = second.files().get(epoll.cast_signed())?;
            let watched = Epoll::of(&epoll).ok_or(Errno::EINVAL)?.target(target.cast_signed(), skip);
            file.cmp(&watched.ok_or(Errno::ENOENT)?)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(match order {
        Ordering::Equal => 0,
        Ordering::Less => 1,
        Ordering::Greater => 2,
    })
}
