//! The host: standard streams, signals from outside, the exit status.
//!
//! A [`Host`] is one of two things. With the framed protocol ([`isopod_manifest::channel`]) the streams stay apart and the host can send
//! signals; on a plain console everything is text on one line, for whoever boots an image by hand.

mod channel;
mod input;
mod output;
mod plain;
mod stream;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_drivers::console::CharDevice;
use isopod_fs::{Result, Sink};
use isopod_hal::sync::Once;
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::Kind;

use channel::Channel;
use plain::Plain;
pub use stream::{HostEnd, HostStream, Stream};

/// The way to the host. Nothing here waits.
pub trait Host: Send + Sync {
    /// Sends bytes of `kind`, at most [`MAX_PAYLOAD`](isopod_manifest::channel::MAX_PAYLOAD) of them: all, or without memory for what the
    /// device leaves none, which is false. Senders of much ask [`Host::can_send`] first; the kernel's own words are refused when too
    /// many wait.
    fn send(&self, kind: Kind, bytes: &[u8]) -> bool;

    /// True when the device keeps up with what is sent.
    fn can_send(&self) -> bool;

    /// Woken when [`Host::can_send`] may have become true.
    fn sendable(&self) -> &Arc<WaitQueue>;

    /// Moves standard input to `sink`; 0 at its end, `EAGAIN` while there is none.
    fn read_input(&self, sink: &mut dyn Sink) -> Result<usize>;

    /// How many bytes [`Host::read_input`] would find: `None` at the end.
    fn available_input(&self) -> Option<usize>;

    /// Woken when input, or its end, arrives.
    fn input_arrived(&self) -> &Arc<WaitQueue>;

    /// Is ready when everything sent has left the machine, however long the host takes.
    fn drained(&self) -> Drained<'_>;

    /// Sends last words, whatever state the kernel is in, and waits for the device within bounds.
    fn send_polled(&self, kind: Kind, bytes: &[u8]);
}

/// What [`Host::drained`] returns.
pub type Drained<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

static CURRENT: Once<Arc<dyn Host>> = Once::new();

/// Reaches the host over `device`, framed or plain, and starts what keeps the connection going. The first call counts.
pub fn connect(device: Option<Arc<dyn CharDevice>>, framed: bool, input: bool) -> &'static Arc<dyn Host> {
    CURRENT.get_or_init(|| match device {
        Some(device) if framed => Channel::open(device, input),
        Some(device) => Plain::open(device, input),
        None => Arc::new(Nobody::default()),
    })
}

/// Hears all that `device` has to say, framed, and how many bytes of standard input are among it.
#[cfg(fuzzing)]
pub fn hear(device: Arc<dyn CharDevice>) -> usize {
    Channel::hear(device)
}

/// The way to the host, once it has been reached.
pub fn current() -> Option<&'static Arc<dyn Host>> {
    CURRENT.get()
}

/// Sends the kernel's own words. What cannot be sent is counted, and told as soon as something can.
pub fn log(text: &[u8]) {
    static LOST: AtomicUsize = AtomicUsize::new(0);
    let Some(host) = current() else { return };
    let lost = LOST.swap(0, Ordering::Relaxed);
    let told = lost == 0
        || host.send(Kind::Log, alloc::format!("isopod: {lost} messages were lost here\n").as_bytes());
    if !told || !host.send(Kind::Log, text) {
        LOST.fetch_add(if told { 1 } else { lost + 1 }, Ordering::Relaxed);
    }
}

/// Waits until the device keeps up, for who has many words.
pub async fn caught_up() {
    if let Some(host) = current()
        && !host.can_send()
    {
        host.sendable().until(|| host.can_send().then_some(())).await;
    }
}

/// A host when there is no device to reach one: output is lost, input is at its end.
#[derive(Debug, Default)]
struct Nobody {
    never: Arc<WaitQueue>,
}

impl Host for Nobody {
    fn send(&self, _: Kind, _: &[u8]) -> bool {
        true
    }

    fn can_send(&self) -> bool {
        true
    }

    fn sendable(&self) -> &Arc<WaitQueue> {
        &self.never
    }

    fn read_input(&self, _: &mut dyn Sink) -> Result<usize> {
        Ok(0)
    }

    fn available_input(&self) -> Option<usize> {
        None
    }

    fn input_arrived(&self) -> &Arc<WaitQueue> {
        &self.never
    }

    fn drained(&self) -> Drained<'_> {
        Box::pin(core::future::ready(()))
    }

    fn send_polled(&self, _: Kind, _: &[u8]) {}
}
