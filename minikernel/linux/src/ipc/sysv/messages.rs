//! Message queues: `msgget(2)`, `msgop(2)`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::sync::wait::WaitQueue;

use super::registry::OBJECTS_MAX;
use super::{Object, Registry, now};
use crate::process::{Identity, Thread};
use crate::tunable::Tunable;

/// `/proc/sys/kernel/msgmax`: bytes of a message.
pub static SIZE_MAX: Tunable = Tunable::new(|| 8192, 0, i32::MAX as u64);
/// `/proc/sys/kernel/msgmnb`: bytes of a queue.
pub static QUEUE_MAX: Tunable = Tunable::new(|| 16_384, 0, i32::MAX as u64);
/// `/proc/sys/kernel/msgmni`
pub static QUEUES_MAX: Tunable = Tunable::new(|| 32_000, 0, OBJECTS_MAX);

/// All queues.
pub static QUEUES: Registry<Queue> = Registry::new(&QUEUES_MAX);

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its type, which is above zero.
    pub kind: i64,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    messages: VecDeque<Message>,
    /// Bytes of all messages.
    pub bytes: usize,
    /// How many bytes it takes.
    pub bytes_max: usize,
    /// When a message was last sent and received, and the queue changed.
    pub times: [i64; 3],
    /// Who sent and who received last.
    pub pids: [u32; 2],
    /// Woken when a message has come, or the queue is gone.
    readable: Arc<WaitQueue>,
    /// Woken when there is room, or the queue is gone.
    writable: Arc<WaitQueue>,
}

/// Which message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The first.
    Any,
    /// The first of this type.
    Kind(i64),
    /// The first of any other type.
    Except(i64),
    /// The first of the lowest type up to this.
    UpTo(i64),
    /// A copy of the one with this number.
    Copy(i64),
}

/// msgget(2)
pub fn get(caller: &Identity, key: i32, flags: u32) -> Result<i32, Errno> {
    let make = || {
        Ok(Queue {
            messages: VecDeque::new(),
            bytes: 0,
            bytes_max: QUEUE_MAX.get() as usize,
            times: [0, 0, now()],
            pids: [0; 2],
            readable: Arc::default(),
            writable: Arc::default(),
        })
    };
    QUEUES.get_or_make(caller, key, flags, &|_| Ok(()), &make)
}

impl Queue {
    /// How many messages wait.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// What is woken when a message has come, and what when one has gone.
    pub fn waits(&self) -> (Arc<WaitQueue>, Arc<WaitQueue>) {
        (Arc::clone(&self.readable), Arc::clone(&self.writable))
    }

    fn find(&self, wanted: Wanted) -> Option<usize> {
        let mut messages = self.messages.iter();
        match wanted {
            Wanted::Any => (!self.messages.is_empty()).then_some(0),
            Wanted::Kind(kind) => messages.position(|message| message.kind == kind),
            Wanted::Except(kind) => messages.position(|message| message.kind != kind),
            Wanted::UpTo(most) => {
                let kinds = messages.enumerate().map(|(index, message)| (message.kind, index));
                kinds.filter(|(kind, _)| *kind <= most).min().map(|(_, index)| index)
            }
            Wanted::Copy(number) => {
                usize::try_from(number).ok().filter(|&number| number < self.messages.len())
            }
        }
    }
}

/// Puts the message into the queue. `EAGAIN` if that is full; the message is then still there.
pub fn send(thread: &Thread, object: &Object<Queue>, message: &mut Option<Message>) -> Result<(), Errno> {
    let mut state = object.get()?;
    state.permission.check(&thread.identity(), super::WRITE)?;
    let queue = &mut state.body;
    let length = message.as_ref().map_or(0, |message| message.text.len());
    if queue.bytes + length > queue.bytes_max || queue.messages.len() >= queue.bytes_max {
        return Err(Errno::EAGAIN);
    }
    queue.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    queue.messages.extend(message.take());
    queue.bytes += length;
    queue.times[0] = now();
    queue.pids[0] = thread.process().pid;
    let readable = Arc::clone(&queue.readable);
    drop(state);
    readable.wake_all();
    Ok(())
}

