//! Carries a running guest's streams and signals between its control channel and our own standard streams.
//!
//! One thread and one poll(2): nothing here blocks but the poll, so that a stuck reader of our output never keeps a signal from the
//! guest.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use super::conversation::{Conversation, Event, ProtocolError};
use super::outlet::{Outlet, PIPE_BUF, waits};
use super::signals::Signals;
use super::terminal;

/// While more than this waits to be written, in bytes, nothing more is taken from the guest.
const HIGH_WATER: usize = 256 << 10;

/// How much of the machine's last words is kept, in bytes.
const LAST_WORDS: usize = 16 << 10;

/// How a guest's run ended, as far as the channel tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The application ended with this status.
    Exit(u8),
    /// The channel closed without a word.
    Silence,
    /// The user asked a second time: the machine is to be killed.
    Impatience,
    /// Whoever read our standard output has gone.
    BrokenPipe,
    /// The guest does not speak the protocol.
    Protocol(ProtocolError),
}

/// What a run passes on.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    /// Pass standard input; otherwise the application's is empty.
    pub stdin: bool,
    /// Standard input and output are a terminal that the application is to own.
    pub terminal: bool,
    /// What asks the application to end, 1 to 64 (signal(7)).
    pub stop_signal: u8,
}

/// The relay of one run.
#[derive(Debug)]
pub(super) struct Relay {
    channel: UnixStream,
    conversation: Conversation,
    stdin: Option<File>,
    stdout: Outlet,
    stderr: Outlet,
    /// What the machine itself says (its serial line and QEMU's messages); the end of it is kept as the reason of a death.
    machine: Option<io::PipeReader>,
    last_words: Vec<u8>,
    stop: Signals,
    stop_signal: u8,
    stopping: bool,
    applications: Signals,
    resize: Option<Signals>,
    end: Option<End>,
}

impl Relay {
    /// Readies a relay; from now on signals are caught.
    pub fn new(channel: UnixStream, machine: io::PipeReader, streams: Streams) -> io::Result<Self> {
        channel.set_nonblocking(true)?;
        let mut conversation = Conversation::default();
        if let Some((rows, columns)) = terminal::size().filter(|_| streams.terminal) {
            conversation.window(rows, columns);
        }
        // Read without Rust's buffer: what the guest has not asked for stays where it is.
        let stdin =
            if streams.stdin { Some(File::from(io::stdin().as_fd().try_clone_to_owned()?)) } else { None };
        Ok(Self {
            channel,
            conversation,
            stdin,
            stdout: Outlet::new(io::stdout().as_fd())?,
            stderr: Outlet::new(io::stderr().as_fd())?,
            machine: Some(machine),
            last_words: Vec::new(),
            stop: Signals::stop()?,
            stop_signal: streams.stop_signal,
            stopping: false,
            applications: Signals::applications(streams.terminal)?,
            resize: if streams.terminal { Some(Signals::resize()?) } else { None },
            end: None,
        })
    }

    /// Relays until the run ends one way or another.
    pub fn run(&mut self) -> io::Result<End> {
        loop {
            // What was said before the end is still written.
            if let Some(end) =
                self.end.take_if(|_| self.stdout.queue.is_empty() && self.stderr.queue.is_empty())
            {
                return Ok(end);
            }
            let ready = self.wait()?;
            if let Some(end) = self.serve(&ready)? {
                // Not worth to wait for a reader.
                return Ok(end);
            }
        }
    }

    /// The last the machine said, once it has ended.
    pub fn last_words(mut self) -> io::Result<Vec<u8>> {
        while self.machine.is_some() {
            self.hear_machine()?;
        }
        Ok(self.last_words)
    }

