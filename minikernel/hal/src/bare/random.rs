//! RDSEED and RDRAND.

use core::arch::asm;

use crate::cpu::features;

/// Tries before the source counts as exhausted: Intel recommends ten for RDRAND, and RDSEED may need more.
const TRIES: usize = 16;

/// 64 bits from RDSEED, else from RDRAND.
pub(crate) fn hardware_random() -> Option<u64> {
    let features = features();
    let seed = || (0..TRIES).find_map(|_| rdseed());
    let random = || (0..TRIES).find_map(|_| rdrand());
    features.rdseed.then(seed).flatten().or_else(|| features.rdrand.then(random).flatten())
}

macro_rules! source {
    ($($name:ident: $instruction:literal;)*) => {
        $(
            /// One try. Some processors claim success with all ones after they slept; that is taken for a failure.
            fn $name() -> Option<u64> {
                let value: u64;
                let valid: u8;
                // SAFETY: callers know that the processor has the instruction, which only sets its operand and flags.
                unsafe {
                    asm!(
                        concat!($instruction, " {}"), "setc {}",
                        out(reg) value, out(reg_byte) valid,
                        options(nomem, nostack),
                    );
                }
                (valid == 1 && value != u64::MAX && value != 0).then_some(value)
            }
        )*
    };
}

source! {
    rdseed: "rdseed";
    rdrand: "rdrand";
}
