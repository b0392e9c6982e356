//! Giving way to others.

use core::future::poll_fn;
use core::task::Poll;

/// Lets every task that is ready run once before the caller goes on (`sched_yield(2)`).
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
