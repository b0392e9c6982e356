use super::*;
use crate::ipc::eventfd::new_eventfd;
use crate::ipc::pipe::new_pipe;
use crate::testing::{self, Task};
use core::task::Poll;
use isopod_fs::{Buffer, Bytes, Credentials};

const IN: u32 = 1;
const OUT: u32 = 4;
const EDGE: u32 = Mode::EDGE.bits();
const ONE_SHOT: u32 = Mode::ONE_SHOT.bits();

fn instance() -> (Arc<OpenFile>, Arc<Epoll>) {
    testing::install_kernel();
    let file = new_epoll().unwrap();
    let epoll = Arc::clone(Epoll::of(&file).unwrap());
    (file, epoll)
}

fn pipe() -> (Arc<OpenFile>, Arc<OpenFile>) {
    testing::install_kernel();
    new_pipe(OpenFlags::NONBLOCK, 0, 0).unwrap()
}

fn credentials() -> Credentials {
    testing::thread().identity().for_files()
}

fn write(file: &OpenFile) {
    assert_eq!(file.write(&credentials(), &mut Bytes::new(b"x")).unwrap(), 1);
}

fn read(file: &OpenFile) {
    assert_eq!(file.read(&mut Buffer::new(&mut [0])).unwrap(), 1);
}

fn interest(events: u32, data: u64) -> Interest {
    Interest { events, data }
}

/// What a wait of no length reports: data and events.
fn collect(epoll: &Epoll, limit: usize) -> Vec<(u64, u32)> {
    let mut events = Vec::new();
    epoll.collect(&mut |report| {
        events.push((report.data, report.events));
        if events.len() < limit { Told::GoOn } else { Told::Enough }
    });
    events
}

/// What a wait reports.
async fn next(epoll: &Epoll) -> Vec<(u64, u32)> {
    loop {
        let events = collect(epoll, 1);
        if !events.is_empty() {
            return events;
        }
        epoll.wait().await;
    }
}

#[test]
fn level_stays_edge_comes_once_and_one_shot_falls_silent() {
    let (_file, epoll) = instance();
    let (reader, writer) = pipe();
    epoll.add(3, &reader, interest(IN, 1)).unwrap();
    assert_eq!(collect(&epoll, 9), []);
    write(&writer);
    assert_eq!((collect(&epoll, 9), collect(&epoll, 9)), ([(1, IN)].to_vec(), [(1, IN)].to_vec()));
    epoll.modify(3, &reader, interest(IN | EDGE, 2)).unwrap();
    assert_eq!((collect(&epoll, 9), collect(&epoll, 9)), ([(2, IN)].to_vec(), [].to_vec()));
    write(&writer);
    assert_eq!((collect(&epoll, 9), collect(&epoll, 9)), ([(2, IN)].to_vec(), [].to_vec()));
    epoll.modify(3, &reader, interest(IN | ONE_SHOT, 3)).unwrap();
    assert_eq!(collect(&epoll, 9), [(3, IN)]);
    write(&writer);
    assert_eq!(collect(&epoll, 9), []);
    epoll.modify(3, &reader, interest(IN, 4)).unwrap();
    assert_eq!(collect(&epoll, 9), [(4, IN)]);
    read(&reader);
    read(&reader);
    read(&reader);
    assert_eq!(collect(&epoll, 9), []);
}

#[test]
fn few_events_at_a_time_are_shared_fairly() {
    let (_file, epoll) = instance();
    let pipes: Vec<_> = (0..3).map(|_| pipe()).collect();
    for (index, (_, writer)) in pipes.iter().enumerate() {
        epoll.add(index as i32, writer, interest(OUT, index as u64)).unwrap();
    }
    let seen: Vec<_> = (0..6).flat_map(|_| collect(&epoll, 1)).map(|(data, _)| data).collect();
    assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    assert_eq!(collect(&epoll, 2), [(0, OUT), (1, OUT)]);
}

#[test]
fn a_closed_file_vanishes_and_leaves_nothing_behind() {
    let (file, epoll) = instance();
    let (reader, writer) = pipe();
    epoll.add(3, &reader, interest(IN, 1)).unwrap();
    let queue = Arc::downgrade(&reader.wait_queue().unwrap());
    write(&writer);
    drop(reader);
    assert_eq!(collect(&epoll, 9), []);
    drop((writer, file));
    let items: Vec<_> = epoll.inner.lock().items.values().map(Arc::downgrade).collect();
    drop(epoll);
    assert!(items.iter().all(|item| item.strong_count() == 0));
    assert_eq!(queue.strong_count(), 0);
}

