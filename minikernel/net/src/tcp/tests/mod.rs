//! Scenarios, each a rule of an RFC or of Linux, over a simulated network.

mod close;
mod forgery;
mod handshake;
mod loss;
mod network;
mod receiving;
mod scale;
mod script;
mod sending;
mod transfer;
mod urgent;
