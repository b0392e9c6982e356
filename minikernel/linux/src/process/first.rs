//! The first process: the image's command.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;

use isopod_fs::file::WriteDenied;
use isopod_fs::vfs::Resolve;
use isopod_fs::{Errno, Error};
use isopod_manifest::Manifest;

use super::{FileTable, FsContext, Identity, Limits, Process, Thread, allocate_pid, init, run};
use crate::exec::{self, Program};
use crate::fail::errno;
use crate::host::{Host, HostStream, Stream};
use crate::kernel;
use crate::mm::{AddressSpace, Layout};
use crate::syscall::{PATH_MAX, with_view};
use crate::tty::console;
use crate::wait::retry;

/// Where commands are looked for when the environment does not say (as container engines do).
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the first process could not be started for a reason that is not its command's. Shown with what to do on a second line.
#[derive(Debug)]
pub enum StartError {
    /// Its working directory cannot be had.
    WorkingDir(Vec<u8>, Errno),
    /// A volume's directory cannot be made.
    Volume(Vec<u8>, Errno),
    /// No memory, no standard streams.
    Setup(Errno),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = alloc::string::String::from_utf8_lossy;
        match self {
            Self::WorkingDir(path, errno) => {
                write!(
                    f,
                    "cannot enter the working directory {}: {errno}\nhint: name another with -w",
                    text(path)
                )
            }
            Self::Volume(path, errno) => write!(
                f,
                "cannot make the volume {}: {errno}\nhint: the image has a file in its place: build it again without",
                text(path)
            ),
            Self::Setup(errno) => {
                write!(f, "cannot start the first process: {errno}\nhint: give the VM more memory with -m")
            }
        }
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Setup(errno)
    }
}

/// Why the command cannot be run, and the status that a shell gives such a command.
struct CommandError {
    errno: Errno,
    path_searched: bool,
}

impl CommandError {
    /// 127 when it was not found, 126 when it was and cannot be executed.
    fn status(&self) -> u8 {
        if self.errno == Errno::ENOENT { 127 } else { 126 }
    }
}

/// Starts the manifest's command as process 1, or as its only child. A command that cannot be run still makes a process, which ends with 126
/// or 127 and a line in the log. Returns process 1. What can be large of the manifest is the process's then.
pub async fn start_first(manifest: &mut Manifest, host: &Arc<dyn Host>) -> Result<Arc<Process>, StartError> {
    let init = if manifest.init { Some(init::new()?) } else { None };
    let thread = application(manifest, init.as_deref())?;
    prepare_directories(&thread, manifest).await?;
    open_streams(&thread, manifest, host)?;
    let user = core::mem::take(&mut manifest.user);
    thread.set_identity(Identity::first(user.uid, user.gid, user.groups));
    let first = init.as_ref().unwrap_or(&thread);
    let found = find_command(&thread, manifest).await;
    match found.and_then(|found| check_size(&thread, manifest).map(|()| found)) {
        Ok((file, path)) => {
            let [arguments, environment] = [&mut manifest.args, &mut manifest.env].map(core::mem::take);
            let program = Program { file, path, closed: false, arguments, environment };
            if let Some(init) = &init {
                init::start(init, Arc::clone(thread.process()));
            }
            run::start_program(&thread, program, manifest.debug);
        }
        Err(error) => {
            report(manifest, &error);
            first.process().leave(first);
            first.process().finish(error.status());
        }
    }
    Ok(Arc::clone(first.process()))
}

/// Says why the command cannot be run.
fn report(manifest: &Manifest, error: &CommandError) {
    let reason = match (error.errno, error.path_searched) {
        (Errno::ENOENT, true) => "not found in $PATH",
        (errno, _) => errno.description(),
    };
    say(manifest.args.first().map_or(b"", Vec::as_slice), reason, error.errno);
}

/// What the manifest says of a program that was found but could not be loaded.
pub(super) fn report_unloadable(path: &[u8], errno: Errno) -> u8 {
    let reason = match errno {
        Errno::ENOENT => "it exists, but its interpreter does not",
        Errno::ENOEXEC => "it is no program for this machine and no script with #!",
        Errno::ELIBBAD => "its interpreter is no program for this machine",
        other => other.description(),
    };
    say(path, reason, errno);
    CommandError { errno, path_searched: false }.status()
}

/// Tells the user what cannot be run, why, and what to do about it.
fn say(name: &[u8], reason: &str, errno: Errno) {
    let hint = match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => "see what the image has: isopod run SOURCE ls /bin",
        Errno::E2BIG => {
            "pass less: arguments and environment may have 2 MiB together with a pointer to each, and each of them 128 KiB"
        }
        Errno::EACCES => "chmod +x it where the image is built, or run it as another user (-u)",
        Errno::EUCLEAN | Errno::EIO => "the image is damaged: build or pull it again",
        Errno::ENOMEM => "give the VM more memory with -m, or build the program again if it is damaged",
        _ => "build the program for x86-64 Linux again, or name another command",
    };
    let name = alloc::string::String::from_utf8_lossy(name);
    kernel::log(alloc::format!("isopod: cannot run {name}: {reason}\nhint: {hint}\n").as_bytes());
}

