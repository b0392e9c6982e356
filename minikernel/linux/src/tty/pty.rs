//! Pseudo terminals: `pty(7)`, `/dev/ptmx` and `/dev/pts`.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, OpenRequest, Ready, UserMemory};
use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::vfs::{OpenHow, Process, View};
use isopod_fs::{
    Credentials, DeviceId, DirEntry, Errno, FileSystem, FileType, Inode, InodeState, Metadata, NewNode,
    NodeKind, Result, SetAttributes, Sink, Source, Statistics, drain,
};
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::sync::{Once, SpinLock};

use super::terminal::Far;
use super::{Terminal, ioctl, job};
use crate::ipc::FIONREAD;
use crate::kernel;
use crate::process::{self, Resource};
use crate::signal::Signal;

/// The number of `/dev/ptmx`.
pub const PTMX: DeviceId = DeviceId::new(5, 2);

/// The most pseudo terminals (`kernel.pty.max`).
const PTYS_MAX: usize = 4096;
/// The group that owns terminals (`tty` in every distribution); its members may write to them.
const TTY_GROUP: u32 = 5;

/// All pseudo terminals by number, and places of those that have gone.
static PTYS: SpinLock<Vec<Weak<Terminal>>> = SpinLock::new(Vec::new());

/// The number of `/dev/pts/NUMBER`.
pub const fn slave(number: u32) -> DeviceId {
    DeviceId::new(136, number)
}

/// Opens `/dev/pts/N`. `EIO` once its master has gone, and as long as it is locked.
pub fn open_terminal(request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
    let number = request.inode.metadata()?.special.minor;
    let terminal = PTYS.lock().get(number as usize).and_then(Weak::upgrade);
    terminal.ok_or(Errno::EIO)?.open(request)
}

/// The master of a pseudo terminal.
struct Master {
    terminal: Arc<Terminal>,
    number: u32,
}

/// Opens `/dev/ptmx`: a new pseudo terminal, locked (`TIOCSPTLCK`). `ENOSPC` when there are too many.
pub fn open_master(request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
    let directory = devpts()?.nodes.root();
    let (terminal, number) = {
        let mut ptys = PTYS.lock();
        let free = ptys.iter().position(|pty| pty.strong_count() == 0).unwrap_or(ptys.len());
        if free >= PTYS_MAX {
            return Err(Errno::ENOSPC.into());
        }
        let terminal = Terminal::new(Far::Master(free as u32))?;
        if free == ptys.len() {
            ptys.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            ptys.push(Weak::new());
        }
        ptys[free] = Arc::downgrade(&terminal);
        (terminal, free as u32)
    };
    // From here on its end takes back what was done.
    let master = Master { terminal, number };
    let kind = NodeKind::Special(FileType::CharacterDevice, slave(number));
    let node = NewNode { kind, mode: 0o620, uid: request.credentials.uid, gid: TTY_GROUP };
    directory.create(master.name().as_bytes(), &node)?;
    Ok(Box::new(master))
}

impl Master {
    fn name(&self) -> alloc::string::String {
        alloc::string::ToString::to_string(&self.number)
    }

    /// `TIOCGPTPEER`: opens the other end, wherever `/dev/pts` is mounted for the caller.
    fn open_peer(&self, flags: u32) -> Result<usize> {
        let thread = process::current().ok_or(Errno::EIO)?;
        let flags = OpenFlags::from_bits_retain(flags);
        let root = kernel::root();
        let view = View {
            namespace: kernel::namespace(),
            credentials: &Credentials::root(),
            root: &root,
            directory: &root,
            umask: 0,
            process: Process::default(),
        };
        let name = ["/dev/pts/", &self.name()].concat();
        let file = view.open(&root, name.as_bytes(), &OpenHow::new(flags, 0))?;
        let limit = thread.process().limits.lock().get(Resource::OpenFiles).soft;
        let fd = thread.files().insert(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)?;
        Ok(fd as usize)
    }
}

impl FileOps for Master {
    fn read(&self, _: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        let mut state = self.terminal.lock();
        let deserted = state.deserted;
        let screen = &mut state.line.screen;
        if screen.packets && screen.news != 0 && sink.remaining() > 0 {
            let told = sink.put(&[screen.news]);
            screen.news = if told == 1 { 0 } else { screen.news };
            return Ok(told);
        }
        let packets = screen.packets;
        let bytes = &mut screen.bytes;
        if bytes.is_empty() && sink.remaining() > 0 {
            // Nobody is left who could print.
            return Err(if deserted { Errno::EIO } else { Errno::EAGAIN }.into());
        }
        // A packet of what was printed begins with 0.
        let header = if packets { sink.put(&[0]) } else { 0 };
        let done = drain(bytes, sink);
        self.terminal.settle(state);
        Ok(header + done)
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        if source.remaining() > 0 && self.terminal.room() == 0 {
            return Err(Errno::EAGAIN.into());
        }
        self.terminal.receive(source)
    }

