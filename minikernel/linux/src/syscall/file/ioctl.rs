//! ioctl(2): what every file answers, and what a file system does.

use isopod_fs::file::{OpenFile, OpenFlags, UserMemory, Whence};
use isopod_fs::{Capabilities, Errno, FileType, Result as FsResult};
use isopod_hal::PAGE_SIZE;
use isopod_hal::uaccess::{self, Fault};
use zerocopy::{Immutable, IntoBytes};

use super::owner;
use crate::fail::Attempt;
use crate::ipc::FIONREAD;
use crate::mm::UserPtr;
use crate::proc::{self, Answer, Question};
use crate::process::{Ctx, Resource};
use crate::syscall::argument::Fd;

/// A program's memory for an ioctl. A page that is not there stops it.
#[derive(Debug, Default)]
struct IoctlMemory {
    fault: Option<Fault>,
}

impl UserMemory for IoctlMemory {
    fn read(&mut self, address: usize, bytes: &mut [u8]) -> FsResult<()> {
        uaccess::copy_from_user(bytes, address).map_err(|at| self.stop(at.fault))
    }

    fn write(&mut self, address: usize, bytes: &[u8]) -> FsResult<()> {
        uaccess::copy_to_user(address, bytes).map_err(|at| self.stop(at.fault))
    }
}

impl IoctlMemory {
    fn stop(&mut self, fault: Fault) -> isopod_fs::Error {
        self.fault = Some(fault);
        Errno::EFAULT.into()
    }
}

/// ioctl(2)
pub fn ioctl(ctx: &mut Ctx, fd: Fd, request: u32, argument: usize) -> Attempt {
    const FIOCLEX: u32 = 0x5451;
    const FIONCLEX: u32 = 0x5450;
    const FIONBIO: u32 = 0x5421;
    const FIOASYNC: u32 = 0x5452;
    const FIOSETOWN: u32 = 0x8901;
    const SIOCSPGRP: u32 = 0x8902;
    const FIOGETOWN: u32 = 0x8903;
    const SIOCGPGRP: u32 = 0x8904;
    let files = ctx.thread.files();
    let file = files.get(fd.0)?;
    match request {
        FIOCLEX | FIONCLEX => {
            files.set_close_on_exec(fd.0, request == FIOCLEX)?;
            Ok(0)
        }
        FIONBIO | FIOASYNC => {
            let on = UserPtr::<i32>::new(argument).get()? != 0;
            if request == FIOASYNC {
                owner::set_async(&file, fd, on)?;
            }
            let credentials = ctx.thread.identity().for_files();
            let mut flags = file.flags();
            flags.set(if request == FIONBIO { OpenFlags::NONBLOCK } else { OpenFlags::ASYNC }, on);
            file.set_flags(flags, &credentials)?;
            Ok(0)
        }
        FIOSETOWN | SIOCSPGRP if file.kind() == FileType::Socket => {
            owner::set(ctx, &file, UserPtr::<i32>::new(argument).get()?)?;
            Ok(0)
        }
        FIOGETOWN | SIOCGPGRP if file.kind() == FileType::Socket => {
            UserPtr::<i32>::new(argument).put(&owner::get(&file)?)?;
            Ok(0)
        }
        FIONREAD if file.kind() == FileType::Regular && file.ops().is_none() => {
            let size = file.inode().metadata()?.size as i64;
            let position = file.seek(0, Whence::Current)? as i64;
            UserPtr::<i32>::new(argument).put(&((size - position) as i32))?;
            Ok(0)
        }
        NS_GET_USERNS..=NS_GET_OWNER_UID => of_namespace(ctx, &file, request, argument),
        FIBMAP | FIGETBSZ | FIOQSIZE | FIEMAP | FICLONE | GETFLAGS
            if let Some(answer) = of_file_system(ctx, &file, request, argument) =>
        {
            answer
        }
        _ => {
            let mut memory = IoctlMemory::default();
            let outcome = file.ioctl(request, argument, &mut memory);
            match memory.fault {
                // What it met is provided, and it is made again.
                Some(fault) if outcome.is_err() => Err(fault.into()),
                _ => Ok(outcome?),
            }
        }
    }
}

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_OWNER_UID: u32 = 0xb704;
const FIBMAP: u32 = 1;
const FIGETBSZ: u32 = 2;
const FIOQSIZE: u32 = 0x5460;
const FICLONE: u32 = 0x4004_9409;
const FIEMAP: u32 = 0xc020_660b;
/// `FS_IOC_GETFLAGS`
const GETFLAGS: u32 = 0x8008_6601;

