use proptest::prelude::*;

use super::*;
use crate::{Codes, Packed};

/// A page of what was packed.
fn page(packed: &[u8], index: usize, dictionary: &[u8]) -> Option<[u8; PAGE]> {
    let mut page = [0xaa; PAGE];
    Packed::new(packed).unpack(index, dictionary, &mut Codes::new(), &mut page)?;
    Some(page)
}

#[test]
fn pages_are_had_one_by_one() {
    let code: Vec<u8> = (0..3 * PAGE - 5).map(|at| (at / 7 % 50 + at / PAGE) as u8).collect();
    let packed = pack(&code, b"");
    assert!(packed.len() < code.len() / 4, "{} bytes", packed.len());
    for index in [2, 0, 1] {
        let page = page(&packed, index, b"").unwrap();
        let end = code.len().min((index + 1) * PAGE);
        let (there, behind) = page.split_at(end - index * PAGE);
        assert_eq!(there, &code[index * PAGE..end]);
        assert!(behind.iter().all(|byte| *byte == 0));
    }
    assert_eq!(page(&packed, 3, b""), None);
}

#[test]
fn what_does_not_become_shorter_is_kept() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    // The other pages see to it that the codes are not made for the last one.
    let code: Vec<u8> = (0..4 * PAGE).map(|at| random() >> if at < 3 * PAGE { 4 } else { 0 }).collect();
    let packed = pack(&code, b"");
    let (before, last) = code.split_at(3 * PAGE);
    assert!(packed.ends_with(last), "{} bytes", packed.len());
    assert!(page(&packed, 3, b"").unwrap() == last);
    assert!(page(&packed, 2, b"").unwrap() == before[2 * PAGE..]);
}

#[test]
fn a_match_goes_on_from_the_dictionary_into_the_page() {
    let dictionary: Vec<u8> = (0..200).collect();
    let code: Vec<u8> = dictionary[150..].iter().copied().cycle().take(PAGE).collect();
    let packed = pack(&code, &dictionary);
    assert!(packed.len() < 220, "{} bytes", packed.len());
    assert_eq!(page(&packed, 0, &dictionary).unwrap()[..], code);
    assert_eq!(page(&packed, 0, &dictionary[190..]), None, "a match from before the dictionary");
}

#[test]
fn nothing_is_no_page() {
    assert_eq!(page(&pack(b"", b"dictionary"), 0, b"dictionary"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_packed_is_unpacked(
        code in prop::collection::vec(0u8..4, 1..2 * PAGE),
        dictionary in prop::collection::vec(0u8..4, 0..300),
    ) {
        let packed = pack(&code, &dictionary);
        let mut unpacked: Vec<u8> =
            (0..code.len().div_ceil(PAGE)).flat_map(|index| page(&packed, index, &dictionary).unwrap()).collect();
        unpacked.truncate(code.len());
        prop_assert_eq!(unpacked, code);
    }

    #[test]
    fn what_is_damaged_is_refused_or_some_page_but_never_a_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
        index in 0usize..4,
    ) {
        let code: Vec<u8> = (0..2 * PAGE).map(|at| (at * at / 300) as u8).collect();
        let mut packed = pack(&code, b"dictionary");
        for (at, value) in flips {
            *at.get_mut(&mut packed) = value;
        }
        if cuts {
            packed.truncate(cut.index(packed.len()));
        }
        let _ = page(&packed, index, b"dictionary");
    }
}
