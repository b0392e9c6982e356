//! The console device (virtio 1.2, 5.3), of which one port is used.
//!
//! That is port 0, the console proper, but for a device with room for exactly one port more: there it is port 1. QEMU
//! drops what a console proper prints when the host does not take it at once, and lets the guest wait only at
//! other ports; so whoever must not lose a byte gives the machine such a device.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_hal::dma::Dma;
use isopod_hal::sync::{SpinLock, wait::WaitQueue};
use isopod_hal::{PAGE_SIZE, PhysAddr, log};

use super::queue::Queue;
use super::{Driver, StartError, Transport, Violation, start};
use crate::console::CharDevice;
use crate::segment::Segment;

mod feature {
    pub const MULTIPORT: u64 = 1 << 1;
}

/// Offset of the number of ports in the device's configuration.
const CONFIG_PORTS: usize = 4;

/// Messages about ports (5.3.6.2): 32 bits of port number, 16 bits of event, 16 bits of value.
mod control {
    /// The queue on which the driver sends them.
    pub const TRANSMIT: u16 = 3;
    pub const MESSAGE: usize = 8;
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_READY: u16 = 3;
    pub const PORT_OPEN: u16 = 6;
}

/// Input buffers lie behind the rings of their queue, in the same page.
const INPUT_BUFFERS: u16 = 4;
const INPUT_BUFFER: usize = 960;
/// The first output buffer lies behind the rings of its queue too; each other one has a page, which is allocated when
/// first needed.
const OUTPUT_BUFFERS: u16 = 8;
const FIRST_OUTPUT_BUFFER: usize = 3584;

#[derive(Debug)]
struct Input {
    queue: Queue,
    /// Buffers with input that nobody has read yet.
    arrived: VecDeque<Arrived>,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    buffer: u16,
    /// What is left of it.
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct Output {
    queue: Queue,
    /// The buffers but the first.
    pages: [Option<Dma>; OUTPUT_BUFFERS as usize - 1],
    /// Buffers that the device does not have.
    free: Vec<u16>,
    /// Since the last interrupt somebody may have begun to wait for a buffer to come back.
    awaited: bool,
}

/// A virtio console.
pub struct VirtioConsole {
    transport: Arc<dyn Transport>,
    input: SpinLock<Input>,
    output: SpinLock<Output>,
    readable: WaitQueue,
    writable: WaitQueue,
    /// Where ports are opened, of a device that has several.
    control: Option<SpinLock<Queue>>,
    /// The device broke the rules.
    dead: AtomicBool,
}

impl VirtioConsole {
    /// Starts the device behind `transport`, ready for input.
    pub fn start(transport: Box<dyn Transport>) -> Result<Arc<Self>, StartError> {
        let console = start(
            transport,
            |_| feature::MULTIPORT,
            1,
            |transport, features| {
                let multiport = features & feature::MULTIPORT != 0;
                let port = u32::from(multiport && transport.config(CONFIG_PORTS) == 2);
                let control = if multiport { Some(open_port(&*transport, port, features)?) } else { None };
                // The queues of control messages lie between those of port 0 and the others.
                let (receive, transmit) = if port == 0 { (0, 1) } else { (4, 5) };
                let room = usize::from(INPUT_BUFFERS) * INPUT_BUFFER;
                let input = Queue::new(&*transport, receive, INPUT_BUFFERS, room, features)?;
                let output =
                    Queue::new(&*transport, transmit, OUTPUT_BUFFERS, FIRST_OUTPUT_BUFFER, features)?;
                let input = Input::new(input)?;
                let output = Output::new(output);
                Ok(Self {
                    transport,
                    input: SpinLock::new(input),
                    output: SpinLock::new(output),
                    readable: WaitQueue::new(),
                    writable: WaitQueue::new(),
                    control: control.map(SpinLock::new),
                    dead: AtomicBool::new(false),
                })
            },
        )?;
        if let Some(control) = &console.control {
            control.lock().kick(&*console.transport);
        }
        console.input.lock().queue.kick(&*console.transport);
        Ok(console)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Stops a device that broke the rules, and wakes all who wait for it.
    fn give_up(&self, violation: Violation) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            log!("virtio-console: device given up: {violation}");
            self.transport.reset();
            self.readable.wake_all();
            self.writable.wake_all();
        }
    }

