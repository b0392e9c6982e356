//! Our side of the control channel, free of any I/O: bytes in, events out, bytes to send.
//!
//! The guest is hostile. Whatever it sends ends in an event or a [`ProtocolError`]; what is buffered for it is bounded by one frame
//! each way, as a frame is taken apart as soon as it is whole and standard input is only accepted against the guest's credit.

use isopod_manifest::channel::{self, Frame, FrameError, HEADER, Kind, MAX_PAYLOAD};

/// What the guest said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The application wrote to its standard output.
    Stdout(&'a [u8]),
    /// The application wrote to its standard error.
    Stderr(&'a [u8]),
    /// The guest kernel has something to say, as text.
    Log(&'a [u8]),
    /// The application ended with this status. Nothing follows.
    Exit(u8),
}

/// Why the conversation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The guest speaks another version of the protocol.
    #[error("the guest speaks version {0} of the control protocol, this Isopod version {version}", version = channel::VERSION)]
    Version(u32),
    /// The guest did not begin with its version.
    #[error("the guest did not introduce itself on the control channel")]
    NoHello,
    /// A frame's payload is not what its kind says.
    #[error("the guest sent a control frame of kind {0} with a payload of {1} bytes")]
    Payload(u8, usize),
}

/// The state of one conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// What was received of a frame that is not whole yet.
    partial: Vec<u8>,
    greeted: bool,
    ended: bool,
    /// How many bytes of standard input the guest will take.
    credit: usize,
    /// What is to be sent, and how much of it was.
    outbox: Vec<u8>,
    sent: usize,
}

impl Conversation {
    /// Takes bytes from the guest and reports each event in them.
    ///
    /// # Errors
    /// A [`ProtocolError`], after which the conversation is over.
    pub fn receive(&mut self, bytes: &[u8], mut on: impl FnMut(Event<'_>)) -> Result<(), ProtocolError> {
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let mut rest = &partial[..];
        while let Some((frame, after)) = Frame::parse(rest)? {
            rest = after;
            if let Some(event) = self.understand(frame)? {
                on(event);
            }
        }
        let taken = partial.len() - rest.len();
        partial.drain(..taken);
        self.partial = partial;
        Ok(())
    }

    fn understand<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Event<'a>>, ProtocolError> {
        let Frame { kind, payload } = frame;
        if self.ended {
            return Ok(None);
        }
        // A kind that this version does not know is to be skipped.
        let Some(kind) = kind else { return Ok(None) };
        let wrong = ProtocolError::Payload(kind as u8, payload.len());
        let word = || payload.try_into().map(u32::from_le_bytes).map_err(|_| wrong);
        if !self.greeted {
            return match kind {
                Kind::Hello if word()? == channel::VERSION => {
                    self.greeted = true;
                    Ok(None)
                }
                Kind::Hello => Err(ProtocolError::Version(word()?)),
                _ => Err(ProtocolError::NoHello),
            };
        }
        Ok(match kind {
            Kind::Stdout => Some(Event::Stdout(payload)),
            Kind::Stderr => Some(Event::Stderr(payload)),
            Kind::Log => Some(Event::Log(payload)),
            Kind::Exit => {
                let &[status] = payload else { return Err(wrong) };
                self.ended = true;
                Some(Event::Exit(status))
            }
            Kind::Credit => {
                self.credit = self.credit.saturating_add(word()? as usize);
                None
            }
            // A second Hello changes nothing, and what only we may send means nothing from the guest.
            Kind::Hello | Kind::Stdin | Kind::Signal | Kind::Window => None,
        })
    }

    /// How many bytes of standard input [`Self::stdin`] takes now. Zero while earlier ones are not sent yet.
    pub fn stdin_room(&self) -> usize {
        if self.outbox.is_empty() { self.credit.min(MAX_PAYLOAD) } else { 0 }
    }

