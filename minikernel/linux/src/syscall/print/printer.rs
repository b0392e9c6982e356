//! Arguments as strace prints them: what reads [`layouts`].

use alloc::string::String;

use isopod_hal::uaccess;

use super::{layouts, names};
use crate::signal::Signal;
use crate::syscall::{Argument, Fd, put};

/// The most of a list that is printed, and of a string's bytes, as strace does (`-s`).
pub const SHOWN: usize = 32;

/// No line is longer by more than one value, in bytes.
const LINE: usize = 4 << 10;

/// A call as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The six argument registers.
    pub registers: [u64; 6],
    /// What it returned, once it has; a negative number is an error.
    pub result: Option<i64>,
}

/// Where a value lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It is this.
    Value(u64),
    /// At this address.
    Memory(u64),
}

/// Prints values of one call, or of the kernel's own.
#[derive(Debug)]
pub struct Printer<'a> {
    pub(super) call: Call,
    /// The argument that is printed.
    pub(super) index: usize,
    /// If there are any, they are the memory.
    own: &'a [u8],
    /// The structure that what is printed lies in.
    outer: u64,
    /// How many bytes of the buffers that the call fills are still to be printed.
    left: u64,
    /// The first address that nothing could be read from.
    pub missing: Option<usize>,
    /// What has been printed.
    pub out: String,
}

impl<'a> Printer<'a> {
    /// For a call's arguments.
    pub fn new(call: Call) -> Self {
        Self::of(call, &[])
    }

    /// For a structure of the kernel's.
    pub fn of_structure(own: &'a [u8]) -> Self {
        Self::of(Call { registers: [0; 6], result: None }, own)
    }

    fn of(call: Call, own: &'a [u8]) -> Self {
        let left = call.result.map_or(u64::MAX, |result| result.max(0) as u64);
        Self { call, index: 0, own, outer: 0, left, missing: None, out: String::new() }
    }

    /// Prints the arguments of these kinds from number `from` on; of a call that has not returned, as far as it does not change them. Returns
    /// how many have been printed.
    pub fn arguments(&mut self, kinds: [u8; 6], from: usize) -> usize {
        for (index, kind) in kinds.into_iter().enumerate().skip(from) {
            let register = self.register(index);
            self.index = index;
            let (layout, written) = self.choose(layouts::of_code(kind), Place::Value(register));
            let written = written || kind & layouts::Shown::WRITTEN != 0;
            if layout.is_empty() {
                continue;
            }
            if index > from {
                self.out.push_str(", ");
            }
            match self.call.result {
                None if written => return index,
                Some(..0) if written => self.pointer(register),
                _ => self.show(layout, Place::Value(register)),
            }
        }
        kinds.len()
    }

    pub(super) fn register(&self, index: usize) -> u64 {
        self.call.registers.get(index).copied().unwrap_or(0)
    }

    /// The layout that this one stands for, if it is a choice, and whether the call writes what it shows.
    fn choose(&self, layout: &'static str, place: Place) -> (&'static str, bool) {
        let Some((which, choices)) = layout.strip_prefix('?').and_then(|rest| rest.split_once(' ')) else {
            return (layout, false);
        };
        let (which, mask) = which.split_once('&').unwrap_or((which, "4294967295"));
        let value = match (which, place) {
            (".", Place::Value(value)) => value,
            ("r", _) => self.call.result.unwrap_or(1) as u64,
            ("-", _) => self.register(self.index.wrapping_sub(1)),
            _ => self.register(which.parse().unwrap_or(0)),
        };
        let value = value & mask.parse().unwrap_or(0);
        let is_it = |known: &str| known == "*" || known.parse() == Ok(value);
        let choice = choices.split(' ').filter_map(|choice| choice.split_once('='));
        let name = choice.into_iter().find(|(values, _)| values.split(',').any(is_it)).map(|(_, name)| name);
        let name = name.filter(|name| *name != "-").unwrap_or_default();
        let (layout, written) = match name.strip_prefix('>') {
            Some(name) => (layouts::named(name), true),
            None => (layouts::named(name), false),
        };
        // What is chosen may be a choice itself.
        let (layout, also) = self.choose(layout, place);
        (layout, written || also)
    }

    /// Prints what lies at a place.
    pub(super) fn show(&mut self, layout: &'static str, place: Place) {
        let (layout, _) = self.choose(layout, place);
        let first = layout.as_bytes().first();
        let rest = layout.get(1..).unwrap_or_default();
        let Some(b'=' | b'*' | b'#' | b'"') = first else { return self.format(layout, place) };
        let Some(value) = self.load(place, 8) else { return };
        match first {
            Some(b'=') => names::write(rest, value, &mut self.out),
            Some(b'"') => {
                let (is_hexadecimal, count) =
                    rest.strip_prefix('x').map_or((false, rest), |rest| (true, rest));
                let length = self.count(count);
                self.bytes(value, length, is_hexadecimal);
            }
            Some(b'#') => self.list(rest, value),
            _ => self.behind(value, |printer| printer.format(rest, Place::Memory(value))),
        }
    }