    /// Collects input; true if there is any that was not there before.
    fn harvest_input(&self) -> Result<bool, Violation> {
        let mut input = self.input.lock();
        let before = input.arrived.len();
        input.harvest()?;
        input.queue.kick(&*self.transport);
        Ok(input.arrived.len() > before)
    }

    /// Collects returned output buffers; true if there is one, and somebody may wait for it. Whoever looked since the device announced it
    /// may have collected it already, so that it need not be new.
    fn harvest_output(&self) -> Result<bool, Violation> {
        let mut output = self.output.lock();
        output.harvest()?;
        while output.free.is_empty() && !output.queue.listen() {
            output.harvest()?;
        }
        Ok(!output.free.is_empty() && core::mem::take(&mut output.awaited))
    }

    /// Writes what there is room for.
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut output = self.output.lock();
        let mut written = 0;
        loop {
            output.harvest()?;
            written += output.write(&bytes[written..]);
            output.queue.kick(&*self.transport);
            if written == bytes.len() && !output.free.is_empty() {
                output.queue.silence();
                return Ok(written);
            }
            // Whoever waits for room must hear of the next buffer that comes back. One that has come back already
            // is not announced.
            output.awaited = true;
            if output.queue.listen() {
                return Ok(written);
            }
        }
    }
}

/// Makes the queue for control messages with those that open `port`. The device's answers only confirm what the machine's
/// owner has decided, so nothing waits for them.
fn open_port(transport: &dyn Transport, port: u32, features: u64) -> Result<Queue, StartError> {
    let messages = [(control::DEVICE_READY, 1u16), (control::PORT_READY, 1), (control::PORT_OPEN, 1)];
    let room = messages.len() * control::MESSAGE;
    let mut queue = Queue::new(transport, control::TRANSMIT, 4, room, features)?;
    queue.silence();
    for (index, (event, value)) in messages.into_iter().enumerate() {
        let offset = queue.spare() + index * control::MESSAGE;
        queue.memory().write_u32(offset, port);
        queue.memory().write_u16(offset + 4, event);
        queue.memory().write_u16(offset + 6, value);
        let address = queue.address(offset);
        queue.push(0, &[Segment { address, len: control::MESSAGE as u32 }], 0);
    }
    Ok(queue)
}

impl Input {
    fn new(queue: Queue) -> Result<Self, StartError> {
        let mut arrived = VecDeque::new();
        arrived.try_reserve_exact(usize::from(INPUT_BUFFERS)).map_err(|_| StartError::OutOfMemory)?;
        let mut input = Self { queue, arrived };
        for buffer in 0..INPUT_BUFFERS.min(input.queue.size()) {
            input.offer(buffer);
        }
        Ok(input)
    }

    /// Offset of a buffer in the queue's memory.
    fn place(&self, buffer: u16) -> usize {
        self.queue.spare() + usize::from(buffer) * INPUT_BUFFER
    }

    /// Gives a buffer to the device.
    fn offer(&mut self, buffer: u16) {
        let address = self.queue.address(self.place(buffer));
        self.queue.push(buffer, &[Segment { address, len: INPUT_BUFFER as u32 }], 1);
    }

