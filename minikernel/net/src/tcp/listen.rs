//! A socket that listens: the handshakes that were begun, and the connections that wait to be accepted (listen(2)).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_hal::sync::SpinLock;

use super::connection::Buffers;
use super::ports::{Binding, Scope};
use super::{
    Events, Flow, Handshake, Observer, Options, Path, Secret, SegmentHeader, Seq, SocketOptions, Stream, Tcp,
};

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    pub(super) scope: Scope,
    port: u16,
    queue: SpinLock<Queue>,
    options: SpinLock<SocketOptions>,
    /// The only interface that connections come by; 0 for any.
    interface: AtomicU32,
    observer: Arc<dyn Observer>,
}

#[derive(Debug)]
struct Queue {
    /// The port that it has, as long as it is open.
    binding: Option<Arc<Binding>>,
    backlog: usize,
    /// Handshakes that are not complete.
    requests: usize,
    accepted: VecDeque<Arc<Stream>>,
    /// When a cookie was last sent instead of keeping a request.
    cookies_sent: Option<u64>,
}

impl Listener {
    pub(super) fn new(
        scope: Scope,
        binding: Arc<Binding>,
        backlog: usize,
        options: SocketOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let port = binding.port();
        let binding = Some(binding);
        let queue = Queue { binding, backlog, requests: 0, accepted: VecDeque::new(), cookies_sent: None };
        let interface = AtomicU32::new(options.manners[0].interface);
        Self {
            scope,
            port,
            queue: SpinLock::new(queue),
            options: SpinLock::new(options),
            interface,
            observer,
        }
    }

    /// The next connection, if there is one.
    pub fn accept(&self) -> Option<Arc<Stream>> {
        let mut queue = self.queue.lock();
        let stream = queue.accepted.pop_front();
        if queue.accepted.is_empty() && queue.accepted.capacity() > 64 {
            queue.accepted = VecDeque::new();
        }
        stream
    }

    /// Connections that wait, and how many may.
    pub fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.accepted.len(), queue.backlog)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What connections inherit.
    pub fn options(&self) -> SocketOptions {
        self.options.lock().clone()
    }

    /// Changes what connections inherit that are still to come.
    pub fn set_options(&self, options: SocketOptions) {
        self.interface.store(options.manners[0].interface, Ordering::Relaxed);
        *self.options.lock() = options;
    }

    /// Whether a segment has come from near enough.
    pub(super) fn takes(&self, flow: &Flow, header: &SegmentHeader) -> bool {
        self.options.lock().takes(flow, header)
    }

    /// Whether connections may come by an interface, and if so whether only by that one.
    pub(super) fn interface_fits(&self, interface: &dyn Fn() -> u32) -> Option<bool> {
        match self.interface.load(Ordering::Relaxed) {
            0 => Some(false),
            own => (own == interface()).then_some(true),
        }
    }

    /// listen(2) again: another backlog.
    pub fn set_backlog(&self, backlog: usize) {
        self.queue.lock().backlog = backlog;
    }

    /// A handshake with a peer that began one, or that completes one for which nothing was kept.
    pub(super) fn handshake(
        &self,
        flow: &Flow,
        path: Path,
        secret: Secret,
        irs: Seq,
        offered: Options,
    ) -> Handshake {
        let options = self.options.lock();
        let (mss, window) = (options.announced_mss(path.mss), Buffers::first_window(&options));
        let manner = options.manner(flow);
        Handshake { flow: *flow, path, secret, irs, offered, mss, window, manner, answered: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.queue.lock().is_open()
    }

    /// The port for a connection, which keeps it in use.
    pub(super) fn binding(&self) -> Option<Arc<Binding>> {
        self.queue.lock().binding.clone()
    }

    /// How a SYN is to be treated.
    pub(super) fn admit(&self, now: u64) -> Admission {
        let mut queue = self.queue.lock();
        if !queue.is_open() || queue.is_full() {
            return Admission::Refused;
        }
        let (cookies, most) = {
            let options = self.options.lock();
            (options.cookies, options.syn_backlog)
        };
        if queue.requests >= queue.backlog.max(1) || cookies == 2 {
            queue.cookies_sent = Some(now);
            return if cookies == 0 { Admission::Refused } else { Admission::Cookie };
        }
        // The last quarter was for peers that are known, of which nothing is kept here.
        if cookies == 0 && queue.requests >= most as usize / 4 * 3 {
            return Admission::Refused;
        }
        queue.requests += 1;
        Admission::Request
    }

    /// A request is gone.
    pub(super) fn forget_request(&self) {
        let mut queue = self.queue.lock();
        queue.requests = queue.requests.saturating_sub(1);
    }

    /// Whether there is room for a connection.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.queue.lock();
        queue.is_open() && !queue.is_full()
    }

    /// Since a while no cookie was sent, so none can come back.
    pub(super) fn expects_cookies(&self, now: u64, lifetime: u64) -> bool {
        self.queue.lock().cookies_sent.is_some_and(|sent| now.saturating_sub(sent) < lifetime)
    }

    /// Hands a connection to whoever accepts. False when nobody will.
    pub(super) fn offer(&self, stream: Arc<Stream>) -> bool {
        let mut queue = self.queue.lock();
        if !queue.is_open() || queue.accepted.try_reserve(1).is_err() {
            return false;
        }
        queue.accepted.push_back(stream);
        true
    }

    /// Wakes whoever accepts.
    pub(super) fn tell(&self) {
        self.observer.notify(Events::READABLE);
    }

    /// Ends it; connections that nobody accepted are given back.
    pub(super) fn shut(&self) -> VecDeque<Arc<Stream>> {
        let mut queue = self.queue.lock();
        if let Some(binding) = queue.binding.take() {
            binding.stop_listening();
        }
        core::mem::take(&mut queue.accepted)
    }

    /// Stops listening. Connections that nobody accepted are reset.
    pub fn close(&self, tcp: &Tcp, now: u64, out: &mut dyn super::Output) {
        tcp.listeners.remove(self);
        for stream in self.shut() {
            stream.with(tcp, now, |connection| connection.abort(now, out));
        }
    }
}

impl Queue {
    fn is_open(&self) -> bool {
        self.binding.is_some()
    }

    /// As in Linux there may be one more than the backlog says.
    fn is_full(&self) -> bool {
        self.accepted.len() > self.backlog
    }
}

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Request,
    /// The queue is full: the peer keeps the state itself.
    Cookie,
    Refused,
}
