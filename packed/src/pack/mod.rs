//! Writing: as small as the form allows, however long it takes.
//!
//! What a page is best taken apart into depends on how long the codes are, and these on how often each symbol then occurs. So all pages are
//! taken apart several times, each time by the codes of the time before, until that makes them no smaller.

mod huffman;
mod matches;
mod parse;

use crate::PAGE;
use crate::codes::{DISTANCE, DISTANCES, LENGTH, LENGTHS, LITERALS, SHORTEST};

use matches::{Finder, Match};

/// A step of unpacking.
#[derive(Clone, Copy)]
enum Step {
    Literal(u8),
    /// So many bytes again, from so far before; where that is `None`, from as far as the match before.
    Match {
        length: usize,
        distance: Option<usize>,
    },
}

impl Step {
    /// How many bytes it gives.
    const fn length(self) -> usize {
        match self {
            Self::Literal(_) => 1,
            Self::Match { length, .. } => length,
        }
    }

    /// The symbols of a literal or length and of a distance.
    fn symbols(self) -> (usize, Option<usize>) {
        match self {
            Self::Literal(byte) => (usize::from(byte), None),
            Self::Match { length, distance } => {
                let distance = distance.map_or(0, |distance| DISTANCE.slot(distance));
                (LENGTHS + LENGTH.slot(length - SHORTEST), Some(distance))
            }
        }
    }
}

/// How many bits each symbol takes.
struct Lengths {
    literals: Vec<u8>,
    distances: Vec<u8>,
}

impl Lengths {
    /// Those that make these steps shortest.
    fn of(pages: &[Vec<Step>]) -> Self {
        let (mut literals, mut distances) = ([0; LITERALS], [0; DISTANCES]);
        // A code needs two symbols for all bits to be the beginning of one.
        literals[..2].fill(1);
        distances[..2].fill(1);
        for step in pages.iter().flatten() {
            let (literal, distance) = step.symbols();
            literals[literal] += 1;
            if let Some(distance) = distance {
                distances[distance] += 1;
            }
        }
        Self { literals: huffman::lengths(&literals), distances: huffman::lengths(&distances) }
    }

    /// What is known before the first page was taken apart: nothing.
    fn even() -> Self {
        Self { literals: vec![8; LITERALS], distances: vec![6; DISTANCES] }
    }
}

/// Compresses code by pages, the last of which ends in zeros. `dictionary` is what will be known when a page is unpacked; a part of it that is
/// further than 2 MiB away is not used.
#[must_use]
pub fn pack(code: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let reach = (1 << 21) - PAGE;
    let dictionary = &dictionary[dictionary.len().saturating_sub(reach)..];
    let finder = Finder::new(dictionary);
    let pages: Vec<([u8; PAGE], Vec<Vec<Match>>)> = code
        .chunks(PAGE)
        .map(|code| {
            let mut page = [0; PAGE];
            page[..code.len()].copy_from_slice(code);
            (page, finder.matches(&page))
        })
        .collect();
    let (mut lengths, mut blocks) = (Lengths::even(), Vec::new());
    let mut smallest = usize::MAX;
    loop {
        let steps: Vec<Vec<Step>> = pages
            .iter()
            .map(|(page, matches)| parse::shortest(page, matches, dictionary, &lengths))
            .collect();
        let better = Lengths::of(&steps);
        let written: Vec<Vec<u8>> =
            pages.iter().zip(&steps).map(|((page, _), steps)| block(page, steps, &better)).collect();
        let size = written.iter().map(Vec::len).sum();
        if size >= smallest {
            return join(&lengths, &blocks);
        }
        (smallest, lengths, blocks) = (size, better, written);
    }
}

fn join(lengths: &Lengths, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = (blocks.len() as u32).to_le_bytes().to_vec();
    for pair in lengths.literals.chunks(2).chain(lengths.distances.chunks(2)) {
        bytes.push(pair[0] | pair[1] << 4);
    }
    let mut at = bytes.len() + 4 * (blocks.len() + 1);
    for length in blocks.iter().map(Vec::len).chain([0]) {
        bytes.extend((at as u32).to_le_bytes());
        at += length;
    }
    bytes.extend(blocks.concat());
    bytes
}

/// A page's block: its steps one after the other, or itself where these are not shorter.
fn block(page: &[u8; PAGE], steps: &[Step], lengths: &Lengths) -> Vec<u8> {
    let (literals, distances) = (huffman::codes(&lengths.literals), huffman::codes(&lengths.distances));
    let mut bits = Bits::default();
    for step in steps {
        let (literal, symbol) = step.symbols();
        bits.push(literals[literal], lengths.literals[literal].into());
        let (Step::Match { length, distance }, Some(symbol)) = (*step, symbol) else { continue };
        let (first, more) = LENGTH.numbers(literal - LENGTHS);
        bits.push(length - SHORTEST - first, more);
        bits.push(distances[symbol], lengths.distances[symbol].into());
        if let Some(distance) = distance {
            let (first, more) = DISTANCE.numbers(symbol);
            bits.push(distance - first, more);
        }
    }
    if bits.bytes.len() < PAGE { bits.bytes } else { page.to_vec() }
}

/// A stream of bits, the lowest of each byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are free.
    free: usize,
}

impl Bits {
    fn push(&mut self, value: usize, count: usize) {
        for bit in 0..count {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) << (8 - self.free)) as u8;
            self.free -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
