//! The groups of cases, in the order in which they run.

use crate::report::Report;

mod aio;
mod arguments;
pub mod capabilities;
mod children;
mod descriptors;
mod devices;
mod directories;
mod epoll;
mod eventfd;
pub mod exec;
mod faults;
mod files;
mod frames;
mod futex;
mod helpers;
mod identity;
mod inet;
mod inotify;
mod io;
mod links;
mod locks;
mod memory;
mod metadata;
mod mounts;
mod mqueue;
mod paths;
mod permissions;
mod pi_futex;
mod pipes;
mod poll;
mod proc;
mod ptrace;
mod races;
mod real_time;
mod relatives;
mod requests;
mod rseq;
mod scheduling;
pub mod seccomp;
mod sigio;
mod signals;
mod sockets;
mod space;
mod start;
mod sysv;
mod threads;
mod time;
mod timers;
mod variants;
mod waiting;
mod xattr;

/// A group's name and what runs it, in a folder of its own.
type Group = (&'static str, fn(&mut Report));

/// All groups but `exec`, which replaces the program and so runs last.
pub const GROUPS: &[Group] = &[
    ("start", start::run),
    ("files", files::run),
    ("io", io::run),
    ("descriptors", descriptors::run),
    ("metadata", metadata::run),
    ("directories", directories::run),
    ("links", links::run),
    ("paths", paths::run),
    ("space", space::run),
    ("xattr", xattr::run),
    ("locks", locks::run),
    ("permissions", permissions::run),
    ("mounts", mounts::run),
    ("memory", memory::run),
    ("faults", faults::run),
    ("frames", frames::run),
    ("threads", threads::run),
    ("children", children::run),
    ("waiting", waiting::run),
    ("futex", futex::run),
    ("pi_futex", pi_futex::run),
    ("signals", signals::run),
    ("sigio", sigio::run),
    ("time", time::run),
    ("timers", timers::run),
    ("pipes", pipes::run),
    ("eventfd", eventfd::run),
    ("aio", aio::run),
    ("poll", poll::run),
    ("epoll", epoll::run),
    ("inotify", inotify::run),
    ("sysv", sysv::run),
    ("mqueue", mqueue::run),
    ("sockets", sockets::run),
    ("inet", inet::run),
    ("scheduling", scheduling::run),
    ("devices", devices::run),
    ("proc", proc::run),
    ("identity", identity::run),
    ("capabilities", capabilities::run),
    ("seccomp", seccomp::run),
    ("ptrace", ptrace::run),
    ("real_time", real_time::run),
    ("relatives", relatives::run),
    ("requests", requests::run),
    ("variants", variants::run),
    ("rseq", rseq::run),
    ("arguments", arguments::run),
    ("races", races::run),
];
