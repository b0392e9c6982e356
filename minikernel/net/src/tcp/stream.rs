//! A connection as the table and a socket share it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_hal::sync::{RwSpinLock, SpinLock};

use super::deadlines::{Armed, Deadlines};
use super::ports::Binding;
use super::time_wait::TimeWait;
use super::{Connection, Events, Flow, Tcp};

/// Who wants to know what happens to a connection or a listener.
pub trait Observer: Send + Sync + core::fmt::Debug {
    /// Something happened. No lock of TCP's is held.
    fn notify(&self, events: Events);
}

/// A connection, its lock, and who watches it.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    hash: u32,
    flow: Flow,
    inner: SpinLock<Inner>,
    observer: RwSpinLock<Option<Arc<dyn Observer>>>,
    /// Whether the table has it.
    linked: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    armed: Armed,
    /// Goes on to TIME-WAIT.
    binding: Option<Arc<Binding>>,
}

impl Stream {
    pub(super) fn new(id: u32, hash: u32, connection: Connection, binding: Option<Arc<Binding>>) -> Self {
        Self {
            id,
            hash,
            flow: *connection.flow(),
            inner: SpinLock::new(Inner { connection, armed: Armed::new(), binding }),
            observer: RwSpinLock::new(None),
            linked: AtomicBool::new(true),
        }
    }

    /// Its two ends.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Has `observer` told what happens from now on; look at the connection after that, and not before.
    pub fn observe(&self, observer: Option<Arc<dyn Observer>>) {
        *self.observer.write() = observer;
    }

    /// Does something with the connection, locked, and then what follows from it: timers, the table, and telling the observer.
    pub fn with<R>(&self, tcp: &Tcp, now: u64, action: impl FnOnce(&mut Connection) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = action(&mut inner.connection);
        let events = self.settle(tcp, now, &mut inner);
        drop(inner);
        self.tell(events);
        result
    }

    /// Looks at the connection.
    pub fn look<R>(&self, look: impl FnOnce(&Connection) -> R) -> R {
        look(&self.inner.lock().connection)
    }

    /// An entry for `at` among the deadlines came true.
    pub(super) fn expire(&self, tcp: &Tcp, now: u64, at: u64, out: &mut dyn super::Output) {
        let mut inner = self.inner.lock();
        if !Deadlines::came(&mut inner.armed, at) {
            return;
        }
        if inner.connection.deadline().is_some_and(|deadline| deadline <= now) {
            inner.connection.expire(now, out);
        }
        let events = self.settle(tcp, now, &mut inner);
        drop(inner);
        self.tell(events);
    }

    fn settle(&self, tcp: &Tcp, now: u64, inner: &mut Inner) -> Events {
        let events = inner.connection.take_events();
        if events.contains(Events::CLOSED) && self.linked.swap(false, Ordering::Relaxed) {
            let binding = inner.binding.take();
            let successor = events
                .contains(Events::TIME_WAIT)
                .then(|| TimeWait::new(tcp.next_id(), &inner.connection, now, binding));
            tcp.replace(self.hash, self.id, successor);
        } else {
            tcp.deadlines.watch(&mut inner.armed, inner.connection.deadline(), self.hash, self.id);
        }
        events
    }

    fn tell(&self, events: Events) {
        if events.is_empty() {
            return;
        }
        let observer = self.observer.read().clone();
        if let Some(observer) = observer {
            observer.notify(events);
        }
    }
}
