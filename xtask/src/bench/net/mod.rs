//! Servers of ours and of a Linux guest with the same image, asked by the same clients on this machine.

pub mod endurance;
mod guests;
pub mod idle;
pub mod iperf;
mod load;
pub mod nginx;
pub mod redis;
mod wire;
