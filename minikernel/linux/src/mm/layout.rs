//! Where things lie in an address space, with randomisation as Linux does it on x86-64
//! (`arch/x86/mm/mmap.c`, `fs/binfmt_elf.c`; `randomize_va_space` 2, `mmap_rnd_bits` 28).

use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::USER_END;

use super::page_down;

/// The lowest address that can be mapped (`vm.mmap_min_addr`).
pub const LOWEST: usize = 0x1_0000;

/// Where position-independent programs with an interpreter start before randomisation: two thirds of the user half.
const PROGRAM_BASE: usize = page_down(USER_END / 3 * 2);
/// The gap that is kept free below the stack, whatever its limit: Linux's `MIN_GAP` without the random part.
const STACK_GAP_MIN: usize = 128 << 20;
/// The largest such gap.
const STACK_GAP_MAX: usize = USER_END / 6 * 5;
/// Pages by which the stack's top varies (22 bits: 16 GiB).
const STACK_RANDOM_PAGES: usize = 0x3f_ffff;
/// Pages by which the mappings' top and the program's base vary (28 bits: 1 TiB).
const MMAP_RANDOM_PAGES: usize = (1 << 28) - 1;
/// Pages by which the heap's start varies (32 MiB).
const BRK_RANDOM_PAGES: usize = 0x1fff;

/// The random choices of one address space.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// First address above the stack.
    pub stack_top: usize,
    /// Mappings are placed below it, top down.
    pub mmap_top: usize,
    /// Where a position-independent program goes.
    pub program_base: usize,
    /// How far above the program's end the heap starts, in bytes.
    pub brk_offset: usize,
}

impl Layout {
    /// Draws a layout. `random` gives 64 random bits a call; `stack_limit` is `RLIMIT_STACK` in bytes.
    pub fn random(random: &mut dyn FnMut() -> u64, stack_limit: u64) -> Self {
        let mut pages = |mask: usize| (random() as usize & mask) * PAGE_SIZE;
        let stack_top = USER_END - pages(STACK_RANDOM_PAGES);
        let room = usize::try_from(stack_limit).unwrap_or(usize::MAX).clamp(STACK_GAP_MIN, STACK_GAP_MAX);
        let spread = STACK_RANDOM_PAGES * PAGE_SIZE;
        Self {
            stack_top,
            mmap_top: page_down(USER_END - room.min(STACK_GAP_MAX - spread) - spread)
                - pages(MMAP_RANDOM_PAGES),
            program_base: PROGRAM_BASE + pages(MMAP_RANDOM_PAGES),
            brk_offset: pages(BRK_RANDOM_PAGES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_leave_room_and_stay_in_the_user_half() {
        for bits in [0, u64::MAX] {
            for limit in [0, 8 << 20, u64::MAX] {
                let layout = Layout::random(&mut || bits, limit);
                assert!(layout.stack_top <= USER_END);
                assert!(layout.mmap_top + STACK_GAP_MIN <= layout.stack_top);
                assert!(layout.mmap_top > USER_END / 100, "{layout:x?}");
                assert!(layout.program_base + (1 << 40) < USER_END);
                assert_eq!(layout.stack_top % PAGE_SIZE, 0);
                assert_eq!(layout.mmap_top % PAGE_SIZE, 0);
            }
        }
    }
}
