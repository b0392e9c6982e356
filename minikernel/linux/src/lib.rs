//! The Linux personality: processes and threads, memory maps, signals, futexes, and the system-call table.
//!
//! A user thread is a future ([`process::start`]); the scheduler ([`sched`]) is an executor. Rooms, from the bottom up:
//!
//! * [`sched`], [`wait`]: tasks, timers, waits that signals end.
//! * [`mm`]: address spaces and page faults.
//! * [`signal`], [`futex`], [`time`], [`ipc`], [`poll`]: what their names say.
//! * [`tty`] is terminals, [`socket`] sockets.
//! * [`process`], [`exec`]: threads, processes, and how programs are loaded.
//! * `core_dump`: what a process leaves that a signal ends.
//! * `proc`: what `/proc` and `/sys` show of all this.
//! * [`syscall`]: the table and its handlers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod aio;
mod bpf;
mod core_dump;
pub mod dev;
pub mod exec;
pub mod fail;
pub mod futex;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
pub mod ipc;
pub mod kernel;
pub mod memory_pressure;
pub mod mm;
pub mod poll;
mod proc;
pub mod process;
mod report;
pub mod sched;
mod seccomp;
pub mod signal;
pub mod socket;
pub mod syscall;
#[cfg(any(test, fuzzing))]
mod testing;
pub mod time;
mod trace;
pub mod tty;
mod tunable;
pub mod wait;