/// What is asked of a namespace.
fn of_namespace(ctx: &Ctx, file: &OpenFile, request: u32, argument: usize) -> Attempt {
    let question = match request - NS_GET_USERNS {
        0 => Question::Owner,
        1 => Question::Parent,
        2 => Question::Kind,
        _ => Question::Maker,
    };
    match proc::ask(file, question)? {
        Answer::File(file) => {
            let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
            Ok(ctx.thread.files().insert(file, true, 0, limit)? as usize)
        }
        Answer::Number(number) => Ok(number as usize),
        Answer::User(user) => put(argument, &user),
    }
}

/// What is asked of a file's place in its file system (`do_vfs_ioctl`); `None` where the file itself may know the request.
fn of_file_system(ctx: &Ctx, file: &OpenFile, request: u32, argument: usize) -> Option<Attempt> {
    let kind = file.kind();
    let known = match request {
        FIBMAP => kind == FileType::Regular,
        FIOQSIZE => matches!(kind, FileType::Regular | FileType::Directory),
        // Of the file systems here, those that are written to have such flags, and nothing sets any.
        GETFLAGS => {
            matches!(kind, FileType::Regular | FileType::Directory)
                && matches!(file_system(file), "tmpfs" | "overlay" | "anon_inodefs")
        }
        _ => true,
    };
    known.then(|| match request {
        FIBMAP => block_of(ctx, UserPtr::new(argument)),
        FIGETBSZ => {
            let size: u32 = match file_system(file) {
                // It has no blocks of its own.
                "overlay" => return Err(Errno::EINVAL.into()),
                "proc" | "devpts" => 1024,
                _ => PAGE_SIZE as u32,
            };
            put(argument, &size)
        }
        FIOQSIZE => put(argument, &(file.inode().metadata()?.blocks * 512)),
        GETFLAGS => put(argument, &0u32),
        FICLONE => {
            let from = ctx.thread.files().get(argument as i32)?;
            clone(&from, file)
        }
        // `FIEMAP`: what lies in memory has no extents.
        _ => Err(Errno::EOPNOTSUPP.into()),
    })
}

fn file_system(file: &OpenFile) -> &'static str {
    file.path().mount().file_system().name()
}

fn put<T: IntoBytes + Immutable>(place: usize, value: &T) -> Attempt {
    UserPtr::<u8>::new(place).put_bytes(value.as_bytes())?;
    Ok(0)
}

/// `FIBMAP`: no file here consists of a device's blocks, which is EINVAL after the answer 0 (`ioctl_fibmap`).
fn block_of(ctx: &Ctx, place: UserPtr<i32>) -> Attempt {
    if !ctx.thread.identity().capable(Capabilities::SYS_RAWIO) {
        return Err(Errno::EPERM.into());
    }
    if place.get()? >= 0 {
        place.put(&0)?;
    }
    Err(Errno::EINVAL.into())
}

/// `FICLONE`: no file system here shares blocks between files; what is wrong with the files is told first (`vfs_clone_file_range`).
fn clone(from: &OpenFile, to: &OpenFile) -> Attempt {
    if from.inode().metadata()?.device != to.inode().metadata()?.device {
        return Err(Errno::EXDEV.into());
    }
    let kinds = [from.kind(), to.kind()];
    if kinds.contains(&FileType::Directory) {
        return Err(Errno::EISDIR.into());
    }
    if kinds != [FileType::Regular; 2] {
        return Err(Errno::EINVAL.into());
    }
    if !from.flags().readable() || !to.flags().writable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.into());
    }
    Err(Errno::EOPNOTSUPP.into())
}