    fn ready(&self, _: &OpenFile) -> Ready {
        let writable = self.terminal.room() > 0;
        let state = self.terminal.lock();
        let mut ready = Ready::empty();
        let screen = &state.line.screen;
        let news = screen.packets && screen.news != 0;
        ready.set(Ready::READABLE, news || !screen.bytes.is_empty());
        ready.set(Ready::PRIORITY, news);
        ready.set(Ready::WRITABLE, writable);
        ready.set(Ready::HANG_UP, state.deserted);
        ready
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.terminal.changed))
    }

    fn ioctl(
        &self,
        file: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        const TIOCPKT: u32 = 0x5420;
        const TIOCGPKT: u32 = 0x8004_5438;
        const TIOCGPTN: u32 = 0x8004_5430;
        const TIOCSPTLCK: u32 = 0x4004_5431;
        const TIOCSIG: u32 = 0x4004_5436;
        const TIOCGPTLCK: u32 = 0x8004_5439;
        const TIOCGPTPEER: u32 = 0x5441;
        match request {
            TIOCPKT => {
                let wanted = ioctl::get(memory, argument)? != 0;
                let mut state = self.terminal.lock();
                let screen = &mut state.line.screen;
                if wanted && !screen.packets {
                    screen.news = 0;
                }
                screen.packets = wanted;
                Ok(0)
            }
            TIOCGPKT => {
                let packets = self.terminal.lock().line.screen.packets;
                ioctl::put(memory, argument, u32::from(packets))
            }
            TIOCGPTN => ioctl::put(memory, argument, self.number),
            TIOCSPTLCK => {
                let locked = ioctl::get(memory, argument)? != 0;
                self.terminal.lock().locked = locked;
                Ok(0)
            }
            TIOCGPTLCK => ioctl::put(memory, argument, u32::from(self.terminal.lock().locked)),
            TIOCGPTPEER => self.open_peer(argument as u32),
            TIOCSIG => {
                let signals = [Signal::INT, Signal::QUIT, Signal::TSTP];
                let wanted = signals.into_iter().find(|signal| usize::from(signal.number()) == argument);
                let foreground = self.terminal.lock().foreground;
                job::signal_group(foreground, wanted.ok_or(Errno::EINVAL)?);
                Ok(0)
            }
            FIONREAD => ioctl::put(memory, argument, self.terminal.lock().line.screen.bytes.len() as u32),
            _ => ioctl::terminal(&self.terminal, true, file, request, argument, memory),
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.terminal.lock().closed = true;
        if let Ok(devpts) = devpts() {
            // It is missing only where it could not be made.
            let _ = devpts.nodes.root().unlink(self.name().as_bytes());
        }
        self.terminal.hang_up();
    }
}

/// The file system of `/dev/pts`; there is one, however often it is mounted.
pub fn file_system() -> Result<Arc<dyn FileSystem>> {
    Ok(Arc::clone(devpts()?) as Arc<dyn FileSystem>)
}

fn devpts() -> Result<&'static Arc<Devpts>> {
    static DEVPTS: Once<Arc<Devpts>> = Once::new();
    if let Some(made) = DEVPTS.get() {
        return Ok(made);
    }
    let nodes = Tmpfs::new(&Options { mode: 0o755, ..Options::default() })?;
    let kind = NodeKind::Special(FileType::CharacterDevice, PTMX);
    nodes.root().create(b"ptmx", &NewNode { kind, mode: 0o666, uid: 0, gid: 0 })?;
    let root = Arc::new(Directory(nodes.root()));
    Ok(DEVPTS.get_or_init(|| Arc::new(Devpts { nodes, root })))
}

/// `devpts`: nodes in memory that come and go with their pseudo terminals.
struct Devpts {
    nodes: Arc<Tmpfs>,
    root: Arc<Directory>,
}

impl FileSystem for Devpts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn statistics(&self) -> Result<Statistics> {
        /// `DEVPTS_SUPER_MAGIC` of magic.h.
        const MAGIC: u32 = 0x1cd1;
        Ok(Statistics { magic: MAGIC, ..self.nodes.statistics()? })
    }
}

/// The directory `/dev/pts`, in which nobody else makes or removes names.
#[derive(Debug)]
struct Directory(Arc<dyn Inode>);

impl Inode for Directory {
    fn metadata(&self) -> Result<Metadata> {
        self.0.metadata()
    }

    fn state(&self) -> &InodeState {
        self.0.state()
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.0.set_attributes(change)
    }

    fn volatile(&self) -> bool {
        true
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.0.lookup(name)
    }

    fn read_dir(&self, cookie: u64, visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        self.0.read_dir(cookie, visit)
    }
}
