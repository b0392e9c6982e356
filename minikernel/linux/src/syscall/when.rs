//! Calls that do one thing, as soon as it can be done.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::unfinished::{Reply, tell};
use crate::fail::{Attempt, Fail, Later, Rest, Stop};
use crate::process::Ctx;
use crate::sched;
use crate::wait::interruptible;

/// What an act came to; nothing if it cannot be done yet, and has then changed nothing.
type Acted = Option<Result<Reply, Fail>>;

/// Does `act`, now or when `later` says; the program is then told what it is to be told.
pub fn when(ctx: &mut Ctx, later: Later, mut act: impl FnMut() -> Acted + Send + 'static) -> Attempt {
    match act() {
        Some(done) => tell(ctx, done?),
        None => Err(Stop::Rest(rest(ctx, later, Box::new(act)))),
    }
}

/// The wait is the same for all.
fn rest(ctx: &Ctx, later: Later, act: Box<dyn FnMut() -> Acted + Send>) -> Rest {
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    Rest::new(async move {
        let done = later.queue.queue().until(act);
        match interruptible(&thread, sched::timeout_at(later.deadline, done)).await {
            Ok(Some(reply)) => reply?.deliver(&memory).await,
            Ok(None) => Err(later.late),
            Err(_) => Err(later.interrupted),
        }
    })
}
