//! Scenarios, each a rule of an RFC or of Linux, over a simulated network.

mod network;
mod transfer;
