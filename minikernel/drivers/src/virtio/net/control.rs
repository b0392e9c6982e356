//! The queue on which the driver tells the device what to do (5.1.6.5).

use super::QUEUE_SIZE;
use crate::segment::Segment;
use crate::virtio::queue::Queue;
use crate::virtio::{StartError, Transport, Violation};

/// What the device can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The announcement that it asked for has been made.
    Announced,
    /// Use so many pairs of queues.
    UsePairs(u16),
}

/// Each command has its own memory: what is said, and at its end the answer.
const COMMAND: usize = 16;
const ANSWER: usize = 8;
/// How many commands there are.
const COMMANDS: usize = 2;

/// `VIRTIO_NET_OK`
const OK: u8 = 0;

#[derive(Debug)]
pub(super) struct Control {
    queue: Queue,
    /// The number of pairs asked for, until the device has answered.
    pairs: u16,
    /// The commands that the device has.
    busy: [bool; COMMANDS],
}

impl Control {
    /// The control queue, the `number`th.
    pub fn new(transport: &dyn Transport, number: u16, features: u64) -> Result<Self, StartError> {
        let mut queue = Queue::new(transport, number, QUEUE_SIZE.min(4), COMMANDS * COMMAND, features)?;
        queue.listen();
        Ok(Self { queue, pairs: 1, busy: [false; COMMANDS] })
    }

    /// Tells the device something, unless it has not answered to the same before.
    pub fn tell(&mut self, command: Command, transport: &dyn Transport) {
        let (token, class, number) = match command {
            Command::Announced => (0, 3, 0),
            Command::UsePairs(pairs) => {
                self.pairs = pairs;
                (1, 4, 0)
            }
        };
        if self.busy[token] {
            return;
        }
        let at = self.queue.spare() + token * COMMAND;
        let memory = self.queue.memory();
        memory.write(at, &[class, number]);
        memory.write_u16(at + 2, self.pairs);
        memory.write_u8(at + ANSWER, !OK);
        let said = Segment {
            address: self.queue.address(at),
            len: if command == Command::Announced { 2 } else { 4 },
        };
        let answer = Segment { address: self.queue.address(at + ANSWER), len: 1 };
        self.busy[token] = self.queue.push(token as u16, &[said, answer], 1);
        self.queue.kick(transport);
    }

    /// Takes the device's answers; the number of pairs that it has agreed to use, if that is among them.
    pub fn collect(&mut self) -> Result<Option<u16>, Violation> {
        let mut pairs = None;
        loop {
            while let Some(done) = self.queue.pop()? {
                let token = usize::from(done.token);
                self.busy[token] = false;
                let answer = self.queue.memory().read_u8(self.queue.spare() + token * COMMAND + ANSWER);
                if token == 1 && answer == OK {
                    pairs = Some(self.pairs);
                }
            }
            if self.queue.listen() {
                return Ok(pairs);
            }
        }
    }
}
