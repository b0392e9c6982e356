mod bytes;
mod discovery;
mod fragments;
mod neighbours;
mod wire;

use super::*;
use wire::{Wire, host_v4};
