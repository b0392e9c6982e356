use super::*;
use crate::fail::Fail;
use crate::poll::{self, FOREVER};
use crate::process::FileTable;
use crate::testing::{self, Task};
use core::task::Poll;
use isopod_fs::file::Ready;
use isopod_fs::vfs::{self, OpenHow, View};
use isopod_fs::{Buffer, Bytes, Credentials, DeviceId};

fn credentials() -> Credentials {
    testing::thread().identity().for_files()
}

fn pipe(flags: OpenFlags) -> (Arc<OpenFile>, Arc<OpenFile>) {
    testing::install_kernel();
    new_pipe(flags, 0, 0).unwrap()
}

fn write(file: &OpenFile, bytes: &[u8]) -> core::result::Result<usize, Errno> {
    file.write(&credentials(), &mut Bytes::new(bytes)).map_err(crate::fail::errno)
}

fn read(file: &OpenFile, length: usize) -> core::result::Result<usize, Errno> {
    file.read(&mut Buffer::new(&mut alloc::vec![0; length])).map_err(crate::fail::errno)
}

#[test]
fn readiness_is_that_of_linux() {
    let (reader, writer) = pipe(OpenFlags::empty());
    assert_eq!((reader.ready(), writer.ready()), (Ready::empty(), Ready::WRITABLE));
    assert_eq!(read(&reader, 1), Err(Errno::EAGAIN));
    assert_eq!(write(&writer, &alloc::vec![1; 70_000]), Ok(65_536));
    assert_eq!(write(&writer, b"x"), Err(Errno::EAGAIN));
    assert_eq!((reader.ready(), writer.ready()), (Ready::READABLE, Ready::empty()));
    drop(writer);
    assert_eq!(reader.ready(), Ready::READABLE | Ready::HANG_UP);
    assert_eq!(read(&reader, 100_000), Ok(65_536));
    assert_eq!((read(&reader, 1), reader.ready()), (Ok(0), Ready::HANG_UP));
}

#[test]
fn a_pipe_without_readers_is_broken() {
    let (reader, writer) = pipe(OpenFlags::empty());
    drop(reader);
    assert_eq!(writer.ready(), Ready::WRITABLE | Ready::ERROR);
    assert_eq!(write(&writer, b""), Ok(0));
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
}

#[test]
fn capacity_follows_fcntl() {
    let (reader, writer) = pipe(OpenFlags::empty());
    let pipe = Pipe::of(&reader).unwrap();
    let errno = |result: Result<usize>| result.map_err(crate::fail::errno);
    assert_eq!(pipe.capacity(), 65_536);
    assert_eq!(errno(pipe.set_capacity(0, false)), Ok(4096));
    assert_eq!(errno(pipe.set_capacity(4097, false)), Ok(8192));
    assert_eq!(write(&writer, &[0; 8192]), Ok(8192));
    assert_eq!(errno(pipe.set_capacity(4096, false)), Err(Errno::EBUSY));
    assert_eq!(errno(pipe.set_capacity(2 << 20, false)), Err(Errno::EPERM));
    assert_eq!(errno(pipe.set_capacity(2 << 20, true)), Ok(2 << 20));
    assert_eq!(errno(pipe.set_capacity(u32::MAX, true)), Err(Errno::EINVAL));
}

#[test]
fn a_blocked_read_ends_with_data_and_with_the_last_writer() {
    let (reader, writer) = pipe(OpenFlags::empty());
    let thread = testing::thread();
    let mut task = Task::new(poll::until_ready(&thread, &reader, FOREVER, || {
        reader.read(&mut Buffer::new(&mut [0; 8]))
    }));
    assert_eq!(task.poll(), Poll::Pending);
    write(&writer, b"abc").unwrap();
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(), Poll::Ready(Ok(3)));
    let mut task = Task::new(poll::until_ready(&thread, &reader, FOREVER, || {
        reader.read(&mut Buffer::new(&mut [0; 8]))
    }));
    assert_eq!(task.poll(), Poll::Pending);
    drop(writer);
    assert_eq!((task.wakes() > 0, task.poll()), (true, Poll::Ready(Ok(0))));
}

#[test]
fn a_deadline_that_has_passed_is_eagain() {
    let (reader, _writer) = pipe(OpenFlags::empty());
    let thread = testing::thread();
    let deadline = isopod_hal::clock::monotonic_ns() + 1000;
    let mut task = Task::new(poll::until_ready(&thread, &reader, deadline, || {
        reader.read(&mut Buffer::new(&mut [0; 8]))
    }));
    while task.poll().is_pending() {}
    let mut never = Task::new(poll::until_ready(&thread, &reader, poll::NEVER, || {
        reader.read(&mut Buffer::new(&mut [0; 8]))
    }));
    assert_eq!(never.poll(), Poll::Ready(Err(Fail::Errno(Errno::EAGAIN))));
}

