//! Reading: whoever reaches new code waits for it, and it may be reached from anywhere in the kernel.

use crate::PAGE;
use crate::codes::{DISTANCE, DISTANCE_CODES, LENGTH, LENGTHS, LITERAL_CODES, LONGEST, SHORTEST};

type Page = [u8; PAGE];

/// What is copied at once, where there is room for so much.
const PIECE: usize = 16;

/// Pages of code, each compressed by itself.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Takes the bytes as they were linked. Nothing is believed of them until a page is asked for.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Unpacks a page; `None` where not all of it is there and in order. `codes` are those of these bytes, from the first page on.
    pub fn unpack(
        &self,
        index: usize,
        dictionary: &[u8],
        codes: &mut Codes,
        page: &mut [u8; PAGE],
    ) -> Option<()> {
        let block = self.block(index)?;
        if let Ok(whole) = block.try_into() {
            *page = whole;
        } else {
            codes.read(self.bytes)?;
            unpack(block, dictionary, codes, page)?;
        }
        Some(())
    }

    fn block(&self, index: usize) -> Option<&'a [u8]> {
        let word = |at: usize| Some(u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?) as usize);
        (index < word(0)?).then_some(())?;
        let place = DISTANCE_CODES.end + 4 * index;
        self.bytes.get(word(place)?..word(place + 4)?)
    }
}

/// What each code says, by all bits that can come next.
#[derive(Debug)]
pub struct Codes {
    known: bool,
    literals: Table,
    distances: Table,
}

impl Codes {
    /// Codes that are not known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { known: false, literals: Table::NONE, distances: Table::NONE }
    }

    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        if !self.known {
            self.literals.fill(bytes.get(LITERAL_CODES)?, |symbol| match symbol.checked_sub(LENGTHS) {
                None => (symbol, 0),
                Some(slot) => {
                    let (first, more) = LENGTH.numbers(slot);
                    (LENGTHS + first, more)
                }
            })?;
            self.distances.fill(bytes.get(DISTANCE_CODES)?, |slot| DISTANCE.numbers(slot))?;
            self.known = true;
        }
        Some(())
    }
}

impl Default for Codes {
    fn default() -> Self {
        Self::new()
    }
}

/// The symbol that begins with certain bits: the length of its code in the lowest four bits, then in five bits how many bits it takes
/// together with those that are added to its number, then that.
#[derive(Clone, Copy, Debug)]
struct Symbol(u32);

impl Symbol {
    const fn new(length: usize, (number, more): (usize, usize)) -> Self {
        Self((number << 9 | (length + more) << 4 | length) as u32)
    }

    const fn length(self) -> usize {
        self.0 as usize & 15
    }

    const fn taken(self) -> usize {
        self.0 as usize >> 4 & 31
    }

    const fn number(self) -> usize {
        self.0 as usize >> 9
    }
}

/// All symbols of an alphabet.
#[derive(Debug)]
struct Table([Symbol; 1 << LONGEST]);

impl Table {
    const NONE: Self = Self([Symbol(0); 1 << LONGEST]);

    /// Gives each symbol its code as RFC 1951, section 3.2.2, does: shorter ones first, those of the same length by their symbols. `None`
    /// where that leaves bits that no code begins with, or where they do not suffice.
    fn fill(&mut self, lengths: &[u8], number: impl Fn(usize) -> (usize, usize)) -> Option<()> {
        let length = |symbol: usize| usize::from(lengths[symbol / 2] >> (symbol % 2 * 4) & 15);
        let mut codes = [0_usize; 16];
        for symbol in 0..2 * lengths.len() {
            codes[length(symbol)] += 1;
        }
        let mut code = 0;
        for found in &mut codes[1..=LONGEST] {
            let next = code + *found;
            *found = code;
            code = next << 1;
        }
        (code == 2 << LONGEST).then_some(())?;
        for symbol in 0..2 * lengths.len() {
            let length = length(symbol);
            if !(1..=LONGEST).contains(&length) {
                continue;
            }
            // The first bit of a code is the first in the stream, which is the lowest.
            let mut bits = codes[length].reverse_bits() >> (usize::BITS as usize - length);
            codes[length] += 1;
            while let Some(entry) = self.0.get_mut(bits) {
                *entry = Symbol::new(length, number(symbol));
                bits += 1 << length;
            }
        }
        Some(())
    }
}