/// Takes the message that is wanted out of the queue: `ENOMSG` if there is none, `E2BIG` if it has more than `room` bytes and may not be
/// `cut`.
pub fn receive(
    thread: &Thread,
    object: &Object<Queue>,
    wanted: Wanted,
    room: usize,
    cut: bool,
) -> Result<Message, Errno> {
    let mut state = object.get()?;
    state.permission.check(&thread.identity(), super::READ)?;
    let queue = &mut state.body;
    let index = queue.find(wanted).ok_or(Errno::ENOMSG)?;
    let length = queue.messages[index].text.len();
    if length > room && !cut {
        return Err(Errno::E2BIG);
    }
    if matches!(wanted, Wanted::Copy(_)) {
        // A copy is never cut (`copy_msg`).
        if length > room {
            return Err(Errno::EINVAL);
        }
        let (kind, from) = (queue.messages[index].kind, &queue.messages[index].text);
        let mut text = Vec::new();
        text.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(from);
        return Ok(Message { kind, text });
    }
    let message = queue.messages.remove(index).ok_or(Errno::ENOMSG)?;
    queue.bytes -= length;
    queue.times[1] = now();
    queue.pids[1] = thread.process().pid;
    let writable = Arc::clone(&queue.writable);
    drop(state);
    writable.wake_all();
    Ok(message)
}

/// `IPC_RMID`: who waits gets `EIDRM`.
pub fn remove(object: &Object<Queue>) {
    let Some(gone) = QUEUES.remove_if(object.id, |_| true) else { return };
    let (messages, (readable, writable)) = {
        let body = &mut gone.lock().body;
        (core::mem::take(&mut body.messages), body.waits())
    };
    drop(messages);
    readable.wake_all();
    writable.wake_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn message(kind: i64, text: &[u8]) -> Message {
        Message { kind, text: text.to_vec() }
    }

    #[test]
    fn messages_are_chosen_by_type() {
        let thread = testing::thread();
        let id = get(&thread.identity(), super::super::PRIVATE, 0o600).unwrap();
        let queue = QUEUES.get(id).unwrap();
        for (kind, text) in [(5, b"five"), (3, b"thre"), (9, b"nine"), (3, b"last")] {
            send(&thread, &queue, &mut Some(message(kind, text))).unwrap();
        }
        let take = |wanted| receive(&thread, &queue, wanted, 4, false).map(|message| message.text);
        assert_eq!(take(Wanted::Copy(2)).unwrap(), b"nine");
        assert_eq!(take(Wanted::UpTo(8)).unwrap(), b"thre");
        assert_eq!(take(Wanted::Except(5)).unwrap(), b"nine");
        assert_eq!(take(Wanted::Kind(9)), Err(Errno::ENOMSG));
        assert_eq!(receive(&thread, &queue, Wanted::Any, 3, false).err(), Some(Errno::E2BIG));
        assert_eq!(take(Wanted::Any).unwrap(), b"five");
        remove(&queue);
        assert_eq!(take(Wanted::Any), Err(Errno::EIDRM));
    }

    #[test]
    fn a_full_queue_keeps_the_sender_and_its_message() {
        let thread = testing::thread();
        let id = get(&thread.identity(), super::super::PRIVATE, 0o600).unwrap();
        let queue = QUEUES.get(id).unwrap();
        for _ in 0..2 {
            send(&thread, &queue, &mut Some(message(1, &[0; 8192]))).unwrap();
        }
        let mut more = Some(message(1, b"x"));
        assert_eq!(send(&thread, &queue, &mut more), Err(Errno::EAGAIN));
        assert!(more.is_some());
        receive(&thread, &queue, Wanted::Any, 0, true).unwrap();
        assert_eq!(send(&thread, &queue, &mut more), Ok(()));
        remove(&queue);
    }
}