    /// Collects buffers that the device has filled.
    fn harvest(&mut self) -> Result<(), Violation> {
        loop {
            while let Some(completion) = self.queue.pop()? {
                // The queue has checked that the length is that of the buffer at most.
                match completion.written as usize {
                    0 => self.offer(completion.token),
                    to => self.arrived.push_back(Arrived { buffer: completion.token, from: 0, to }),
                }
            }
            if self.queue.listen() {
                return Ok(());
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(front) = self.arrived.front().copied() {
            let len = (front.to - front.from).min(into.len() - done);
            self.queue.memory().read(self.place(front.buffer) + front.from, &mut into[done..done + len]);
            done += len;
            if front.from + len < front.to {
                self.arrived[0].from += len;
                break;
            }
            self.arrived.pop_front();
            self.offer(front.buffer);
        }
        done
    }
}

impl Output {
    fn new(mut queue: Queue) -> Self {
        // Returned buffers are collected at the next write; an interrupt is wanted only while none is left.
        queue.silence();
        // Last in, first out: so that the first buffer, which is always there, serves a quiet console.
        let free = (0..OUTPUT_BUFFERS.min(queue.size())).rev().collect();
        Self { queue, pages: [const { None }; OUTPUT_BUFFERS as usize - 1], free, awaited: false }
    }

    fn harvest(&mut self) -> Result<(), Violation> {
        while let Some(completion) = self.queue.pop()? {
            self.free.push(completion.token);
        }
        Ok(())
    }

    /// Puts the beginning of `bytes` into a free buffer and that into the queue; how many bytes. 0 if there is no free
    /// buffer, or no memory for one.
    fn write_buffer(&mut self, bytes: &[u8]) -> usize {
        let Some(&buffer) = self.free.last() else { return 0 };
        let (memory, offset, room) = match usize::from(buffer).checked_sub(1) {
            None => (self.queue.memory(), self.queue.spare(), FIRST_OUTPUT_BUFFER),
            Some(index) => {
                if self.pages[index].is_none() {
                    self.pages[index] = Dma::pages(1).ok();
                }
                let Some(page) = &self.pages[index] else { return 0 };
                (page, 0, PAGE_SIZE)
            }
        };
        let len = bytes.len().min(room);
        memory.write(offset, &bytes[..len]);
        let address = PhysAddr::new(memory.phys().as_u64() + offset as u64);
        self.queue.push(buffer, &[Segment { address, len: len as u32 }], 0);
        self.free.pop();
        len
    }

    /// Copies as much as there is room for into buffers, and puts them into the queue.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_buffer(&bytes[written..]) {
                0 => break,
                len => written += len,
            }
        }
        written
    }
}

impl CharDevice for VirtioConsole {
    fn write(&self, bytes: &[u8]) -> usize {
        if self.is_dead() {
            return 0;
        }
        self.try_write(bytes).unwrap_or_else(|violation| {
            self.give_up(violation);
            0
        })
    }

    fn read(&self, into: &mut [u8]) -> usize {
        let mut input = self.input.lock();
        let done = input.read(into);
        if !self.is_dead() {
            input.queue.kick(&*self.transport);
        }
        done
    }

    fn can_write(&self) -> bool {
        let mut output = self.output.lock();
        // That it broke the rules shows at the next write.
        !self.is_dead() && (output.harvest().is_err() || !output.free.is_empty())
    }

    fn is_drained(&self) -> bool {
        let mut output = self.output.lock();
        let all = usize::from(OUTPUT_BUFFERS.min(output.queue.size()));
        loop {
            // A device that broke the rules takes nothing any more.
            if self.is_dead() || output.harvest().is_err() || output.free.len() == all {
                return true;
            }
            output.awaited = true;
            if output.queue.listen() {
                return false;
            }
        }
    }

    fn can_read(&self) -> bool {
        !self.input.lock().arrived.is_empty()
    }

    fn hung_up(&self) -> bool {
        self.is_dead()
    }

    fn writable(&self) -> &WaitQueue {
        &self.writable
    }

    fn readable(&self) -> &WaitQueue {
        &self.readable
    }

    fn write_polled(&self, bytes: &[u8]) {
        /// Looks at the queue before the device is taken for stuck.
        const PATIENCE: u32 = 100_000_000;
        let Some(mut output) = self.output.try_lock() else { return };
        let (mut written, mut looks) = (0, 0);
        while !self.is_dead() && looks < PATIENCE {
            if output.harvest().is_err() {
                return;
            }
            written += output.write(&bytes[written..]);
            output.queue.kick(&*self.transport);
            let all_back = output.free.len() == usize::from(OUTPUT_BUFFERS.min(output.queue.size()));
            if written == bytes.len() && all_back {
                return;
            }
            looks += 1;
            core::hint::spin_loop();
        }
    }
}

impl Driver for VirtioConsole {
    fn on_interrupt(&self, _: Option<u16>) {
        self.transport.acknowledge_interrupt(false);
        if self.is_dead() {
            return;
        }
        for (harvested, queue) in
            [(self.harvest_input(), &self.readable), (self.harvest_output(), &self.writable)]
        {
            match harvested {
                Ok(true) => queue.wake_all(),
                Ok(false) => {}
                Err(violation) => self.give_up(violation),
            }
        }
    }
}

impl fmt::Debug for VirtioConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtioConsole")
    }
}

#[cfg(test)]
mod tests;