    /// Sleeps until something can be done, and says what.
    fn wait(&self) -> io::Result<Ready> {
        let channel = self.channel.as_fd();
        let mut wanted: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Stop, self.stop.as_fd(), PollFlags::IN),
            (Source::Applications, self.applications.as_fd(), PollFlags::IN),
        ];
        if self.end.is_none() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.stdout.queue.len() + self.stderr.queue.len() < HIGH_WATER);
            flags.set(PollFlags::OUT, !self.conversation.outgoing().is_empty());
            wanted.push((Source::Channel, channel, flags));
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| self.conversation.stdin_room() > 0) {
            wanted.push((Source::Stdin, stdin.as_fd(), PollFlags::IN));
        }
        for (source, outlet) in [(Source::Stdout, &self.stdout), (Source::Stderr, &self.stderr)] {
            if !outlet.queue.is_empty() {
                wanted.push((source, outlet.file.as_fd(), PollFlags::OUT));
            }
        }
        if let Some(machine) = &self.machine {
            wanted.push((Source::Machine, machine.as_fd(), PollFlags::IN));
        }
        if let Some(resize) = &self.resize {
            wanted.push((Source::Resize, resize.as_fd(), PollFlags::IN));
        }
        let mut polled: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let happened = wanted.iter().zip(&polled).map(|((source, ..), fd)| (*source, fd.revents()));
        Ok(Ready(happened.filter(|(_, flags)| !flags.is_empty()).collect()))
    }

    fn serve(&mut self, ready: &Ready) -> io::Result<Option<End>> {
        if ready.has(Source::Stop) && self.asked_to_stop() {
            return Ok(Some(End::Impatience));
        }
        if ready.has(Source::Applications) {
            for number in self.applications.take_numbers() {
                self.conversation.signal(number);
            }
        }
        if ready.has(Source::Resize)
            && let Some(resize) = &mut self.resize
        {
            resize.take();
            if let Some((rows, columns)) = terminal::size() {
                self.conversation.window(rows, columns);
            }
        }
        if ready.has(Source::Machine) {
            self.hear_machine()?;
        }
        if ready.has(Source::Stdin) {
            self.feed();
        }
        if ready.has(Source::Stdout)
            && let Err(error) = self.stdout.drain()
        {
            return if error.kind() == io::ErrorKind::BrokenPipe {
                Ok(Some(End::BrokenPipe))
            } else {
                Err(error)
            };
        }
        if ready.has(Source::Stderr) {
            // Nobody reads what the application complains about; it may still have something to do.
            let _ = self.stderr.drain();
        }
        if ready.has(Source::Channel) {
            self.converse(ready.flags(Source::Channel))?;
        }
        Ok(None)
    }

    /// Passes the stop signal on; true when that has been done before.
    fn asked_to_stop(&mut self) -> bool {
        let times = self.stop.take();
        let again = times > 0 && (self.stopping || times > 1);
        if times > 0 && !again {
            self.stopping = true;
            self.conversation.signal(self.stop_signal);
        }
        again
    }

    fn hear_machine(&mut self) -> io::Result<()> {
        let Some(machine) = &mut self.machine else { return Ok(()) };
        let mut bytes = [0; PIPE_BUF];
        match machine.read(&mut bytes) {
            Ok(0) => self.machine = None,
            Ok(count) => {
                self.last_words.extend_from_slice(&bytes[..count]);
                let surplus = self.last_words.len().saturating_sub(LAST_WORDS);
                self.last_words.drain(..surplus);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let room = self.conversation.stdin_room();
        if room == 0 {
            // A signal or a new window size was queued first; a read of nothing would look like the end.
            return;
        }
        let mut bytes = vec![0; room];
        match stdin.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal that hung up reads as an error: for the application that is an end like any other.
            Ok(0) | Err(_) => {
                self.conversation.stdin(&[]);
                self.stdin = None;
            }
            Ok(count) => self.conversation.stdin(&bytes[..count]),
        }
    }

    fn converse(&mut self, flags: PollFlags) -> io::Result<()> {
        if flags.contains(PollFlags::OUT) {
            // After an error it either takes nothing now, or has gone and what it said before is still to be read.
            if let Ok(count) = self.channel.write(self.conversation.outgoing()) {
                self.conversation.sent(count);
            }
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        let mut bytes = vec![0; HIGH_WATER / 4];
        let count = match self.channel.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if waits(&error) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        let Self { conversation, stdout, stderr, end, .. } = self;
        if count == 0 {
            *end = Some(End::Silence);
            return Ok(());
        }
        let heard = conversation.receive(&bytes[..count], |event| match event {
            Event::Stdout(bytes) => stdout.push(bytes),
            Event::Stderr(bytes) | Event::Log(bytes) => stderr.push(bytes),
            Event::Exit(status) => *end = Some(End::Exit(status)),
        });
        if let Err(error) = heard {
            *end = Some(End::Protocol(error));
        }
        Ok(())
    }
}

/// What a poll watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Stop,
    Applications,
    Channel,
    Stdin,
    Stdout,
    Stderr,
    Machine,
    Resize,
}

/// What a poll found.
#[derive(Debug)]
struct Ready(Vec<(Source, PollFlags)>);

impl Ready {
    fn flags(&self, source: Source) -> PollFlags {
        self.0.iter().find(|(s, _)| *s == source).map_or(PollFlags::empty(), |(_, flags)| *flags)
    }

    fn has(&self, source: Source) -> bool {
        !self.flags(source).is_empty()
    }
}
