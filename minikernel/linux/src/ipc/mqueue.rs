//! POSIX message queues: `mq_overview(7)`.
//!
//! A queue is found by its name and lives as long as it has that or is open. It is a file: its owner and mode are those of its inode.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking};
use isopod_fs::vfs::{Access, check_inode};
use isopod_fs::{Capabilities, DetachedInode, Errno, FileType, Inode, Result, Sink};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use crate::fail::errno;
use crate::kernel;
use crate::process::{Account, Charge, Identity, Process};
use crate::signal::{self, SigInfo, Signal};
use crate::tunable::Tunable;

/// How many priorities there are (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32_768;
/// What nobody can go beyond (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const MESSAGES_HARD: u64 = 65_536;
const SIZE_HARD: u64 = 16 << 20;
/// What Linux counts for a message and for a priority besides the bytes (`struct msg_msg`, `struct posix_msg_tree_node`).
const MESSAGE_COST: u64 = 48;
const PRIORITY_COST: u64 = 48;

/// `/proc/sys/fs/mqueue/msg_default`
pub static MESSAGES_DEFAULT: Tunable = Tunable::new(|| 10, 1, MESSAGES_HARD);
/// `/proc/sys/fs/mqueue/msg_max`
pub static MESSAGES_MAX: Tunable = Tunable::new(|| 10, 1, MESSAGES_HARD);
/// `/proc/sys/fs/mqueue/msgsize_default`
pub static SIZE_DEFAULT: Tunable = Tunable::new(|| 8192, 128, SIZE_HARD);
/// `/proc/sys/fs/mqueue/msgsize_max`
pub static SIZE_MAX: Tunable = Tunable::new(|| 8192, 128, SIZE_HARD);
/// `/proc/sys/fs/mqueue/queues_max`
pub static QUEUES_MAX: Tunable = Tunable::new(|| 256, 0, i32::MAX as u64);

/// Bytes of each user's queues (`RLIMIT_MSGQUEUE`).
static BYTES: Account = Account::new();
/// All queues that have a name.
static NAMES: SpinLock<Vec<Named>> = SpinLock::new(Vec::new());

struct Named {
    name: Vec<u8>,
    inode: Arc<DetachedInode>,
    queue: Arc<Queue>,
}

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Higher ones are received first.
    pub priority: u32,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// Who is told when a message comes to the empty queue, once.
#[derive(Debug)]
struct Notification {
    process: Weak<Process>,
    pid: u32,
    how: Notify,
}

/// How a process is told.
#[derive(Debug, Clone, Copy)]
pub enum Notify {
    /// Not at all (`SIGEV_NONE`): others cannot be told meanwhile.
    Nothing,
    /// By a signal with a value.
    Signal(Option<Signal>, u64),
}

#[derive(Debug, Default)]
struct Contents {
    /// By falling priority, and then by age.
    messages: VecDeque<Message>,
    bytes: usize,
    /// How many wait for a message.
    receivers: usize,
    notification: Option<Notification>,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    /// How many messages it takes.
    pub messages_max: usize,
    /// How long a message can be.
    pub size_max: usize,
    contents: SpinLock<Contents>,
    changed: Arc<WaitQueue>,
    _charge: Charge,
}

/// A queue that is open.
struct QueueFile(Arc<Queue>);

/// What a new queue is to be: how many messages of which size it takes. `None` for the default.
pub type Limits = Option<(i64, i64)>;