/// The application's process, without a program yet.
fn application(manifest: &Manifest, init: Option<&Thread>) -> Result<Arc<Thread>, Errno> {
    let layout = Layout::random(&mut kernel::random_u64, 0);
    let memory = AddressSpace::new(layout, Limits::new(manifest.resources.open_files.into()).of_memory())
        .map_err(|_| Errno::ENOMEM)?;
    let parent = init.map_or(Weak::new(), |init| Arc::downgrade(init.process()));
    let thread = new_process(parent, Arc::new(memory), manifest.resources.open_files)?;
    if let Some(init) = init {
        init::adopt(init, thread.process());
    }
    Ok(thread)
}

/// A process that acts as the superuser, at the root.
pub(super) fn new_process(
    parent: Weak<Process>,
    memory: Arc<AddressSpace>,
    open_files: u32,
) -> Result<Arc<Thread>, Errno> {
    let limits = Limits::new(u64::from(open_files));
    let pid = allocate_pid()?;
    let process = Arc::new(Process::new(pid, parent, memory, limits));
    let thread = Thread::new(
        None,
        pid,
        process,
        Arc::new(FileTable::new()),
        Arc::new(FsContext::new(kernel::root())),
        Arc::default(),
        Arc::new(Identity::first(0, 0, Vec::new())),
    );
    thread.process().enter(Arc::clone(&thread))?;
    Ok(thread)
}

/// Makes the volumes' directories and the working directory where the image lacks them, and enters the latter.
async fn prepare_directories(thread: &Arc<Thread>, manifest: &Manifest) -> Result<(), StartError> {
    for volume in &manifest.volumes {
        make_path(thread, volume).await.map_err(|errno| StartError::Volume(volume.clone(), errno))?;
    }
    let wanted = &manifest.working_dir;
    let refused = |errno| StartError::WorkingDir(wanted.clone(), errno);
    make_path(thread, wanted).await.map_err(refused)?;
    let place = retry(|| {
        with_view(thread, |view| view.resolve(view.root, wanted, Resolve::FOLLOW | Resolve::DIRECTORY))
    })
    .await
    .map_err(refused)?;
    thread.fs().set_working_dir(place);
    Ok(())
}

/// Makes a directory and those above it, as far as they are missing.
async fn make_path(thread: &Arc<Thread>, path: &[u8]) -> Result<(), Errno> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let made = retry(|| {
            with_view(thread, |view| match view.resolve(view.root, &path[..end], Resolve::FOLLOW) {
                Err(Error::Errno(Errno::ENOENT)) => view.mkdir(view.root, &path[..end], 0o755),
                outcome => outcome.map(|_| ()),
            })
        });
        made.await?;
    }
    Ok(())
}

/// Opens standard input, output and error as 0, 1 and 2: three pipes, or one terminal.
fn open_streams(thread: &Arc<Thread>, manifest: &Manifest, host: &Arc<dyn Host>) -> Result<(), Errno> {
    let files = thread.files();
    let (uid, gid) = (manifest.user.uid, manifest.user.gid);
    if manifest.terminal {
        let file = console::start(thread, host, manifest.stdin, uid);
        let file = file.map_err(errno)?;
        for _ in 0..3 {
            files.insert(Arc::clone(&file), false, 0, u64::MAX)?;
        }
        return Ok(());
    }
    for stream in [Stream::Input, Stream::Output, Stream::Error] {
        let file = HostStream::open(host, stream, uid, gid).map_err(errno)?;
        files.insert(file, false, 0, u64::MAX)?;
    }
    Ok(())
}

/// Whether the command can be given its arguments and environment: no more than execve(2) takes, which is what its stack has room for.
fn check_size(thread: &Thread, manifest: &Manifest) -> Result<(), CommandError> {
    let mut room = exec::Room::of(thread);
    let taken = manifest.args.iter().chain(&manifest.env).try_for_each(|string| room.take(string));
    taken.map_err(|errno| CommandError { errno, path_searched: false })
}

/// The command's file and its path: a name without a slash is looked for in `PATH`, as execvp(3) does.
async fn find_command(
    thread: &Arc<Thread>,
    manifest: &Manifest,
) -> Result<(WriteDenied, Vec<u8>), CommandError> {
    let name = manifest.args.first().map_or(&b""[..], Vec::as_slice);
    if name.contains(&b'/') {
        let found = retry(|| exec::open_path(thread, name))
            .await
            .map_err(|errno| CommandError { errno, path_searched: false })?;
        return Ok((found, name.to_vec()));
    }
    if name.len() >= PATH_MAX {
        return Err(CommandError { errno: Errno::ENAMETOOLONG, path_searched: false });
    }
    let path = manifest.env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    let mut outcome = Errno::ENOENT;
    for directory in path.split(|&byte| byte == b':').filter(|directory| directory.len() < PATH_MAX) {
        let candidate = match directory {
            [] => name.to_vec(),
            directory => [directory, b"/", name].concat(),
        };
        match retry(|| exec::open_path(thread, &candidate)).await {
            Ok(file) => return Ok((file, candidate)),
            // A file that may not be executed is remembered; the search goes on.
            Err(Errno::EACCES) => outcome = Errno::EACCES,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // What the command's file could not be asked about is no reason to run another of its name.
            Err(errno) => return Err(CommandError { errno, path_searched: true }),
        }
    }
    Err(CommandError { errno: outcome, path_searched: true })
}