    /// Sends standard input; an empty slice is its end.
    ///
    /// # Panics
    /// With more bytes than [`Self::stdin_room`].
    pub fn stdin(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.credit, "the guest has not asked for that much");
        self.credit -= bytes.len();
        self.send(Kind::Stdin, bytes);
    }

    /// Sends the application a signal (signal(7)).
    pub fn signal(&mut self, number: u8) {
        self.send(Kind::Signal, &[number]);
    }

    /// Tells the guest the size of the terminal.
    pub fn window(&mut self, rows: u16, columns: u16) {
        let ([a, b], [c, d]) = (rows.to_le_bytes(), columns.to_le_bytes());
        self.send(Kind::Window, &[a, b, c, d]);
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) {
        self.outbox.reserve(HEADER + payload.len());
        self.outbox.extend_from_slice(&channel::header(kind, payload.len()));
        self.outbox.extend_from_slice(payload);
    }

    /// What is to be sent now. A signal does not wait for the guest's introduction, which comes with its first output.
    pub fn outgoing(&self) -> &[u8] {
        &self.outbox[self.sent..]
    }

    /// Notes that the first `count` bytes of [`Self::outgoing`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        [&channel::header(kind, payload.len())[..], payload].concat()
    }

    fn hello() -> Vec<u8> {
        frame(Kind::Hello, &channel::VERSION.to_le_bytes())
    }

    /// Events as owned text, for comparison.
    fn feed(conversation: &mut Conversation, bytes: &[u8]) -> Result<Vec<String>, ProtocolError> {
        let mut events = Vec::new();
        conversation.receive(bytes, |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    #[test]
    fn frames_split_anywhere_give_the_same_events() {
        let bytes = [
            hello(),
            frame(Kind::Stdout, b"out"),
            vec![200, 2, 0, 0, 1, 2],
            frame(Kind::Stderr, b""),
            frame(Kind::Exit, &[7]),
            frame(Kind::Stdout, b"after the end"),
        ]
        .concat();
        let whole = feed(&mut Conversation::default(), &bytes).unwrap();
        assert_eq!(whole, ["Stdout([111, 117, 116])", "Stderr([])", "Exit(7)"]);
        let mut conversation = Conversation::default();
        let single: Vec<String> =
            bytes.iter().flat_map(|byte| feed(&mut conversation, &[*byte]).unwrap()).collect();
        assert_eq!(single, whole);
    }

    #[test]
    fn the_guest_must_introduce_itself_in_our_version() {
        let mut conversation = Conversation::default();
        let error = feed(&mut conversation, &frame(Kind::Stdout, b"x")).unwrap_err();
        assert_eq!(error, ProtocolError::NoHello);
        let error = feed(&mut Conversation::default(), &frame(Kind::Hello, &[9, 0, 0, 0])).unwrap_err();
        assert_eq!(error, ProtocolError::Version(9));
    }

    #[test]
    fn input_waits_for_credit_and_for_what_was_sent_before() {
        let mut conversation = Conversation::default();
        conversation.signal(15);
        let signal = frame(Kind::Signal, &[15]);
        assert_eq!(conversation.outgoing(), signal, "even before the guest's first word");
        feed(&mut conversation, &[hello(), frame(Kind::Credit, &[5, 0, 0, 0])].concat()).unwrap();
        assert_eq!(conversation.stdin_room(), 0);
        assert_eq!(conversation.outgoing(), signal);
        conversation.sent(2);
        assert_eq!(conversation.outgoing(), &signal[2..]);
        conversation.sent(signal.len() - 2);
        assert_eq!(conversation.stdin_room(), 5);
        conversation.stdin(b"abc");
        conversation.sent(conversation.outgoing().len());
        assert_eq!(conversation.stdin_room(), 2);
    }

    #[test]
    fn payloads_that_do_not_fit_their_kind_are_refused() {
        for bad in [frame(Kind::Exit, &[]), frame(Kind::Exit, &[1, 2]), frame(Kind::Credit, &[1])] {
            let error = feed(&mut Conversation::default(), &[hello(), bad].concat()).unwrap_err();
            assert!(matches!(error, ProtocolError::Payload(..)), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_pile_up(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut conversation = Conversation::default();
            let _ = conversation.receive(&hello(), |_| ());
            for chunk in chunks {
                if conversation.receive(&chunk, |_| ()).is_err() {
                    break;
                }
                prop_assert!(conversation.partial.len() < HEADER + MAX_PAYLOAD);
                let room = conversation.stdin_room();
                conversation.stdin(&vec![0; room.min(3)]);
                conversation.sent(conversation.outgoing().len());
            }
        }
    }
}
