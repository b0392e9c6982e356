//! Calls that are made again after a wait, and what they remember from one attempt to the next.
//!
//! An attempt that something stops has usually changed nothing ([`Attempt`](crate::fail::Attempt)). Calls that wait for a file, and those that
//! transfer in parts, keep here how far they have come ([`Transfer`]). The descriptor is looked up once: what another thread makes of its number
//! meanwhile does not matter. Calls that are done but have still to tell the program something keep that ([`Reply`]).

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::uaccess;

use crate::fail::{Attempt, Later, Stop, SysResult};
use crate::mm::{AddressSpace, UserPtr};
use crate::poll::patience;
use crate::process::Ctx;
use crate::socket::{Address, Incoming};
use crate::syscall::argument::Fd;

/// A call that has begun.
#[derive(Debug)]
pub enum Unfinished {
    /// On a file.
    Transfer(Box<Transfer>),
    /// Done, but for what the program is to be told.
    Reply(Box<Reply>),
    /// With so many of its parts, which are not what it returns.
    Parts(usize),
}

/// What a call that is done has still to tell the program, and its result.
#[derive(Debug)]
pub struct Reply {
    /// Which bytes go where.
    pub parts: Vec<(usize, Vec<u8>)>,
    /// What the call returns then.
    pub result: SysResult,
}

impl From<SysResult> for Reply {
    fn from(result: SysResult) -> Self {
        Self { parts: Vec::new(), result }
    }
}

impl Reply {
    /// Tells it, from a future.
    pub async fn deliver(&self, memory: &AddressSpace) -> SysResult {
        for (place, bytes) in &self.parts {
            memory.write_bytes(*place, bytes).await?;
        }
        self.result
    }

    fn new(result: SysResult, parts: &[(usize, &[u8])]) -> Result<Self, TryReserveError> {
        let mut kept = Vec::new();
        kept.try_reserve_exact(parts.len())?;
        for (place, part) in parts.iter().filter(|(place, _)| *place != 0) {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(part.len())?;
            bytes.extend_from_slice(part);
            kept.push((*place, bytes));
        }
        Ok(Self { parts: kept, result })
    }

    /// Writes it, all that can be written twice.
    fn write(&self) -> Attempt {
        for (place, bytes) in &self.parts {
            uaccess::copy_to_user(*place, bytes)?;
        }
        Ok(self.result?)
    }
}

/// The last act of a call that cannot be made again: writes each of `parts` to its place, if that is not null, and then has this `result`. What
/// is not there when it is written is provided, and only the writing goes on (`copy_to_user` behind the deed).
pub fn reply(ctx: &mut Ctx, result: SysResult, parts: &[(usize, &[u8])]) -> Attempt {
    for (index, &(place, bytes)) in parts.iter().enumerate() {
        if place != 0
            && let Err(at) = uaccess::copy_to_user(place, bytes)
        {
            let rest = Reply::new(result, &parts[index..]).map_err(|_| Errno::ENOMEM)?;
            ctx.unfinished = Some(Unfinished::Reply(Box::new(rest)));
            return Err(at.into());
        }
    }
    Ok(result?)
}

/// As [`reply`], for what is kept already; null is a place as any other.
pub fn tell(ctx: &mut Ctx, reply: Reply) -> Attempt {
    let outcome = reply.write();
    if matches!(outcome, Err(Stop::Fault(_))) {
        ctx.unfinished = Some(Unfinished::Reply(Box::new(reply)));
    }
    outcome
}

/// True of a call that is done, but for what the program is to be told.
pub fn is_done(ctx: &Ctx) -> bool {
    matches!(ctx.unfinished, Some(Unfinished::Reply(_)))
}

/// Goes on with what a call that is done has to tell, if there is such a one.
pub fn go_on(ctx: &mut Ctx) -> Option<Attempt> {
    let Some(Unfinished::Reply(reply)) = &ctx.unfinished else { return None };
    let outcome = reply.write();
    if !matches!(outcome, Err(Stop::Fault(_))) {
        ctx.unfinished = None;
    }
    Some(outcome)
}

/// A transfer that has begun.
#[derive(Debug)]
pub struct Transfer {
    /// The file that it is about.
    pub file: Arc<OpenFile>,
    /// Bytes of the message under way that have been transferred.
    pub bytes: usize,
    /// Messages that are done, of a call that transfers several.
    pub messages: Option<usize>,
    /// It ends with what has been done: what it waited for will not come.
    pub over: bool,
    /// There is something to receive, but less than it waits for (`SO_RCVLOWAT`).
    pub little: bool,
    /// What has been received of the message under way.
    pub incoming: Incoming,
    /// What the program has still to be told.
    pub delivery: Option<Delivery>,
    /// What has been accepted.
    pub accepted: Option<Arc<OpenFile>>,
    /// It has connected the socket on which it sends.
    pub connected: bool,
    /// Until when all of it may take, and until when the wait under way lasts, once they are known.
    pub until: Option<u64>,
    /// See `until`.
    pub deadline: Option<u64>,
}

