//! Waiting for files: blocking calls, poll, select and epoll, written once over what every file offers.
//!
//! A file's operations never block: what cannot be done now is `EAGAIN`, and the file's queue is woken when that may have changed
//! ([`FileOps`](isopod_fs::file::FileOps)). On this stand
//!
//! * [`until_ready`]: an operation made blocking, with `O_NONBLOCK`, time-outs and signals;
//! * [`Transfer`]: the same with a program's buffers, partial counts and page faults;
//! * [`wait_for_any`]: poll(2) and select(2);
//! * [`Epoll`] with epoll(7).

mod any;
pub mod bitmap;
mod blocking;
mod epoll;
mod transfer;

pub use any::{Files, wait_for_any};
pub use blocking::{FOREVER, NEVER, opens_later, patience, ready, until_ready};
pub use epoll::{Epoll, Interest, Told, new_epoll};
pub use transfer::{Deed, Transfer, at_once, broken_pipe, step_of, told};
