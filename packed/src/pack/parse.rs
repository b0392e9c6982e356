//! Takes a page apart into the steps that need the fewest bits.

use crate::PAGE;
use crate::codes::{DISTANCE, LENGTH, LENGTHS, LONGEST, SHORTEST};

use super::{
    Lengths, Step,
    matches::{LONG, Match},
};

/// The cheapest way to a place of the page.
#[derive(Clone, Copy)]
struct Way {
    bits: usize,
    /// The last step of it.
    step: Step,
    /// How far before the last match was.
    distance: usize,
}

/// The cheapest steps by these codes. The distance of the match before costs little; which one that is depends on the way, of which only the
/// cheapest is known at each place: what is found is nearly the best.
pub(super) fn shortest(
    page: &[u8; PAGE],
    matches: &[Vec<Match>],
    dictionary: &[u8],
    lengths: &Lengths,
) -> Vec<Step> {
    let cost = |step: Step| cost(step, lengths);
    let mut ways: Vec<Option<Way>> = vec![None; PAGE + 1];
    ways[0] = Some(Way { bits: 0, step: Step::Literal(0), distance: 0 });
    for at in 0..PAGE {
        let Some(way) = ways[at] else { continue };
        let mut go = |step: Step, distance: usize| {
            let bits = way.bits + cost(step);
            let there = &mut ways[at + step.length()];
            if there.is_none_or(|known| bits < known.bits) {
                *there = Some(Way { bits, step, distance });
            }
        };
        go(Step::Literal(page[at]), way.distance);
        let known = again(page, at, way.distance, dictionary);
        let shortest = if known >= LONG { known } else { SHORTEST };
        for length in shortest..=known {
            go(Step::Match { length, distance: None }, way.distance);
        }
        let mut shorter = SHORTEST;
        for known in &matches[at] {
            let shortest = if known.length >= LONG { known.length } else { shorter };
            for length in shortest..=known.length {
                go(Step::Match { length, distance: Some(known.distance) }, known.distance);
            }
            shorter = known.length + 1;
        }
    }
    let mut steps = Vec::new();
    let mut at = PAGE;
    while let (1.., Some(way)) = (at, ways[at]) {
        steps.push(way.step);
        at -= way.step.length();
    }
    steps.reverse();
    steps
}

/// How many bytes at `at` are the same as those `distance` before; none for no distance.
fn again(page: &[u8; PAGE], at: usize, distance: usize, dictionary: &[u8]) -> usize {
    let byte = |at: usize| match (at + dictionary.len()).checked_sub(distance)? {
        from if from < dictionary.len() => dictionary.get(from),
        from => page.get(from - dictionary.len()),
    };
    if distance == 0 { 0 } else { (at..PAGE).take_while(|at| byte(*at) == page.get(*at)).count() }
}

/// What a step takes, in bits. A symbol without a code would get a long one.
fn cost(step: Step, lengths: &Lengths) -> usize {
    let bits = |length: u8| if length == 0 { LONGEST + 1 } else { length.into() };
    let (literal, distance) = step.symbols();
    let more = literal.checked_sub(LENGTHS).map_or(0, |slot| LENGTH.numbers(slot).1);
    let distance = distance.map_or(0, |slot| {
        let more = if slot == 0 { 0 } else { DISTANCE.numbers(slot).1 };
        bits(lengths.distances[slot]) + more
    });
    bits(lengths.literals[literal]) + more + distance
}
