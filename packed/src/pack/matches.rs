//! Finds what of a page is known already: from itself or from the dictionary.

use std::collections::HashMap;

use crate::PAGE;

/// How many places with the same three bytes are looked at. More make the kernel less than 0.3 % smaller.
const TRIES: usize = 1000;

/// A match of so many bytes is long enough: no other is looked for, and it is taken as a whole.
pub(super) const LONG: usize = 128;

/// So many bytes are the same as those so far before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) distance: usize,
}

/// Knows where in the dictionary which three bytes are.
pub(super) struct Finder<'a> {
    dictionary: &'a [u8],
    last: HashMap<[u8; 3], usize>,
    /// For each place the one before with the same three bytes.
    before: Vec<Option<usize>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(dictionary: &'a [u8]) -> Self {
        let mut last = HashMap::new();
        let before =
            dictionary.array_windows().enumerate().map(|(at, bytes)| last.insert(*bytes, at)).collect();
        Self { dictionary, last, before }
    }

    /// The matches at each place of a page: each is longer than those before it, which are nearer.
    pub(super) fn matches(&self, page: &[u8; PAGE]) -> Vec<Vec<Match>> {
        let text = [self.dictionary, &page[..]].concat();
        let (mut pairs, mut last, mut before) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut found = Vec::with_capacity(PAGE);
        for at in self.dictionary.len()..text.len() {
            let mut here: Vec<Match> = Vec::new();
            let mut look = |place: usize| {
                if here.last().is_some_and(|known| known.length >= LONG) {
                    return;
                }
                let length =
                    text[at..].iter().zip(&text[place..]).take_while(|(one, other)| one == other).count();
                if here.last().is_none_or(|known| length > known.length) {
                    here.push(Match { length, distance: at - place });
                }
            };
            if let Some(pair) = text[at..].first_chunk::<2>()
                && let Some(place) = pairs.insert(*pair, at)
            {
                look(place);
            }
            if let Some(three) = text[at..].first_chunk::<3>() {
                let nearest = last.insert(*three, at).or_else(|| self.last.get(three).copied());
                before.insert(at, nearest);
                let next = |place: &usize| match self.before.get(*place) {
                    Some(before) => *before,
                    None => before.get(place).copied().flatten().or_else(|| self.across(&text, *place)),
                };
                std::iter::successors(nearest, next).take(TRIES).for_each(look);
            }
            found.push(here);
        }
        found
    }

    /// The dictionary's last three bytes, which go on in the page, are in no window of it.
    fn across(&self, text: &[u8], place: usize) -> Option<usize> {
        self.last.get(text[place..].first_chunk::<3>()?).copied().filter(|known| *known < place)
    }
}
