//! A device for tests: the other side of a transport, driven by the test step by step.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard};

use isopod_hal::PhysAddr;

use super::{Doorbell, Handler, Rings, StartError, Status, Transport, feature};

/// What the simulated device knows.
pub(super) struct Simulated {
    state: Mutex<State>,
    handler: Mutex<Option<Handler>>,
    /// What the device does when it is notified.
    reaction: Mutex<Option<Reaction>>,
}

type Reaction = Arc<dyn Fn() + Send + Sync>;

struct State {
    offered: u64,
    accepted: u64,
    status: Status,
    selected: u16,
    config: Vec<u8>,
    queues: Vec<SimulatedQueue>,
    /// Features that it does not agree to although it offers them.
    refused: u64,
    resets: usize,
    acknowledged: usize,
}

#[derive(Clone)]
struct SimulatedQueue {
    limit: u16,
    size: u16,
    rings: Option<Rings>,
    seen: u16,
    used: u16,
    notified: usize,
}

/// A buffer as the device sees it.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    pub head: u16,
    /// The bytes for the device to read.
    pub input: Vec<u8>,
    /// The pieces for the device to write.
    pub output: Vec<(u64, u32)>,
}

impl Buffer {
    /// Bytes that the device may write.
    pub(super) fn room(&self) -> u32 {
        self.output.iter().map(|(_, len)| len).sum()
    }

    /// Writes `bytes` into the pieces, in order.
    pub(super) fn fill(&self, mut bytes: &[u8]) {
        for (address, len) in &self.output {
            let (now, later) = bytes.split_at(bytes.len().min(*len as usize));
            write(*address, now);
            bytes = later;
        }
        assert!(bytes.is_empty(), "the buffer is too small");
    }
}

fn read<const N: usize>(address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    isopod_hal::firmware::read(PhysAddr::new(address), &mut bytes).expect("memory");
    bytes
}

fn write(address: u64, bytes: &[u8]) {
    isopod_hal::hosted::write_physical(PhysAddr::new(address), bytes);
}

fn read_u16(address: u64) -> u16 {
    u16::from_le_bytes(read(address))
}

struct Link(Arc<Simulated>);

impl Simulated {
    /// A device that offers `features` besides `VERSION_1`, with queues of at most the given sizes.
    pub(super) fn new(features: u64, config: &[u8], queues: &[u16]) -> (Arc<Self>, Box<dyn Transport>) {
        let queue = |limit: &u16| SimulatedQueue {
            limit: *limit,
            size: 0,
            rings: None,
            seen: 0,
            used: 0,
            notified: 0,
        };
        let device = Arc::new(Self {
            state: Mutex::new(State {
                offered: features | feature::VERSION_1,
                accepted: 0,
                status: Status::empty(),
                selected: 0,
                config: config.to_vec(),
                queues: queues.iter().map(queue).collect(),
                refused: 0,
                resets: 0,
                acknowledged: 0,
            }),
            handler: Mutex::new(None),
            reaction: Mutex::new(None),
        });
        let link = Box::new(Link(Arc::clone(&device)));
        (device, link)
    }

    /// As [`Simulated::new`], but it takes back `features` when the driver accepts them.
    pub(super) fn refusing(features: u64) -> (Arc<Self>, Box<dyn Transport>) {
        let (device, link) = Self::new(features, &[], &[1]);
        device.state().refused = features;
        (device, link)
    }

    /// As [`Simulated::new`], from before virtio 1.0.
    pub(super) fn legacy() -> Box<dyn Transport> {
        let (device, link) = Self::new(0, &[], &[1]);
        device.state().offered = 0;
        link
    }

    /// Has the device do this from now on whenever it is notified.
    pub(super) fn when_notified(&self, reaction: impl Fn() + Send + Sync + 'static) {
        *self.reaction.lock().unwrap() = Some(Arc::new(reaction));
    }

    /// As if the driver had accepted these features.
    pub(super) fn accept(&self, features: u64) {
        self.state().accepted = features;
    }

    /// Whether the driver has made nothing available that the device has not taken.
    pub(super) fn take_is_empty(&self, queue: usize) -> bool {
        let state = self.state();
        let queue = &state.queues[queue];
        read_u16(queue.rings.expect("the queue is enabled").available.as_u64() + 2) == queue.seen
    }

    /// Asks for no notifications until the next [`Simulated::take`].
    pub(super) fn silence(&self, queue: usize) {
        let state = self.state();
        let queue = &state.queues[queue];
        let used = queue.rings.expect("the queue is enabled").used.as_u64();
        write(used, &1u16.to_le_bytes());
        write(used + 4 + 8 * u64::from(queue.size), &queue.seen.wrapping_sub(1).to_le_bytes());
    }

    /// Whether the driver uses a queue.
    pub(super) fn has_queue(&self, queue: usize) -> bool {
        self.state().queues[queue].rings.is_some()
    }