    /// Prints what is behind an address, or that, if there is nothing.
    pub(super) fn behind(&mut self, address: u64, print: impl FnOnce(&mut Self)) {
        let (begin, missing) = (self.out.len(), self.missing.take());
        let outer = core::mem::replace(&mut self.outer, address);
        if address != 0 {
            print(self);
        }
        self.outer = outer;
        if address == 0 || self.missing.is_some() {
            self.out.truncate(begin);
            self.pointer(address);
        }
        self.missing = missing.or(self.missing);
    }

    /// How many there are of something.
    fn count(&mut self, text: &str) -> u64 {
        match text.split_at_checked(1) {
            Some(("r", _)) => self.call.result.map_or(0, |result| result.max(0) as u64),
            Some(("n", _)) => self.register(self.index + 1),
            Some(("a", index)) => self.register(index.parse().unwrap_or(0)),
            Some(("o", offset)) => {
                let at = self.outer.wrapping_add(offset.parse().unwrap_or(0));
                self.load(Place::Memory(at), 8).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn list(&mut self, layout: &'static str, address: u64) {
        let mut parts = layout.splitn(3, ' ');
        let stride = parts.next().and_then(|text| text.parse().ok()).unwrap_or(1);
        let (count, filter) = parts.next().map_or(("", None), |count| match count.split_once('?') {
            Some((count, offset)) => (count, offset.parse().ok()),
            None => (count, None),
        });
        // The word that says how many there are lies in what points here.
        let count = self.count(count);
        let element = parts.next().unwrap_or_default();
        self.behind(address, |printer| printer.elements(address, count, stride, filter, element));
    }

    fn elements(
        &mut self,
        address: u64,
        count: u64,
        stride: u64,
        filter: Option<u64>,
        element: &'static str,
    ) {
        self.out.push('[');
        let mut printed = 0;
        for index in 0..count.min(1 << 10) {
            let at = address.wrapping_add(index * stride);
            if let Some(offset) = filter
                && self.load(Place::Memory(at.wrapping_add(offset)), 2) == Some(0)
            {
                continue;
            }
            if printed > 0 {
                self.out.push_str(", ");
            }
            if printed == SHOWN || self.out.len() > LINE {
                self.out.push_str("...");
                break;
            }
            self.format(element, Place::Memory(at));
            printed += 1;
        }
        self.out.push(']');
    }

    /// Prints text with values in it.
    pub(super) fn format(&mut self, text: &'static str, place: Place) {
        let mut text = text;
        while let Some(at) = text.find(['%', '<', '>']) {
            self.out.push_str(&text[..at]);
            let sign = text.as_bytes()[at];
            text = &text[at + 1..];
            match sign {
                b'%' => self.value(&mut text, place),
                b'<' => {
                    let source = self.source(&mut text, place);
                    let mask = if skip(&mut text, "&") { number(&mut text) } else { u64::MAX };
                    let wanted = skip(&mut text, "=") || !skip(&mut text, "!");
                    let value = number(&mut text);
                    let found = self.load(source, 4).unwrap_or(0) & mask;
                    skip(&mut text, ":");
                    if (found == value) != wanted {
                        text = text.split_once('>').map_or("", |(_, rest)| rest);
                    }
                }
                // The end of what is printed under a condition.
                _ => {}
            }
        }
        self.out.push_str(text);
    }

    /// Where the value lies that `text` begins with.
    fn source(&self, text: &mut &'static str, place: Place) -> Place {
        if skip(text, ".") {
            return place;
        }
        if skip(text, "$") {
            return Place::Value(self.register(number(text) as usize));
        }
        let offset = number(text);
        match place {
            Place::Memory(address) => Place::Memory(address.wrapping_add(offset)),
            Place::Value(_) => place,
        }
    }

    /// Prints the value that `text` begins with.
    fn value(&mut self, text: &mut &'static str, place: Place) {
        let place = self.source(text, place);
        let letter = text.bytes().next().filter(u8::is_ascii_alphabetic).unwrap_or(b'(');
        if letter != b'(' {
            *text = &text[1..];
        }
        let layout = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(name, rest)| {
            *text = rest;
            layouts::named(name)
        });
        if self.out.len() > LINE {
            return;
        }
        match (letter, layout) {
            (b'(', Some(layout)) => match (layout.strip_prefix('*'), place) {
                // Where a structure lies in another, no address is between them.
                (Some(inner), Place::Memory(_)) => self.format(inner, place),
                _ => self.show(layout, place),
            },
            (_, Some(layout)) => {
                let Some(value) = self.load(place, width(letter)) else { return };
                if letter == b'p' && value > 1 {
                    return self.pointer(value);
                }
                self.show(layout, Place::Value(value));
            }
            (_, None) => self.letter(letter, place),
        }
    }

    fn letter(&mut self, letter: u8, place: Place) {
        if let (b'T' | b'c' | b'F' | b'K', Place::Memory(address)) = (letter, place) {
            return if letter == b'T' { self.signals(address) } else { self.characters(address) };
        }
        let Some(value) = self.load(place, width(letter)) else { return };
        let out = &mut self.out;
        match letter {
            b'D' => put!(out, "{}", value.cast_signed()),
            b'u' | b'U' | b'h' => put!(out, "{value}"),
            b'x' | b'X' if value == 0 => out.push('0'),
            b'x' | b'X' => put!(out, "{value:#x}"),
            b'o' => put!(out, "0{value:02o}"),
            b'm' => self.mode(value as u32),
            b'p' => self.pointer(value),
            b'f' if Fd::from_register(value) == Fd::WORKING_DIR => out.push_str("AT_FDCWD"),
            b'd' | b'f' => put!(out, "{}", value as i32),
            b's' => self.string(value),
            b'S' => match Signal::new(value as u32) {
                Some(signal) => put!(out, "{signal}"),
                None => put!(out, "{}", value as i32),
            },
            b'k' => self.clone_flags(value),
            b'q' => {
                let Place::Memory(at) = place else { return };
                let length = self.load(Place::Memory(at.wrapping_add(8)), 8).unwrap_or(0);
                let filled = length.min(self.left);
                self.left -= filled;
                self.bytes(value, filled, false);
            }
            _ => self.structure(letter, value, place),
        }
    }

    pub(super) fn pointer(&mut self, address: u64) {
        match address {
            0 => self.out.push_str("NULL"),
            address => put!(&mut self.out, "{address:#x}"),
        }
    }

    /// The number of `width` bytes at a place.
    pub(super) fn load(&mut self, place: Place, width: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        match place {
            Place::Value(value) => bytes = value.to_le_bytes(),
            Place::Memory(address) => {
                let wanted = bytes.get_mut(..width)?;
                if self.read(address, wanted) < width {
                    return None;
                }
            }
        }
        bytes.get_mut(width..)?.fill(0);
        Some(u64::from_le_bytes(bytes))
    }

    /// Reads what is present of memory; returns how many bytes.
    pub(super) fn read(&mut self, address: u64, into: &mut [u8]) -> usize {
        if !self.own.is_empty() {
            let own = self.own.get(address as usize..).unwrap_or_default();
            let length = into.len().min(own.len());
            into[..length].copy_from_slice(&own[..length]);
            return length;
        }
        match uaccess::copy_from_user(into, address as usize) {
            Ok(()) => into.len(),
            Err(at) => {
                self.missing = self.missing.or(Some((address as usize).wrapping_add(at.done)));
                at.done
            }
        }
    }

    /// Prints `length` bytes behind an address as a string of C, or the address, if they are not there.
    pub(super) fn bytes(&mut self, address: u64, length: u64, is_hexadecimal: bool) {
        let mut bytes = [0; SHOWN];
        let wanted = length.min(SHOWN as u64) as usize;
        if address == 0 || self.read(address, &mut bytes[..wanted]) < wanted {
            return self.pointer(address);
        }
        if is_hexadecimal {
            self.out.push('"');
            for byte in &bytes[..wanted] {
                put!(&mut self.out, "\\x{byte:02x}");
            }
            self.out.push('"');
        } else {
            self.quote(&bytes[..wanted]);
        }
        if length > wanted as u64 {
            self.out.push_str("...");
        }
    }

    /// Prints bytes as a string of C.
    pub(super) fn quote(&mut self, bytes: &[u8]) {
        let out = &mut self.out;
        out.push('"');
        for (index, &byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => out.push_str("\\\""),
                b'\\' => out.push_str("\\\\"),
                b'\n' => out.push_str("\\n"),
                b'\t' => out.push_str("\\t"),
                b'\r' => out.push_str("\\r"),
                0xb => out.push_str("\\v"),
                0xc => out.push_str("\\f"),
                0x20..0x7f => out.push(byte as char),
                // A digit that follows must not be taken for one of these.
                _ if bytes.get(index + 1).is_some_and(u8::is_ascii_digit) => put!(out, "\\{byte:03o}"),
                _ => put!(out, "\\{byte:o}"),
            }
        }
        out.push('"');
    }
}

/// How many bytes a value of this letter has.
fn width(letter: u8) -> usize {
    match letter {
        b'h' => 2,
        b'd' | b'u' | b'x' | b'f' | b'S' | b'o' | b'm' | b'W' => 4,
        _ => 8,
    }
}

/// Takes `sign` from the beginning of `text`, if it is there.
fn skip(text: &mut &'static str, sign: &str) -> bool {
    let rest = text.strip_prefix(sign);
    *text = rest.unwrap_or(text);
    rest.is_some()
}

/// Takes the number from the beginning of `text`; 0 if there is none.
fn number(text: &mut &'static str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    number.parse().unwrap_or(0)
}
