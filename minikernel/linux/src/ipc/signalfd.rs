//! signalfd(2): signals as something to read.
//!
//! Whose signals these are is decided by who reads or polls, not by who made the file.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking};
use isopod_fs::{Errno, Result, Sink};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use zerocopy::{Immutable, IntoBytes};

use crate::process::{self, Thread};
use crate::signal::{self, SI_TIMER, SI_TKILL, SI_USER, SigInfo, SigSet, Signal};

/// The signals that a file lets through.
#[derive(Debug)]
pub struct SignalFile {
    wanted: SpinLock<SigSet>,
}

/// A new file for the signals in `wanted`. `flags` can be `O_NONBLOCK`.
pub fn new_signalfd(wanted: SigSet, flags: OpenFlags) -> core::result::Result<Arc<OpenFile>, Errno> {
    let ops = SignalFile { wanted: SpinLock::new(wanted.difference(SigSet::UNSTOPPABLE)) };
    super::anonymous_file("[signalfd]", OpenFlags::RDWR | flags, Box::new(ops))
}

impl SignalFile {
    /// The signalfd behind `file`, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Self> {
        file.ops()?.downcast_ref()
    }

    /// Changes which signals are let through.
    pub fn set_wanted(&self, wanted: SigSet) {
        *self.wanted.lock() = wanted.difference(SigSet::UNSTOPPABLE);
        if let Some(thread) = process::current() {
            thread.process().signalled.wake_all();
        }
    }
}

impl FileOps for SignalFile {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if sink.remaining() < size_of::<Record>() {
            return Err(Errno::EINVAL.into());
        }
        let thread = process::current().ok_or(Errno::EAGAIN)?;
        let wanted = *self.wanted.lock();
        let mut done = 0;
        while sink.remaining() >= size_of::<Record>() {
            let Some((signal, info)) = signal::take(&thread, wanted) else { break };
            let put = sink.put(Record::new(&info).as_bytes());
            if put < size_of::<Record>() {
                // The copy was cut: the signal waits again, to be met by the next try.
                put_back(&thread, signal, info);
                return Ok(done);
            }
            done += put;
        }
        if done > 0 { Ok(done) } else { Err(Errno::EAGAIN.into()) }
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        let wanted = *self.wanted.lock();
        let waits = process::current().is_some_and(|thread| {
            let own = thread.signals.lock().pending.set();
            !own.union(thread.process().pending.lock().set()).intersection(wanted).is_empty()
        });
        if waits { Ready::READ } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        process::current().map(|thread| Arc::clone(&thread.process().signalled))
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}

/// A signal that could not be handed over waits again, if need be without its information.
fn put_back(thread: &Thread, signal: Signal, info: SigInfo) {
    let mut signals = thread.signals.lock();
    if !signals.pending.push(signal, info, None) {
        signals.pending.mark(signal);
    }
}

/// `struct signalfd_siginfo`
#[derive(Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    signal: u32,
    errno: i32,
    code: i32,
    pid: u32,
    uid: u32,
    fd: i32,
    timer: u32,
    band: u32,
    overrun: u32,
    trap: u32,
    status: i32,
    int: i32,
    pointer: u64,
    user_time: u64,
    system_time: u64,
    address: u64,
    address_lsb: u16,
    padding: [u16; 23],
}

const _: () = assert!(size_of::<Record>() == 128);

impl Record {
    /// The fields that mean something for this signal, as `signalfd_copyinfo()` of Linux.
    fn new(info: &SigInfo) -> Self {
        let [first, second, third, fourth, ..] = info.fields;
        let (low, high) = (first as u32, (first >> 32) as u32);
        let mut record =
            Self { signal: info.signal as u32, errno: info.errno, code: info.code, ..Self::default() };
        let number = Signal::new(record.signal);
        match (info.code, number) {
            (SI_TIMER, _) => {
                (record.timer, record.overrun) = (low, high);
                (record.pointer, record.int) = (second, second as i32);
            }
            (SI_USER | SI_TKILL, _) => (record.pid, record.uid) = (low, high),
            (1.., Some(Signal::CHLD)) => {
                (record.pid, record.uid, record.status) = (low, high, second as i32);
                (record.user_time, record.system_time) = (third, fourth);
            }
            (1.., Some(number)) if SigSet::SYNCHRONOUS.contains(number) => record.address = first,
            // Queued by a program, with a value of its own.
            (..0, _) => {
                (record.pid, record.uid) = (low, high);
                (record.pointer, record.int) = (second, second as i32);
            }
            _ => (record.pid, record.uid) = (low, high),
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::{self, FOREVER};
    use crate::testing::{self, Task};
    use core::task::Poll;
    use isopod_fs::Buffer;

    #[test]
    fn a_blocked_signal_is_read_by_who_waits_for_it() {
        let thread = testing::thread();
        let file = new_signalfd(SigSet::only(Signal::TERM), OpenFlags::empty()).unwrap();
        thread.signals.lock().mask = SigSet::only(Signal::TERM);
        let mut bytes = [0; 300];
        let mut task = Task::new(process::in_thread(&thread, async {
            poll::until_ready(&thread, &file, FOREVER, || file.read(&mut Buffer::new(&mut bytes))).await
        }));
        assert_eq!(task.poll(), Poll::Pending);
        let info = SigInfo::user(Signal::TERM, SI_USER, 7, 8);
        signal::send_to_process(thread.process(), Signal::TERM, info).unwrap();
        assert!(task.wakes() > 0);
        assert_eq!(task.poll(), Poll::Ready(Ok(128)));
        drop(task);
        assert_eq!((bytes[0], bytes[12], bytes[16]), (15, 7, 8));
        assert!(thread.process().pending.lock().set().is_empty());
    }
}
