//! TCP (RFC 9293).

mod header;
mod seq;

pub use header::{Flags, Options, SegmentHeader, Timestamps};
pub use seq::Seq;
