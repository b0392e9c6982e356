//! The processor's source of randomness.

use crate::machine;

/// 64 random bits of the processor: from RDSEED, else from RDRAND. `None` where it has neither, or where both are
/// exhausted or broken. Never the only source: what it gives is mixed with others.
pub fn hardware_random() -> Option<u64> {
    machine::hardware_random()
}
