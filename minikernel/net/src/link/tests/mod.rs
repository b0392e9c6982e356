mod bytes;
mod discovery;
mod neighbours;
mod wire;

use super::*;
use wire::{Wire, host_v4};
