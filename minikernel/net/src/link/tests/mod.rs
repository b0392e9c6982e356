mod bytes;
mod discovery;
mod fragments;
mod groups;
mod neighbours;
mod routing;
mod wire;

use super::*;
use wire::{Wire, host_v4};