/// What goes to a program's memory once a message has been received or sent. All of it can be written twice.
#[derive(Debug, Default)]
pub struct Delivery {
    /// An address, and the places for it and for its length.
    pub name: Option<(Option<Address>, UserPtr<u8>, UserPtr<i32>)>,
    /// Ancillary data, and its place.
    pub control: (usize, Vec<u8>),
    /// The length of that and the flags, and their place.
    pub header: Option<(usize, [u8; 12])>,
    /// The message's length, and its place.
    pub length: Option<(UserPtr<u32>, u32)>,
}

impl Delivery {
    fn write(&self) -> Attempt<()> {
        UserPtr::<u8>::new(self.control.0).put_bytes(&self.control.1)?;
        if let Some((address, place, length)) = &self.name {
            Address::give(address.as_ref(), *place, *length)?;
        }
        if let Some((place, bytes)) = &self.header {
            UserPtr::<u8>::new(*place).put_bytes(bytes)?;
        }
        if let Some((place, length)) = &self.length {
            place.put(length)?;
        }
        Ok(())
    }
}

impl Transfer {
    /// One on this file that has done nothing yet.
    pub fn new(file: Arc<OpenFile>) -> Self {
        Self {
            file,
            bytes: 0,
            messages: None,
            over: false,
            little: false,
            incoming: Incoming::default(),
            delivery: None,
            accepted: None,
            connected: false,
            until: None,
            deadline: None,
        }
    }

    /// What it returns if it ends now; 0 when nothing has been done.
    fn result(&self) -> usize {
        self.messages.unwrap_or(self.bytes)
    }

    /// The file is not ready: the call waits for it, to read or to write, unless it must not. What has been done is better than an error.
    pub fn not_yet(&mut self, waits: bool, writing: bool) -> Attempt {
        let waits = waits && !self.over && !self.file.flags().contains(OpenFlags::NONBLOCK);
        if self.bytes > 0 && !waits {
            return Ok(self.bytes);
        }
        if !waits {
            return Err(Errno::EAGAIN.into());
        }
        let deadline = *self.deadline.get_or_insert_with(|| patience(&self.file, writing));
        let queue = self.file.wait_queue().ok_or(Errno::EAGAIN)?;
        Err(Later::new(queue, deadline).into())
    }

    /// Tells the program what there is to tell.
    pub fn deliver(&mut self) -> Attempt<()> {
        if let Some(delivery) = &self.delivery {
            delivery.write()?;
        }
        self.delivery = None;
        Ok(())
    }

    /// It was stopped for good. True if it is made once more, to end with what has been done.
    fn end_early(&mut self) -> bool {
        if self.delivery.take().is_some() {
            // Nobody can be told of it.
            self.bytes = 0;
        }
        !core::mem::replace(&mut self.over, true) && (self.result() > 0 || self.little)
    }
}

/// Makes an attempt at a call on the file `fd`, which `check` has to find fit when it is the first.
// Not inlined: all such calls want the same.
#[inline(never)]
pub fn attempt(
    ctx: &mut Ctx,
    fd: Fd,
    check: fn(&OpenFile) -> Result<(), Errno>,
    body: &mut dyn FnMut(&Ctx, &mut Transfer) -> Attempt,
) -> Attempt {
    let mut call = if let Some(Unfinished::Transfer(call)) = ctx.unfinished.take() {
        *call
    } else {
        let file = ctx.thread.file(fd.0)?;
        check(&file)?;
        Transfer::new(file)
    };
    let outcome = body(ctx, &mut call);
    if !matches!(outcome, Ok(_) | Err(Stop::Fail(_))) {
        ctx.unfinished = Some(Unfinished::Transfer(Box::new(call)));
    }
    outcome
}

/// The call was stopped for good. True if it is made once more, to end with what has been done.
pub fn end_early(ctx: &mut Ctx) -> bool {
    if let Some(Unfinished::Transfer(call)) = &mut ctx.unfinished
        && call.end_early()
    {
        return true;
    }
    ctx.unfinished = None;
    false
}

/// How many of its parts a call has done ([`Unfinished::Parts`]); none if it begins.
pub fn parts(ctx: &mut Ctx) -> usize {
    if let Some(Unfinished::Parts(done)) = ctx.unfinished.take() { done } else { 0 }
}

/// The call is not made again: what has been done.
pub fn forget(ctx: &mut Ctx) -> usize {
    match ctx.unfinished.take() {
        Some(Unfinished::Transfer(call)) => call.result(),
        Some(Unfinished::Reply(_) | Unfinished::Parts(_)) | None => 0,
    }
}
