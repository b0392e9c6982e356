//! `FUTEX_WAKE_OP`: changing one word, and waking who waits for it or for another.

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_hal::uaccess;

use super::key::{Scope, key};
use super::queue::Pair;
use super::word::exchange;
use crate::fail::Attempt;
use crate::mm::AddressSpace;

/// What is done to the second word, and what its old value is compared with.
#[derive(Debug, Clone, Copy)]
pub struct WakeOp {
    operation: u32,
    operand: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOp {
    /// From the encoded argument (`futex(2)`, `FUTEX_OP`). `ENOSYS` for an operation or comparison that does not exist.
    pub fn decode(encoded: u32) -> Result<Self, Errno> {
        const SHIFTED: u32 = 8;
        let sign_extend = |twelve: u32| (twelve << 20) as i32 >> 20;
        let operation = encoded >> 28 & 0xf;
        let mut operand = sign_extend(encoded >> 12 & 0xfff) as u32;
        if operation & SHIFTED != 0 {
            operand = 1u32 << (operand & 31);
        }
        let decoded = Self {
            operation: operation & 7,
            operand,
            comparison: encoded >> 24 & 0xf,
            compared: sign_extend(encoded & 0xfff),
        };
        if decoded.operation > 4 || decoded.comparison > 5 { Err(Errno::ENOSYS) } else { Ok(decoded) }
    }

    fn apply(self, old: u32) -> u32 {
        match self.operation {
            0 => self.operand,
            1 => old.wrapping_add(self.operand),
            2 => old | self.operand,
            3 => old & !self.operand,
            _ => old ^ self.operand,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            0 => old == self.compared,
            1 => old != self.compared,
            2 => old < self.compared,
            3 => old <= self.compared,
            4 => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// Changes the second word, wakes waiters of the first, and, if the old value compares so, of the second. Returns how many.
pub fn wake_op(
    memory: &Arc<AddressSpace>,
    first: usize,
    second: usize,
    scope: Scope,
    (wakes, wakes_second): (usize, usize),
    operation: WakeOp,
) -> Attempt {
    let (a, b) = (key(memory, first, scope)?, key(memory, second, scope)?);
    let mut pair = Pair::lock(&a, &b);
    let mut old = uaccess::user_load_u32(second)?;
    exchange(second, &mut old, |old| Some(operation.apply(old)))?;
    let second = if operation.holds(old) { wakes_second } else { 0 };
    let woken = pair.a().try_wake(a, wakes, u32::MAX)?;
    Ok(woken + if second > 0 { pair.b().try_wake(b, second, u32::MAX)? } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_operation_is_that_of_the_manual() {
        // FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 1): what glibc's condition variables used.
        let add = WakeOp::decode(1 << 28 | 4 << 24 | 1 << 12 | 1).unwrap();
        assert_eq!(add.apply(1), 2);
        assert!(!add.holds(1) && add.holds(2));
        let negative = WakeOp::decode(0xfff << 12 | 0xfff).unwrap();
        assert_eq!(negative.apply(5), u32::MAX);
        assert!(negative.holds(u32::MAX));
        let shifted = WakeOp::decode((8 | 2) << 28 | 4 << 12).unwrap();
        assert_eq!(shifted.apply(1), 17);
        assert_eq!(WakeOp::decode(7 << 28).unwrap_err(), Errno::ENOSYS);
    }
}
