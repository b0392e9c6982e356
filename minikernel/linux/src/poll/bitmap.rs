//! The sets of descriptors of select(2).

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::file::Ready;

/// Bits in a word of a set.
const WORD: usize = u64::BITS as usize;

/// A set of descriptors below a limit, as words in the ABI's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorSet(Vec<u64>);

impl DescriptorSet {
    /// How many words a set of `limit` descriptors has.
    pub fn words(limit: usize) -> usize {
        limit.div_ceil(WORD)
    }

    /// From the program's words; what is not below `limit` is left out.
    pub fn new(mut words: Vec<u64>, limit: usize) -> Self {
        if let Some(last) = words.last_mut().filter(|_| !limit.is_multiple_of(WORD)) {
            *last &= (1 << (limit % WORD)) - 1;
        }
        Self(words)
    }

    /// The empty set of as many words. `ENOMEM`.
    pub fn cleared(&self) -> Result<Self, Errno> {
        let mut words = Vec::new();
        words.try_reserve_exact(self.0.len()).map_err(|_| Errno::ENOMEM)?;
        words.resize(self.0.len(), 0);
        Ok(Self(words))
    }

    /// In the ABI's form.
    pub fn as_words(&self) -> &[u64] {
        &self.0
    }

    /// Adds a descriptor.
    fn insert(&mut self, fd: i32) {
        if let Some(word) = self.0.get_mut(fd as usize / WORD) {
            *word |= 1 << (fd as usize % WORD);
        }
    }

    fn contains(&self, fd: i32) -> bool {
        self.0.get(fd as usize / WORD).is_some_and(|word| word >> (fd as usize % WORD) & 1 == 1)
    }
}

/// What makes a descriptor of each set count as ready: to read, to write, exceptional (select(2), section "Correspondence between select
/// and poll notifications").
const READY: [Ready; 3] = [
    Ready::READ.union(Ready::READ_NORMAL).union(Ready::HANG_UP).union(Ready::ERROR),
    Ready::WRITE.union(Ready::WRITE_NORMAL).union(Ready::ERROR),
    Ready::PRIORITY,
];

/// The three sets of a select.
pub type Sets = [Option<DescriptorSet>; 3];

/// Every descriptor that is in one of the sets, rising. `ENOMEM`.
pub fn all(sets: &Sets) -> Result<Vec<i32>, Errno> {
    let longest = sets.iter().flatten().map(|set| set.0.len()).max().unwrap_or(0);
    let mut found = Vec::new();
    for index in 0..longest {
        let word = |set: &DescriptorSet| set.0.get(index).copied().unwrap_or(0);
        let union = sets.iter().flatten().fold(0, |union, set| union | word(set));
        found.try_reserve(union.count_ones() as usize).map_err(|_| Errno::ENOMEM)?;
        let mut left = union;
        while left != 0 {
            found.push((index * WORD) as i32 + left.trailing_zeros() as i32);
            left &= left - 1;
        }
    }
    Ok(found)
}

/// Puts those of `sets` that are ready into `found`, sets of the same lengths. Returns how many bits are set in all.
pub fn ready(sets: &Sets, states: impl Iterator<Item = (i32, Ready)>, found: &mut Sets) -> usize {
    found.iter_mut().flatten().for_each(|set| set.0.fill(0));
    let mut count = 0;
    for (fd, state) in states.filter(|(_, state)| !state.is_empty()) {
        for ((wanted, found), meaning) in sets.iter().zip(&mut *found).zip(READY) {
            if let (Some(wanted), Some(found)) = (wanted, found)
                && wanted.contains(fd)
                && state.intersects(meaning)
            {
                found.insert(fd);
                count += 1;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn descriptors_beyond_the_limit_do_not_count() {
        let set = DescriptorSet::new(vec![!0, !0], 70);
        let listed = |set: &DescriptorSet| all(&[Some(set.clone()), None, None]).unwrap();
        assert_eq!(listed(&set).len(), 70);
        assert_eq!((set.contains(69), set.contains(70), set.contains(500)), (true, false, false));
        assert_eq!(listed(&DescriptorSet::new(vec![!0], 64)).last(), Some(&63));
        assert_eq!(listed(&DescriptorSet::new(vec![], 0)), []);
    }

    #[test]
    fn each_set_has_its_own_events() {
        let set = |bits| Some(DescriptorSet::new(vec![bits], 64));
        let sets = [set(0b111), set(0b011), None];
        assert_eq!(all(&sets), Ok(vec![0, 1, 2]));
        let states = [(0, Ready::READABLE), (1, Ready::ERROR), (2, Ready::WRITABLE | Ready::PRIORITY)];
        let mut found = [set(0b111), set(0), None];
        assert_eq!(ready(&sets, states.into_iter(), &mut found), 3);
        assert_eq!(found, [set(0b011), set(0b010), None]);
    }
}