#[test]
fn a_list_of_closed_files_is_swept() {
    let (_file, epoll) = instance();
    for fd in 0..1000 {
        let file = new_eventfd(0, false, OpenFlags::empty()).unwrap();
        epoll.add(fd, &file, interest(IN, 0)).unwrap();
    }
    assert!(epoll.inner.lock().items.len() <= SWEEP_MIN);
}

#[test]
fn control_errors_are_those_of_linux() {
    let (file, epoll) = instance();
    let (reader, _writer) = pipe();
    assert_eq!(epoll.modify(3, &reader, interest(IN, 0)), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(3, &reader), Err(Errno::ENOENT));
    epoll.add(3, &reader, interest(IN, 0)).unwrap();
    assert_eq!(epoll.add(3, &reader, interest(IN, 0)), Err(Errno::EEXIST));
    epoll.add(4, &reader, interest(IN | Mode::EXCLUSIVE.bits(), 0)).unwrap();
    assert_eq!(epoll.modify(4, &reader, interest(IN, 0)), Err(Errno::EINVAL));
    assert_eq!(
        epoll.add(5, &reader, interest(IN | ONE_SHOT | Mode::EXCLUSIVE.bits(), 0)),
        Err(Errno::EINVAL)
    );
    let (_other, outer) = instance();
    assert_eq!(outer.add(6, &file, interest(IN | Mode::EXCLUSIVE.bits(), 0)), Err(Errno::EINVAL));
    epoll.delete(3, &reader).unwrap();
}

#[test]
fn instances_nest_but_never_in_a_loop_nor_too_deep() {
    let chain: Vec<_> = (0..6).map(|_| instance()).collect();
    for pair in chain[..5].windows(2) {
        pair[1].1.add(1, &pair[0].0, interest(IN, 7)).unwrap();
    }
    assert_eq!(chain[0].1.add(1, &chain[4].0, interest(IN, 0)), Err(Errno::ELOOP));
    assert_eq!(chain[5].1.add(1, &chain[4].0, interest(IN, 0)), Err(Errno::ELOOP));
    assert_eq!(chain[0].1.add(1, &chain[5].0, interest(IN, 0)), Err(Errno::ELOOP));
    chain[1].1.add(1, &chain[5].0, interest(IN, 0)).unwrap();
    chain[1].1.delete(1, &chain[5].0).unwrap();
    assert!(chain[5].1.watchers.lock().is_empty());
    let (reader, writer) = pipe();
    chain[0].1.add(3, &reader, interest(IN, 1)).unwrap();
    assert_eq!(collect(&chain[4].1, 9), []);
    write(&writer);
    assert_eq!(collect(&chain[4].1, 9), [(7, IN)]);
    assert_eq!(chain[4].0.ready(), Ready::READABLE);
    read(&reader);
    assert_eq!(collect(&chain[4].1, 9), []);
    assert_eq!(chain[4].0.ready(), Ready::empty());
}

#[test]
fn an_event_that_could_not_be_told_comes_again() {
    let (_file, epoll) = instance();
    let (_reader, writer) = pipe();
    epoll.add(3, &writer, interest(OUT | EDGE | ONE_SHOT, 1)).unwrap();
    epoll.collect(&mut |_| Told::Not);
    assert_eq!((collect(&epoll, 9), collect(&epoll, 9)), ([(1, OUT)].to_vec(), [].to_vec()));
}

/// Two waiters, two events, every order of the four steps: each waiter that can have an event gets one.
#[test]
fn waiters_share_events_in_any_order() {
    for order in 0..16u32 {
        let (_file, epoll) = instance();
        let pipes = [pipe(), pipe()];
        for (fd, (reader, _)) in pipes.iter().enumerate() {
            epoll.add(fd as i32, reader, interest(IN | EDGE, fd as u64)).unwrap();
        }
        let mut tasks = [Task::new(next(&epoll)), Task::new(next(&epoll))];
        let mut writes = 0;
        let mut done = [false; 2];
        for step in 0..4 {
            if order >> step & 1 == 0 && writes < 2 {
                write(&pipes[writes].1);
                writes += 1;
            }
            for (task, done) in tasks.iter_mut().zip(&mut done) {
                // At first, then when woken.
                if !*done && (step == 0 || task.wakes() > 0) {
                    *done = task.poll().is_ready();
                }
            }
        }
        assert_eq!(done.iter().filter(|&&done| done).count(), writes, "order {order:b}");
    }
}

#[test]
fn a_wait_ends_when_a_file_is_added_that_is_ready() {
    let (_file, epoll) = instance();
    let mut task = Task::new(next(&epoll));
    assert!(task.poll().is_pending());
    let (_reader, writer) = pipe();
    epoll.add(3, &writer, interest(OUT, 9)).unwrap();
    assert!(task.wakes() > 0);
    assert_eq!(task.poll(), Poll::Ready([(9, OUT)].to_vec()));
}