/// Every order in which a reader and a writer can run their steps ends with the byte read.
#[test]
fn no_wake_up_is_lost_in_any_order() {
    for order in 0..64u32 {
        let (reader, writer) = pipe(OpenFlags::empty());
        let thread = testing::thread();
        let mut task = Task::new(poll::until_ready(&thread, &reader, FOREVER, || {
            reader.read(&mut Buffer::new(&mut [0; 8]))
        }));
        let (mut written, mut polled_at, mut done) = (false, usize::MAX, false);
        for step in 0..6 {
            if order >> step & 1 == 0 && !written {
                write(&writer, b"x").unwrap();
                written = true;
            } else if polled_at != task.wakes() {
                // An executor polls a task first, and then only when it was woken.
                polled_at = task.wakes();
                done = task.poll() == Poll::Ready(Ok(1));
                if done {
                    break;
                }
            }
        }
        assert!(done || !written || polled_at != task.wakes(), "order {order:b}");
    }
}

fn fifo() -> (vfs::Path, Credentials) {
    let thread = testing::thread();
    let credentials = thread.identity().for_files();
    (crate::kernel::root(), credentials)
}

/// Opens the FIFO `name`, which is made at its first use.
fn open(name: &[u8], flags: OpenFlags) -> core::result::Result<Arc<OpenFile>, Errno> {
    let (root, credentials) = fifo();
    let view = View {
        namespace: crate::kernel::namespace(),
        credentials: &credentials,
        root: &root,
        directory: &root,
        umask: 0,
        process: vfs::Process { id: 1, thread: 1 },
    };
    match view.mknod(&root, name, FileType::Fifo, 0o600, DeviceId::default()) {
        Ok(_) => {}
        Err(error) => assert_eq!(crate::fail::errno(error), Errno::EEXIST),
    }
    view.open(&root, name, &OpenHow::new(flags, 0)).map_err(crate::fail::errno)
}

#[test]
fn the_ends_of_a_fifo_wait_for_each_other() {
    let reader = open(b"meet", OpenFlags::empty()).unwrap();
    let queue = poll::opens_later(&reader).unwrap().unwrap();
    let met = || poll::opens_later(&reader).unwrap().is_none().then_some(());
    let mut opening = Task::new(queue.until(met));
    assert_eq!(opening.poll(), Poll::Pending);
    // Even a writer that leaves at once is met.
    drop(open(b"meet", OpenFlags::WRONLY).unwrap());
    assert!(opening.wakes() > 0);
    assert_eq!(opening.poll(), Poll::Ready(()));
    assert_eq!(reader.ready(), Ready::HANG_UP);
}

#[test]
fn a_fifo_opened_without_blocking_follows_its_man_page() {
    assert_eq!(open(b"alone", OpenFlags::WRONLY | OpenFlags::NONBLOCK).unwrap_err(), Errno::ENXIO);
    let reader = open(b"alone", OpenFlags::NONBLOCK).unwrap();
    // Nobody has hung up yet, and there is nothing to read.
    assert_eq!((reader.ready(), read(&reader, 1)), (Ready::empty(), Ok(0)));
    let writer = open(b"alone", OpenFlags::WRONLY | OpenFlags::NONBLOCK).unwrap();
    assert_eq!(read(&reader, 1), Err(Errno::EAGAIN));
    drop(writer);
    assert_eq!(reader.ready(), Ready::HANG_UP);
    let both = open(b"alone", OpenFlags::RDWR).unwrap();
    assert_eq!(write(&both, b"abc"), Ok(3));
    assert_eq!(read(&both, 9), Ok(3));
}

#[test]
fn what_waits_in_a_pipe_comes_back_with_its_ends() {
    let (reader, writer) = pipe(OpenFlags::empty());
    let table = FileTable::new();
    for file in [&reader, &writer] {
        table.insert(Arc::clone(file), false, 0, 8).unwrap();
    }
    write(&writer, &alloc::vec![1; 16 * PAGE_SIZE]).unwrap();
    let shared = table.footprint();
    assert!(shared < PAGE_SIZE);
    drop((reader, writer));
    assert!(table.footprint() > shared + 16 * PAGE_SIZE);
}