    /// Changes its configuration, of which it does not tell by itself.
    pub(super) fn set_config(&self, config: &[u8]) {
        self.state().config = config.to_vec();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn status(&self) -> Status {
        self.state().status
    }

    pub(super) fn accepted_features(&self) -> u64 {
        self.state().accepted
    }

    /// How often `queue` was notified.
    pub(super) fn notified(&self, queue: usize) -> usize {
        self.state().queues[queue].notified
    }

    /// How often the driver acknowledged an interrupt.
    pub(super) fn acknowledged(&self) -> usize {
        self.state().acknowledged
    }

    /// How often the driver reset the device.
    pub(super) fn resets(&self) -> usize {
        self.state().resets
    }

    /// The next buffer that the driver made available.
    pub(super) fn take(&self, queue: usize) -> Option<Buffer> {
        let mut state = self.state();
        let queue = &mut state.queues[queue];
        let rings = queue.rings.expect("the queue is enabled");
        let available = rings.available.as_u64();
        if read_u16(available + 2) == queue.seen {
            return None;
        }
        let head = read_u16(available + 4 + 2 * u64::from(queue.seen % queue.size));
        queue.seen = queue.seen.wrapping_add(1);
        // The next notification is wanted at once.
        write(rings.used.as_u64(), &0u16.to_le_bytes());
        write(rings.used.as_u64() + 4 + 8 * u64::from(queue.size), &queue.seen.to_le_bytes());
        let mut buffer = Buffer { head, input: Vec::new(), output: Vec::new() };
        let mut descriptor = head;
        for _ in 0..queue.size {
            let at = rings.descriptors.as_u64() + 16 * u64::from(descriptor);
            let address = u64::from_le_bytes(read(at));
            let len = u32::from_le_bytes(read(at + 8));
            let flags = read_u16(at + 12);
            if flags & 2 == 0 {
                assert!(buffer.output.is_empty(), "what the device reads comes first");
                let mut bytes = vec![0; len as usize];
                isopod_hal::firmware::read(PhysAddr::new(address), &mut bytes).expect("memory");
                buffer.input.extend(bytes);
            } else {
                buffer.output.push((address, len));
            }
            if flags & 1 == 0 {
                return Some(buffer);
            }
            descriptor = read_u16(at + 14);
        }
        panic!("the chain runs in circles");
    }

    /// Returns a buffer, or what the test claims to be one.
    pub(super) fn give_back(&self, queue: usize, head: u32, written: u32) {
        let mut state = self.state();
        let queue = &mut state.queues[queue];
        let used = queue.rings.expect("the queue is enabled").used.as_u64();
        let entry = used + 4 + 8 * u64::from(queue.used % queue.size);
        write(entry, &head.to_le_bytes());
        write(entry + 4, &written.to_le_bytes());
        queue.used = queue.used.wrapping_add(1);
        write(used + 2, &queue.used.to_le_bytes());
    }

    /// Claims to have returned `index` buffers of `queue` since the beginning.
    pub(super) fn set_used_index(&self, queue: usize, index: u16) {
        let used = self.state().queues[queue].rings.expect("the queue is enabled").used.as_u64();
        write(used + 2, &index.to_le_bytes());
    }

    /// Whether the driver wants an interrupt for the buffer returned last.
    pub(super) fn interrupt_wanted(&self, queue: usize) -> bool {
        let state = self.state();
        let queue = &state.queues[queue];
        let available = queue.rings.expect("the queue is enabled").available.as_u64();
        if state.accepted & feature::EVENT_INDEX == 0 {
            return read_u16(available) & 1 == 0;
        }
        read_u16(available + 4 + 2 * u64::from(queue.size)) == queue.used.wrapping_sub(1)
    }

    /// Raises the interrupt.
    pub(super) fn interrupt(&self) {
        self.handler.lock().unwrap().as_ref().expect("the interrupt is connected")(None);
    }
}

impl Transport for Link {
    fn reset(&self) {
        let mut state = self.0.state();
        state.status = Status::empty();
        state.resets += 1;
        state.queues.iter_mut().for_each(|queue| queue.rings = None);
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn set_status(&self, status: Status) {
        let mut state = self.0.state();
        assert!(!state.status.contains(Status::FAILED), "after a failure comes a reset");
        assert!(status.contains(state.status), "the driver takes no status bit back");
        state.status = status;
        if state.accepted & state.refused != 0 {
            state.status -= Status::FEATURES_OK;
        }
    }

    fn device_features(&self) -> u64 {
        assert_eq!(self.0.status(), Status::ACKNOWLEDGE | Status::DRIVER);
        self.0.state().offered
    }

    fn accept_features(&self, features: u64) {
        let mut state = self.0.state();
        assert_eq!(features & !state.offered, 0);
        state.accepted = features;
    }

    fn connect(&mut self, _: u16, handler: Handler) -> Result<(), StartError> {
        assert!(self.0.handler.lock().unwrap().replace(handler).is_none());
        Ok(())
    }

    fn follow_config(&self) -> Result<(), StartError> {
        Ok(())
    }

    fn select_queue(&self, queue: u16) -> u16 {
        let mut state = self.0.state();
        state.selected = queue;
        state.queues.get(usize::from(queue)).map_or(0, |queue| queue.limit)
    }

    fn enable_queue(&self, size: u16, rings: Rings, _: u16) -> Result<Doorbell, StartError> {
        let mut state = self.0.state();
        let selected = usize::from(state.selected);
        let queue = &mut state.queues[selected];
        assert!(size.is_power_of_two() && size <= queue.limit);
        assert!(
            rings.descriptors.is_aligned(16) && rings.available.is_aligned(2) && rings.used.is_aligned(4)
        );
        queue.size = size;
        assert!(queue.rings.replace(rings).is_none());
        Ok(Doorbell(selected))
    }

    fn notify(&self, queue: u16, doorbell: Doorbell) {
        assert_eq!(usize::from(queue), doorbell.0);
        let mut state = self.0.state();
        assert!(state.status.contains(Status::DRIVER_OK), "no notification before the device is live");
        state.queues[doorbell.0].notified += 1;
        drop(state);
        let reaction = self.0.reaction.lock().unwrap().clone();
        if let Some(reaction) = reaction {
            reaction();
        }
    }

    fn config(&self, offset: usize) -> u32 {
        crate::bytes::u32(&self.0.state().config, offset).unwrap_or(0)
    }

    fn acknowledge_interrupt(&self, used: bool) -> bool {
        self.0.state().acknowledged += 1;
        !used
    }
}
