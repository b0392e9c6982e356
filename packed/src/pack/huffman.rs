//! Codes of limited length, by package-merge (Larmore and Hirschberg, 1990).

use crate::codes::LONGEST;

/// How long each symbol's code is where all together are shortest, for symbols that occur so often; 0 for those that do not. At least two do.
pub(super) fn lengths(counts: &[usize]) -> Vec<u8> {
    let mut coins: Vec<(usize, Vec<usize>)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, vec![symbol]))
        .collect();
    coins.sort_by_key(|(count, _)| *count);
    let mut packages = coins.clone();
    for _ in 1..LONGEST {
        let pairs = packages
            .chunks_exact(2)
            .map(|pair| (pair[0].0 + pair[1].0, [&pair[0].1[..], &pair[1].1].concat()));
        packages = pairs.chain(coins.iter().cloned()).collect();
        packages.sort_by_key(|(count, _)| *count);
    }
    let mut lengths = vec![0; counts.len()];
    let wanted = (2 * coins.len()).saturating_sub(2);
    for (_, symbols) in packages.iter().take(wanted) {
        for symbol in symbols {
            lengths[*symbol] += 1;
        }
    }
    lengths
}

/// The code of each symbol, its first bit the lowest (RFC 1951, section 3.2.2).
pub(super) fn codes(lengths: &[u8]) -> Vec<usize> {
    let mut codes = vec![0; lengths.len()];
    let mut code = 0_usize;
    for length in 1..=LONGEST {
        for (symbol, _) in lengths.iter().enumerate().filter(|(_, found)| usize::from(**found) == length) {
            codes[symbol] = code.reverse_bits() >> (usize::BITS as usize - length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_occurs_more_often_is_shorter() {
        assert_eq!(lengths(&[1, 1, 2, 0, 4]), [3, 3, 2, 0, 1]);
        assert_eq!(lengths(&[0, 7, 1]), [0, 1, 1]);
    }

    proptest! {
        #[test]
        fn all_that_can_come_begins_with_one_symbol_s_code(mut counts in prop::collection::vec(0usize..1 << 40, 2..300)) {
            counts[..2].fill(1);
            let lengths = lengths(&counts);
            let share: usize = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (LONGEST - usize::from(*length))).sum();
            prop_assert_eq!(share, 1 << LONGEST);
        }
    }
}
