//! The states of a client (RFC 2131, section 4.4).

use alloc::boxed::Box;

use super::Lease;
use super::message::{Answer, Kind, Question};
use crate::address::{ANY_V4, Address};
use crate::interface::FOREVER;
use crate::link::Hardware;

const SECOND: u64 = 1_000_000_000;
/// An unanswered question is asked again after this long, each time twice as long, with up to a second more or less (section 4.1).
const FIRST: u64 = 4 * SECOND;
/// And at the latest then.
const LONGEST: u64 = 64 * SECOND;
/// Whose request nobody answers begins again after so many.
const REQUESTS: u8 = 4;
/// An address that is to be kept is asked for again after half of the time that is left, but not sooner (section 4.4.5).
const LEAST: u64 = 60 * SECOND;
/// Whoever was refused does not ask again at once.
const REFUSED: u64 = 10 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It asks who would give an address.
    Selecting,
    /// It asks one that would.
    Requesting,
    /// It has one,
    Bound,
    /// asks the server for more time,
    Renewing,
    /// asks any server for more time.
    Rebinding,
}

/// A client of one interface.
#[derive(Clone, Debug)]
pub struct Client {
    state: State,
    transaction: u32,
    /// Since when it asks.
    since: u64,
    /// When something is to be done.
    pub at: u64,
    tries: u8,
    /// What was offered: the address and by whom.
    offer: (Address, Address),
    lease: Option<Box<Lease>>,
    /// When the lease is to be renewed by the server, and by any.
    renewal: u64,
    rebinding: u64,
    /// There has been no answer and no long silence yet.
    pub fresh: bool,
}

/// A question, and to whom it goes if not to all.
pub type Asks = (Question, Option<Address>);

/// What comes of an answer, or of the lack of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// There is a lease, or more time.
    Leased(Box<Lease>),
    /// There is none any more.
    Lost,
}

impl Client {
    pub fn new(now: u64) -> Self {
        Self {
            state: State::Selecting,
            transaction: 0,
            since: now,
            at: now,
            tries: 0,
            offer: (ANY_V4, ANY_V4),
            lease: None,
            renewal: 0,
            rebinding: 0,
            fresh: true,
        }
    }

    pub fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// Begins again, some time from now.
    fn restart(&mut self, at: u64) {
        (self.state, self.tries, self.at, self.since) = (State::Selecting, 0, at, at);
    }

    /// The link is there, perhaps another one: what there is is to be confirmed.
    pub fn link_came(&mut self, now: u64) {
        if self.lease.is_none() {
            self.restart(now);
        } else {
            (self.state, self.at, self.tries, self.since) = (State::Rebinding, now, 0, now);
        }
    }

    /// Does what is due.
    pub fn expire(&mut self, hardware: Hardware, now: u64, random: u64) -> (Option<Asks>, Change) {
        if now < self.at {
            return (None, Change::None);
        }
        let mut change = Change::None;
        if self.lease.as_ref().is_some_and(|lease| lease.until <= now) {
            self.lease = None;
            change = Change::Lost;
            self.restart(now);
        }
        match self.state {
            State::Bound => (self.state, self.tries, self.since) = (State::Renewing, 0, now),
            State::Requesting if self.tries >= REQUESTS => self.restart(now),
            _ => {}
        }
        if self.state == State::Renewing && now >= self.rebinding {
            (self.state, self.tries) = (State::Rebinding, 0);
        }
        // A request belongs to the offer that it takes (section 4.4.1).
        if self.tries == 0 && self.state != State::Requesting {
            self.transaction = random as u32;
        }
        self.tries = self.tries.saturating_add(1);
        let until = self.lease.as_ref().map_or(FOREVER, |lease| lease.until);
        self.at = match self.state {
            State::Renewing => soon(now, self.rebinding),
            State::Rebinding => soon(now, until),
            _ => {
                let wait = (FIRST << (self.tries - 1).min(4)).min(LONGEST);
                now + wait - SECOND + (random >> 32) % (2 * SECOND)
            }
        };
        // Who waits for the first answer does not wait for ever.
        self.fresh &= self.tries < 3;
        let own = self.lease.as_ref().map_or(ANY_V4, |lease| lease.address);
        let seconds = (now.saturating_sub(self.since) / SECOND).min(u16::MAX.into()) as u16;
        let question = Question {
            kind: if self.state == State::Selecting { Kind::Discover } else { Kind::Request },
            hardware,
            transaction: self.transaction,
            seconds,
            own,
            requested: (self.state == State::Requesting).then_some(self.offer.0),
            server: (self.state == State::Requesting).then_some(self.offer.1),
        };
        let server = self.lease.as_ref().map(|lease| lease.server);
        (Some((question, server.filter(|_| self.state == State::Renewing))), change)
    }

    /// Takes in an answer.
    pub fn receive(&mut self, answer: Answer, now: u64) -> Change {
        if answer.transaction != self.transaction || self.tries == 0 {
            return Change::None;
        }
        let asks = matches!(self.state, State::Requesting | State::Renewing | State::Rebinding);
        match (answer.kind, answer.lease) {
            (Kind::Offer, Some((lease, ..))) if self.state == State::Selecting => {
                self.offer = (lease.address, lease.server);
                (self.state, self.tries, self.at) = (State::Requesting, 0, now);
            }
            (Kind::Ack, Some((lease, renewal, rebinding))) if asks => {
                if self.state == State::Requesting && lease.server != self.offer.1 {
                    return Change::None;
                }
                let lease = Box::new(lease);
                self.renewal = now.saturating_add(renewal);
                self.rebinding = now.saturating_add(rebinding);
                (self.state, self.tries, self.at) = (State::Bound, 0, self.renewal);
                self.fresh = false;
                self.lease = Some(lease.clone());
                return Change::Leased(lease);
            }
            (Kind::Nak, _) if asks => {
                let from_elsewhere = self.state == State::Requesting && answer.server != Some(self.offer.1);
                if answer.server.is_some() && from_elsewhere {
                    return Change::None;
                }
                self.restart(now + REFUSED);
                return if self.lease.take().is_some() { Change::Lost } else { Change::None };
            }
            _ => {}
        }
        Change::None
    }
}

/// Halfway to the end, which is not missed.
fn soon(now: u64, end: u64) -> u64 {
    let left = end.saturating_sub(now);
    now.saturating_add((left / 2).max(LEAST)).min(end)
}
