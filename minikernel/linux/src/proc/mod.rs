//! `/proc` and `/sys`, as far as C libraries, shells and language runtimes read them: `proc(5)`, `sysfs(5)`.
//!
//! All of it is tables of [`Row`](table::Row)s: a name, a mode, and the function that makes the contents. Nothing is made until it is
//! looked up, and nothing is listed that is not so.

mod cgroup;
mod descriptors;
mod hardware;
mod inet;
mod interface;
mod machine;
mod mem;
mod memory;
mod mounts;
mod namespaces;
mod net;
mod pagemap;
mod process;
mod root;
mod schedule;
mod status;
mod subject;
mod sys;
mod sysctl;
mod sysctl_net;
mod sysvipc;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use cgroup::cgroup;
pub use namespaces::{Answer, Question, ask};
pub use root::{proc, process_of};
pub use sys::sys;