/// A stream of bits, the lowest of each byte first; behind its end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// How many bytes have been taken over into `held`.
    taken: usize,
    held: u64,
    count: usize,
}

impl Bits<'_> {
    /// The longest code and what is added to its symbol's number, of which there are at most 18 bits.
    const MOST: usize = LONGEST + 18;

    /// The next symbol's number, with what is added to it.
    #[expect(
        clippy::inline_always,
        reason = "the kernel is compiled with little inlining, and this is called for each byte or two"
    )]
    #[inline(always)]
    fn number(&mut self, table: &Table) -> Option<usize> {
        if self.count < Self::MOST {
            self.refill();
        }
        let symbol = table.0.get(self.held as usize & ((1 << LONGEST) - 1))?;
        let added = (self.held & ((1 << symbol.taken()) - 1)) >> symbol.length();
        self.held >>= symbol.taken();
        self.count -= symbol.taken();
        Some(symbol.number() + added as usize)
    }

    /// Sees to it that 56 bits are held.
    fn refill(&mut self) {
        let next = match self.bytes.get(self.taken..).and_then(|rest| rest.first_chunk()) {
            Some(word) => u64::from_le_bytes(*word),
            None => self.last(),
        };
        self.held |= next << self.count;
        self.taken += (63 - self.count) / 8;
        self.count |= 0x38;
    }

    #[cold]
    fn last(&self) -> u64 {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

/// Reads a block that gives a whole page.
fn unpack(block: &[u8], dictionary: &[u8], codes: &Codes, page: &mut Page) -> Option<()> {
    let mut bits = Bits { bytes: block, taken: 0, held: 0, count: 0 };
    let (mut at, mut distance) = (0, 0);
    while let Some(place) = page.get_mut(at) {
        let number = bits.number(&codes.literals)?;
        let Some(more) = number.checked_sub(LENGTHS) else {
            *place = number as u8;
            at += 1;
            continue;
        };
        let mut matched = SHORTEST + more;
        match bits.number(&codes.distances)? {
            0 => {}
            another => distance = another,
        }
        if distance > at {
            let from = dictionary.len().checked_sub(distance - at)?;
            let known = matched.min(dictionary.len() - from);
            copy(dictionary, from, page, at, known)?;
            at += known;
            matched -= known;
            // What goes on behind the dictionary's end goes on at the page's start.
            if matched == 0 {
                continue;
            }
        }
        repeat(page, distance, at, matched)?;
        at += matched;
    }
    (at == PAGE && bits.taken - bits.count / 8 <= block.len()).then_some(())
}

/// Copies `count` bytes of `source` from `from` on. What is behind them in the page may change: it is written later.
#[inline]
fn copy(source: &[u8], from: usize, page: &mut Page, at: usize, count: usize) -> Option<()> {
    if count <= PIECE
        && let Some(piece) = source.get(from..).and_then(|rest| rest.first_chunk::<PIECE>())
        && let Some(place) = page.get_mut(at..).and_then(|rest| rest.first_chunk_mut())
    {
        *place = *piece;
        return Some(());
    }
    page.get_mut(at..at.checked_add(count)?)?.copy_from_slice(source.get(from..from.checked_add(count)?)?);
    Some(())
}

/// Copies `count` bytes from `distance` before, which may be ones that are written by that.
#[inline]
fn repeat(page: &mut Page, distance: usize, at: usize, count: usize) -> Option<()> {
    let from = at.checked_sub(distance)?;
    let end = at.checked_add(count).filter(|end| *end <= PAGE && distance > 0)?;
    if distance >= PIECE && end + PIECE <= PAGE {
        for step in (0..count).step_by(PIECE) {
            let piece: [u8; PIECE] = *page.get(from + step..)?.first_chunk()?;
            *page.get_mut(at + step..)?.first_chunk_mut()? = piece;
        }
    } else {
        for step in 0..count {
            *page.get_mut(at + step)? = *page.get(from + step)?;
        }
    }
    Some(())
}
