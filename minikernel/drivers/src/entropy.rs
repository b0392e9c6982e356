//! Random numbers.
//!
//! The generator is `ChaCha20` with fast key erasure (D. J. Bernstein, 2017): the cipher runs under a key, the first 32
//! bytes become the next key, and only the rest is given out, once. So nothing in memory lets anyone compute what was
//! given out before.

use core::fmt;

use isopod_hal::sync::SpinLock;
use isopod_hal::{clock, log, random};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const KEY: usize = 32;
/// What the cipher gives at a time, less the next key.
const POOL: usize = 256 - KEY;

/// A cryptographically secure generator.
pub struct Random(SpinLock<State>);

struct State {
    key: [u8; KEY],
    /// Output for small requests; the first `left` bytes were not given out yet, the others are zeros.
    pool: [u8; POOL],
    left: usize,
    /// A source that nobody outside can predict has been added.
    seeded: bool,
}

impl Random {
    /// A generator seeded by what is there at boot: the processor's random numbers, the boot loader's seed. Where
    /// there is neither, the time-stamp counter makes it differ from boot to boot, but does not count as a seed.
    pub fn new(boot_seed: Option<&[u8; 32]>) -> Self {
        let random = Self::unseeded();
        let mut hardware = [0; KEY];
        let complete = hardware.chunks_exact_mut(8).all(|word| {
            let number = random::hardware_random();
            word.copy_from_slice(&number.unwrap_or(0).to_le_bytes());
            number.is_some()
        });
        if complete {
            random.add(&hardware);
        }
        if let Some(seed) = boot_seed {
            random.add(seed);
        }
        if !random.is_seeded() {
            random.mix(&clock::tsc().to_le_bytes(), false);
            log!("random: no entropy from processor or boot loader");
        }
        random
    }

    /// A generator that knows nothing.
    pub(crate) fn unseeded() -> Self {
        Self(SpinLock::new(State { key: [0; KEY], pool: [0; POOL], left: 0, seeded: false }))
    }

    /// Whether an unpredictable source has been added yet.
    pub fn is_seeded(&self) -> bool {
        self.0.lock().seeded
    }

    /// Fills `into` with random bytes; from a generator that is not seeded they may be predictable.
    pub fn fill(&self, into: &mut [u8]) {
        let mut state = self.0.lock();
        if into.len() <= POOL {
            state.take(into);
        } else {
            let mut cipher = state.next_cipher();
            drop(state);
            cipher.fill_bytes(into);
        }
    }

    /// A random number.
    pub fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Mixes in bytes from a source that is taken to be unpredictable.
    pub fn add(&self, bytes: &[u8]) {
        self.mix(bytes, true);
    }

    /// Mixes in bytes that may be known to others; they cannot make the generator worse.
    pub fn add_public(&self, bytes: &[u8]) {
        self.mix(bytes, false);
    }

    /// Each piece is added to the key, and the cipher's output under the sum becomes the new key: whoever does not know
    /// the key before or the piece does not know the key after.
    fn mix(&self, bytes: &[u8], seeds: bool) {
        let mut state = self.0.lock();
        for piece in bytes.chunks(KEY) {
            for (key, byte) in state.key.iter_mut().zip(piece) {
                *key ^= byte;
            }
            state.next_cipher();
        }
        // What is left was made before the new bytes counted.
        state.left = 0;
        state.seeded |= seeds && !bytes.is_empty();
    }
}

impl State {
    /// A cipher under the key, which is replaced by the cipher's first bytes.
    fn next_cipher(&mut self) -> ChaCha20Rng {
        let mut cipher = ChaCha20Rng::from_seed(self.key);
        cipher.fill_bytes(&mut self.key);
        cipher
    }

    /// Moves bytes from the pool, at most as many as it holds when full.
    fn take(&mut self, into: &mut [u8]) {
        if self.left < into.len() {
            self.next_cipher().fill_bytes(&mut self.pool);
            self.left = POOL;
        }
        self.left -= into.len();
        let taken = &mut self.pool[self.left..self.left + into.len()];
        into.copy_from_slice(taken);
        taken.fill(0);
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_nothing_twice() {
        let (first, second) = (Random::unseeded(), Random::unseeded());
        first.add(&[1; 100]);
        second.add(&[1; 100]);
        let numbers: [u64; 100] = core::array::from_fn(|_| first.next_u64());
        assert_eq!(numbers, core::array::from_fn(|_| second.next_u64()));
        assert!(numbers.iter().enumerate().all(|(at, number)| !numbers[..at].contains(number)));
        second.add_public(b"x");
        assert_ne!(first.next_u64(), second.next_u64());
    }

    #[test]
    fn a_request_erases_the_key_it_was_made_with() {
        let random = Random::unseeded();
        random.add(&[1; 32]);
        let before = random.0.lock().key;
        let mut output = vec![0; 1000];
        random.fill(&mut output);
        let after = random.0.lock().key;
        assert_ne!(before, after);
        assert!(!output.windows(KEY).any(|window| window == before || window == after));
        // The output is the cipher's under the old key, behind the new key (RFC 8439 gives its test vectors).
        let mut stream = [0; 1032];
        ChaCha20Rng::from_seed(before).fill_bytes(&mut stream);
        assert_eq!((&stream[..KEY], &stream[KEY..]), (after.as_slice(), output.as_slice()));
    }

    #[test]
    fn what_was_given_out_is_gone() {
        let random = Random::unseeded();
        random.add(&[1; 32]);
        let mut small = [0; 50];
        for _ in 0..20 {
            random.fill(&mut small);
            let state = random.0.lock();
            assert!(state.pool[state.left..].iter().all(|byte| *byte == 0));
            assert!(
                !state
                    .pool
                    .windows(8)
                    .any(|window| small.windows(8).any(|given| given == window && given != [0; 8]))
            );
        }
        random.add(&[2; 32]);
        assert_eq!(random.0.lock().left, 0, "new entropy counts at once");
    }

    #[test]
    fn only_what_nobody_can_know_counts_as_a_seed() {
        let random = Random::unseeded();
        random.add_public(&[1; 64]);
        random.add(&[]);
        assert!(!random.is_seeded());
        random.add(&[1]);
        assert!(random.is_seeded());
        assert!(Random::new(Some(&[7; 32])).is_seeded());
    }

    #[test]
    fn the_bits_are_balanced() {
        let random = Random::unseeded();
        let mut bytes = vec![0; 100_000];
        random.fill(&mut bytes);
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        // Six standard deviations around half of 800,000.
        assert!((397_300..402_700).contains(&ones), "{ones}");
    }
}
