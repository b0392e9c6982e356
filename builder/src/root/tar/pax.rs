//! Extended headers, [POSIX pax](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03).

use std::collections::BTreeMap;

use ::tar::Header;

use super::TarProblem;
use super::header;
use crate::root::tree::{Meta, Timestamp, Xattrs};

/// Extended attributes by star, GNU tar and every container engine: the value as it is.
const SCHILY_XATTR: &[u8] = b"SCHILY.xattr.";
/// Extended attributes by libarchive: the name as in a URL, the value in base 64.
const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

/// Keys that version 0.0 of sparse files repeats; their order counts.
const REPEATED: [&[u8]; 2] = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"];

/// The records of an extended header.
#[derive(Debug, Default)]
pub(super) struct Pax {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys and values of [`REPEATED`] records, in their order.
    repeated: Vec<(&'static [u8], Vec<u8>)>,
}

impl Pax {
    /// Reads lines of the form `length key=value`, where the length counts the whole line. Of equal keys the last counts.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, TarProblem> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).ok_or(TarProblem::Pax)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(TarProblem::Pax)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err(TarProblem::Pax);
            }
            if let Some(key) = REPEATED.into_iter().find(|repeated| *repeated == key) {
                pax.repeated.push((key, value.to_vec()));
            } else {
                pax.records.insert(key.to_vec(), value.to_vec());
            }
            bytes = rest;
        }
        Ok(pax)
    }

    /// The value of `key`. An empty one means that the plain header's counts.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.records.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// Keys and values of the records that version 0.0 of sparse files repeats, in their order.
    pub(super) fn repeated(&self) -> &[(&'static [u8], Vec<u8>)] {
        &self.repeated
    }

    /// A value in decimal digits; `what` names it in the error.
    pub(super) fn number(&self, key: &[u8], what: &'static str) -> Result<Option<u64>, TarProblem> {
        self.get(key).map(|value| decimal(value).ok_or(TarProblem::Number(what))).transpose()
    }

    /// The records with keys that begin with `prefix`, by the rest of the key.
    fn below<'a>(&'a self, prefix: &'static [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let from = self.records.range(prefix.to_vec()..);
        from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, &**value)))
    }

    fn xattrs(&self) -> Result<Xattrs, TarProblem> {
        let mut xattrs = Xattrs::new();
        for (name, value) in self.below(LIBARCHIVE_XATTR) {
            let value = base64(value).ok_or(TarProblem::Pax)?;
            xattrs.insert(from_url(name).ok_or(TarProblem::Pax)?.into(), value.into());
        }
        // libarchive writes both forms; this one cannot be misread.
        for (name, value) in self.below(SCHILY_XATTR) {
            xattrs.insert(name.into(), value.into());
        }
        Ok(xattrs)
    }
}

/// Owner, permissions, times and attributes of an entry.
pub(super) fn meta(header: &Header, pax: &Pax) -> Result<Meta, TarProblem> {
    let fields = header.as_old();
    let id = |key, field: &[u8], what| {
        let id = pax.number(key, what)?.map_or_else(|| header::unsigned(field, what), Ok)?;
        u32::try_from(id).map_err(|_| TarProblem::Number(what))
    };
    let seconds = |field| header::number(field).map(|seconds| Timestamp { seconds, nanos: 0 });
    let mtime = pax.get(b"mtime").map_or_else(|| seconds(&fields.mtime), timestamp);
    Ok(Meta {
        mode: (header::number(&fields.mode).ok_or(TarProblem::Number("mode"))? & 0o7777) as u16,
        uid: id(b"uid", &fields.uid, "owner")?,
        gid: id(b"gid", &fields.gid, "group")?,
        mtime: mtime.ok_or(TarProblem::Number("modification time"))?,
        xattrs: pax.xattrs()?,
    })
}

/// The first record without its length and newline, and the bytes behind it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

/// Decimal digits, nothing else, up to what a file can have in bytes.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_i64, |sum, &digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    });
    number.map(i64::cast_unsigned)
}

/// Decimal seconds, perhaps negative, perhaps with a fraction of which nine digits count.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let dot = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = dot.map_or((text, &b""[..]), |dot| (&text[..dot], &text[dot + 1..]));
    let seconds = decimal(whole)?.cast_signed();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |sum, &digit| sum * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp { seconds: -seconds, nanos },
        (true, _) => Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// `%41` stands for `A`.
fn from_url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(bytes)
}

/// RFC 4648 base 64, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    for &byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_newlines_and_any_bytes() {
        let pax = Pax::parse(b"28 SCHILY.xattr.user.a=\n=\xff\n\n12 path=a b\n").unwrap();
        assert_eq!(pax.get(b"SCHILY.xattr.user.a"), Some(&b"\n=\xff\n"[..]));
        assert_eq!(pax.get(b"path"), Some(&b"a b"[..]));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"6 a=b"[..],
            b"5 a=b\n",
            b"99 a=b\n",
            b"6 ab_\n",
            b"5 =b\n",
            b"x a=b\n",
            b" a=b\n",
            b"6\n",
            b"0 ",
            b"-6 a=b\n",
        ] {
            assert!(matches!(Pax::parse(bad), Err(TarProblem::Pax)), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn an_empty_value_gives_way_to_the_plain_header_and_later_records_win() {
        let pax = Pax::parse(b"9 path=a\n9 path=b\n").unwrap();
        assert_eq!(pax.get(b"path"), Some(&b"b"[..]));
        assert_eq!(Pax::parse(b"8 path=\n").unwrap().get(b"path"), None);
    }

    #[test]
    fn times_have_nanoseconds_and_may_be_negative() {
        let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
        assert_eq!(timestamp(b"12"), time(12, 0));
        assert_eq!(timestamp(b"12.5"), time(12, 500_000_000));
        assert_eq!(timestamp(b"12.1234567899"), time(12, 123_456_789));
        assert_eq!(timestamp(b"-1.25"), time(-2, 750_000_000));
        assert_eq!(timestamp(b"-3"), time(-3, 0));
        for bad in [&b""[..], b"-", b"1.x", b"x", b"99999999999999999999", b"+1"] {
            assert_eq!(timestamp(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn both_forms_of_extended_attributes_are_read() {
        let pax = Pax::parse(b"40 LIBARCHIVE.xattr.user.a%3Db=AAECAw==\n").unwrap();
        let xattrs = pax.xattrs().unwrap();
        assert_eq!(xattrs.get(&b"user.a=b"[..]).map(|value| &**value), Some(&[0, 1, 2, 3][..]));
        assert_eq!(base64(b"TWFu"), Some(b"Man".to_vec()));
        assert_eq!(base64(b"TWE"), Some(b"Ma".to_vec()));
        assert_eq!(base64(b"T!"), None);
        assert_eq!(from_url(b"%4"), None);
    }
}
