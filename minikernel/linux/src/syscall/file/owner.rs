//! Who is told of a file by signals: the commands of fcntl(2) on that, and the requests of ioctl(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};

use crate::fail::Attempt;
use crate::ipc::sigio::{GROUP, Owner, PROCESS, THREAD};
use crate::mm::UserPtr;
use crate::process::{Ctx, Process, find_process, find_thread, processes};
use crate::signal::Signal;
use crate::syscall::argument::Fd;

/// Commands of fcntl(2); EINVAL for any other.
pub(super) fn fcntl(ctx: &Ctx, fd: Fd, file: &Arc<OpenFile>, command: i32, argument: u64) -> Attempt {
    const SETOWN: i32 = 8;
    const GETOWN: i32 = 9;
    const SETSIG: i32 = 10;
    const GETSIG: i32 = 11;
    const SETOWN_EX: i32 = 15;
    const GETOWN_EX: i32 = 16;
    const NOTIFY: i32 = 1026;
    let place = UserPtr::<[i32; 2]>::new(argument as usize);
    match command {
        SETOWN => set(ctx, file, argument as i32)?,
        GETOWN => return Ok(get(file)? as isize as usize),
        SETOWN_EX => {
            let [kind, id] = place.get()?;
            if !(THREAD..=GROUP).contains(&kind) {
                return Err(Errno::EINVAL.into());
            }
            own(ctx, file, kind, id as u32)?;
        }
        GETOWN_EX => {
            let told = Owner::of(file)?.told();
            place.put(&[told.kind, told.id as i32])?;
        }
        SETSIG => {
            let signal = u32::try_from(argument).ok().filter(|number| *number <= Signal::COUNT as u32);
            let signal = Signal::new(signal.ok_or(Errno::EINVAL)?);
            Owner::of(file)?.change(|told| told.signal = signal);
        }
        GETSIG => return Ok(Owner::of(file)?.told().signal.map_or(0, |signal| signal.number().into())),
        NOTIFY => {
            let process = ctx.thread.process().pid;
            Owner::notify(file, fd.0, process, argument as u32)?;
            // Whoever has said nothing else is told (`__f_setown` without force).
            if Owner::of(file)?.told().id == 0 {
                own(ctx, file, PROCESS, process)?;
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// The owner: a process, or, below zero, a group.
pub(super) fn get(file: &OpenFile) -> Result<i32, Errno> {
    let told = Owner::of(file)?.told();
    Ok(if told.kind == GROUP { -(told.id as i32) } else { told.id as i32 })
}

/// Sets what [`get`] gives.
pub(super) fn set(ctx: &Ctx, file: &OpenFile, who: i32) -> Result<(), Errno> {
    if who == i32::MIN {
        return Err(Errno::EINVAL);
    }
    own(ctx, file, if who < 0 { GROUP } else { PROCESS }, who.unsigned_abs())
}

fn own(ctx: &Ctx, file: &OpenFile, kind: i32, id: u32) -> Result<(), Errno> {
    let is_group = || {
        let ids = |process: &Process| [&process.group, &process.session].map(|of| of.load(Ordering::Relaxed));
        processes().any(|process| ids(&process).contains(&id))
    };
    if id != 0 && find_thread(id).is_none() && find_process(id).is_none() && !is_group() {
        return Err(Errno::ESRCH);
    }
    let users = ctx.thread.identity().users;
    Owner::of(file)?.change(|told| {
        (told.kind, told.id, told.users) = (kind, id, [users.real, users.effective]);
    });
    Ok(())
}

/// Sets or clears `O_ASYNC` (`FIOASYNC`). `ENOTTY` for what never changes.
pub(super) fn set_async(file: &Arc<OpenFile>, fd: Fd, on: bool) -> Result<(), Errno> {
    if file.flags().contains(OpenFlags::ASYNC) != on {
        Owner::listen(file, fd.0, on)?;
    }
    Ok(())
}