fn check_name(name: &[u8]) -> core::result::Result<(), Errno> {
    const NAME_MAX: usize = 255;
    match name {
        b"" => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        _ if name.contains(&b'/') => Err(Errno::EACCES),
        _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// `mq_open(2)`: the description of the queue called `name`, which is made with `mode` and `limits` if `flags` want that.
pub fn open(
    caller: &Identity,
    memory_limit: u64,
    name: &[u8],
    flags: OpenFlags,
    mode: u16,
    limits: Limits,
) -> core::result::Result<Arc<OpenFile>, Errno> {
    check_name(name)?;
    let mut names = NAMES.lock();
    let credentials = caller.for_files();
    let (inode, queue) = match names.iter().find(|named| named.name == name) {
        Some(named) => {
            if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            let wanted = match (flags & OpenFlags::ACCESS_MODE).bits() {
                0 => Access::READ,
                1 => Access::WRITE,
                2 => Access::READ | Access::WRITE,
                _ => return Err(Errno::EINVAL),
            };
            let about = named.inode.metadata().map_err(errno)?;
            check_inode(&about, &credentials, wanted).map_err(errno)?;
            (Arc::clone(&named.inode), Arc::clone(&named.queue))
        }
        None if !flags.contains(OpenFlags::CREAT) => return Err(Errno::ENOENT),
        None => {
            if names.len() as u64 >= QUEUES_MAX.get() && !caller.capable(Capabilities::SYS_RESOURCE) {
                return Err(Errno::ENOSPC);
            }
            let queue = Arc::new(Queue::new(caller, memory_limit, limits)?);
            let inode = DetachedInode::new(FileType::Regular, mode, credentials.uid, credentials.gid);
            let mut key = Vec::new();
            let room = key.try_reserve_exact(name.len()).and_then(|()| names.try_reserve(1));
            room.map_err(|_| Errno::ENOMEM)?;
            key.extend_from_slice(name);
            names.push(Named { name: key, inode: Arc::clone(&inode), queue: Arc::clone(&queue) });
            (inode, queue)
        }
    };
    drop(names);
    let path = kernel::namespace().detached(inode, &[b"/", name].concat());
    OpenFile::anonymous(path, flags, Some(Box::new(QueueFile(queue)))).map_err(errno)
}

/// `mq_unlink(2)`: takes the name away. `EPERM` unless `caller` owns the queue: their folder is sticky.
pub fn unlink(caller: &Identity, name: &[u8]) -> core::result::Result<(), Errno> {
    check_name(name)?;
    let mut names = NAMES.lock();
    let index = names.iter().position(|named| named.name == name).ok_or(Errno::ENOENT)?;
    let owner = names[index].inode.metadata().map_err(errno)?.uid;
    if !caller.for_files().owns(owner) {
        return Err(Errno::EPERM);
    }
    let gone = names.swap_remove(index);
    drop(names);
    drop(gone);
    Ok(())
}

impl Queue {
    /// `EINVAL` for limits that are too high, `EMFILE` if the user's queues would have too many bytes.
    fn new(caller: &Identity, memory_limit: u64, limits: Limits) -> core::result::Result<Self, Errno> {
        let default = (
            MESSAGES_MAX.get().min(MESSAGES_DEFAULT.get()) as i64,
            SIZE_MAX.get().min(SIZE_DEFAULT.get()) as i64,
        );
        let (messages, size) = limits.unwrap_or(default);
        let most = if caller.capable(Capabilities::SYS_RESOURCE) {
            (MESSAGES_HARD, SIZE_HARD)
        } else {
            (MESSAGES_MAX.get(), SIZE_MAX.get())
        };
        let within =
            |number: i64, most: u64| u64::try_from(number).ok().filter(|number| (1..=most).contains(number));
        let messages = within(messages, most.0).ok_or(Errno::EINVAL)?;
        let size = within(size, most.1).ok_or(Errno::EINVAL)?;
        let bytes = messages * (size + MESSAGE_COST) + messages.min(u64::from(PRIORITIES)) * PRIORITY_COST;
        Ok(Self {
            messages_max: messages as usize,
            size_max: size as usize,
            contents: SpinLock::default(),
            changed: Arc::default(),
            _charge: BYTES.charge(caller.users.real, bytes, memory_limit).ok_or(Errno::EMFILE)?,
        })
    }

    /// The queue behind `file`, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Arc<Self>> {
        file.ops()?.downcast_ref::<QueueFile>().map(|file| &file.0)
    }

    /// How many messages wait.
    pub fn count(&self) -> usize {
        self.contents.lock().messages.len()
    }

    /// What is woken when a message comes or goes.
    pub fn changed(&self) -> &Arc<WaitQueue> {
        &self.changed
    }

    /// Puts `message` into the queue for `sender`. `EAGAIN` if that is full; the message is then still there.
    pub fn send(&self, sender: &Identity, pid: u32, message: &mut Option<Message>) -> Result<()> {
        let told = {
            let mut contents = self.contents.lock();
            if contents.messages.len() >= self.messages_max {
                return Err(Errno::EAGAIN.into());
            }
            contents.messages.try_reserve(1)?;
            if let Some(message) = message.take() {
                let place = contents.messages.partition_point(|other| other.priority >= message.priority);
                contents.bytes += message.text.len();
                contents.messages.insert(place, message);
            }
            // Who waits for a message gets it, and nobody need be told.
            let first = contents.messages.len() == 1 && contents.receivers == 0;
            contents.notification.take_if(|_| first)
        };
        if let Some(Notification { process, how: Notify::Signal(Some(signal), value), .. }) = told
            && let Some(process) = process.upgrade()
        {
            let info = SigInfo::of_message(signal, pid, sender.users.real, value);
            // Too many signals wait: it is lost, as on Linux.
            let _ = signal::send_to_process(&process, signal, info);
        }
        self.changed.wake_all();
        Ok(())
    }

    /// Takes the first message of the highest priority. `EAGAIN` if there is none.
    pub fn receive(&self) -> Result<Message> {
        let message = {
            let mut contents = self.contents.lock();
            let message = contents.messages.pop_front().ok_or(Errno::EAGAIN)?;
            contents.bytes -= message.text.len();
            message
        };
        self.changed.wake_all();
        Ok(message)
    }

    /// As long as the value lives, somebody waits for a message.
    pub fn expect(self: &Arc<Self>) -> Expecting {
        self.contents.lock().receivers += 1;
        Expecting(Arc::clone(self))
    }

    /// `mq_notify(2)`: has `process` told of the next message that comes to the empty queue. `EBUSY` if another is.
    pub fn notify(&self, process: &Arc<Process>, how: Notify) -> core::result::Result<(), Errno> {
        let mut contents = self.contents.lock();
        if contents.notification.is_some() {
            return Err(Errno::EBUSY);
        }
        contents.notification =
            Some(Notification { process: Arc::downgrade(process), pid: process.pid, how });
        Ok(())
    }

    /// The process with this id is no longer told.
    pub fn forget(&self, pid: u32) {
        let told = self.contents.lock().notification.take_if(|told| told.pid == pid);
        drop(told);
    }
}

/// Somebody waits for a message of this queue.
#[derive(Debug)]
pub struct Expecting(Arc<Queue>);

impl Drop for Expecting {
    fn drop(&mut self) {
        self.0.contents.lock().receivers -= 1;
    }
}

impl FileOps for QueueFile {
    /// What is in the queue and who is told, as text.
    fn read(&self, _file: &OpenFile, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        const SIGNAL: i32 = 0;
        const NONE: i32 = 1;
        let text = {
            let contents = self.0.contents.lock();
            let (how, signal, pid) = match &contents.notification {
                Some(Notification { pid, how: Notify::Signal(signal, _), .. }) => {
                    (SIGNAL, signal.map_or(0, Signal::number), *pid)
                }
                Some(Notification { pid, .. }) => (NONE, 0, *pid),
                None => (0, 0, 0),
            };
            let bytes = contents.bytes;
            format!("QSIZE:{bytes:<10} NOTIFY:{how:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
        };
        let rest =
            usize::try_from(offset).ok().and_then(|start| text.as_bytes().get(start..)).unwrap_or_default();
        Ok(sink.put(&rest[..rest.len().min(sink.remaining())]))
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        let count = self.0.count();
        let mut ready = Ready::empty();
        ready.set(Ready::READABLE, count > 0);
        ready.set(Ready::WRITABLE, count < self.0.messages_max);
        ready
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.0.changed))
    }

    fn closed_by(&self, process: u32) {
        self.0.forget(process);
    }

    fn seeking(&self) -> Seeking {
        Seeking::Position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn queue(identity: &Identity, name: &[u8], limits: Limits) -> core::result::Result<Arc<OpenFile>, Errno> {
        testing::install_kernel();
        open(identity, 819_200, name, OpenFlags::CREAT | OpenFlags::RDWR, 0o600, limits)
    }

    fn user(id: u32) -> Identity {
        Identity::first(id, id, Vec::new())
    }

    #[test]
    fn higher_priorities_come_first_and_older_messages_before_newer() {
        let owner = user(81_001);
        let file = queue(&owner, b"order", Some((4, 8))).unwrap();
        let queue = Queue::of(&file).unwrap();
        for (priority, byte) in [(1, 1), (5, 2), (1, 3), (5, 4)] {
            queue.send(&owner, 1, &mut Some(Message { priority, text: alloc::vec![byte] })).unwrap();
        }
        let mut more = Some(Message { priority: 0, text: Vec::new() });
        assert!(queue.send(&owner, 1, &mut more).is_err() && more.is_some());
        let order: Vec<_> = (0..4).map(|_| queue.receive().unwrap().text[0]).collect();
        assert_eq!(order, [2, 4, 1, 3]);
        unlink(&owner, b"order").unwrap();
    }

    #[test]
    fn names_limits_and_rights_are_checked() {
        let (owner, other) = (user(81_002), user(81_003));
        assert_eq!(queue(&owner, b"a/b", None).err(), Some(Errno::EACCES));
        assert_eq!(queue(&owner, b"many", Some((11, 8))).err(), Some(Errno::EINVAL));
        let first = queue(&owner, b"mine", None).unwrap();
        assert_eq!(queue(&other, b"mine", None).err(), Some(Errno::EACCES));
        assert_eq!(unlink(&other, b"mine"), Err(Errno::EPERM));
        // Nine queues of 82,880 bytes fit.
        for number in 1..9 {
            queue(&owner, &[b'0' + number], None).unwrap();
        }
        assert_eq!(queue(&owner, b"ten", None).err(), Some(Errno::EMFILE));
        for number in 1..9 {
            unlink(&owner, &[b'0' + number]).unwrap();
        }
        unlink(&owner, b"mine").unwrap();
        drop(first);
        assert_eq!(unlink(&owner, b"mine"), Err(Errno::ENOENT));
    }

    #[test]
    fn one_process_is_told_once() {
        let thread = testing::thread();
        let owner = user(81_004);
        let file = queue(&owner, b"told", None).unwrap();
        let queue = Queue::of(&file).unwrap();
        thread.signals.lock().mask = signal::SigSet::only(Signal::USR1);
        let how = Notify::Signal(Some(Signal::USR1), 7);
        queue.notify(thread.process(), how).unwrap();
        assert_eq!(queue.notify(thread.process(), how), Err(Errno::EBUSY));
        for _ in 0..2 {
            queue.send(&owner, 5, &mut Some(Message { priority: 0, text: Vec::new() })).unwrap();
        }
        let take = || {
            signal::take(&thread, signal::SigSet::only(Signal::USR1))
                .map(|(_, info)| (info.code, info.fields[1]))
        };
        assert_eq!((take(), take()), (Some((-3, 7)), None));
        assert_eq!(queue.notify(thread.process(), how), Ok(()));
        queue.forget(thread.process().pid);
        unlink(&owner, b"told").unwrap();
    }
}
