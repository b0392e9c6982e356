//! Reads a manifest's body: CBOR (RFC 8949) as this crate writes it, without what has no length ahead. Derived decoders understand all of
//! CBOR, and are five times as much code in the kernel.

use alloc::collections::TryReserveError;
use alloc::string::String;
use alloc::vec::Vec;
use core::array::TryFromSliceError;
use core::num::TryFromIntError;
use core::str::Utf8Error;

use crate::network::records;
use crate::{Channel, DecodeError, Manifest, PartitionId, Port, Protocol, Resources, Root, User};

// Kinds of items (section 3.1).
const NUMBER: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Reads a body. What follows the manifest in it is ignored.
pub fn decode(body: &[u8]) -> Result<Manifest, DecodeError> {
    let mut reader = Reader { rest: body };
    reader.manifest().map_err(|error| match error {
        Error::Malformed => DecodeError::Malformed(body.len() - reader.rest.len()),
        Error::NoMemory => DecodeError::NoMemory,
    })
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// What comes is not what must come.
    Malformed,
    /// There is no memory for it. Lists take several times the bytes that they have here.
    NoMemory,
}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Self::NoMemory
    }
}

macro_rules! malformed {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(_: $error) -> Self {
                Self::Malformed
            }
        }
    )*};
}

malformed!(TryFromIntError, TryFromSliceError, Utf8Error);

/// Appends to a list.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Error> {
    list.try_reserve(1)?;
    list.push(item);
    Ok(())
}

/// A copy of these bytes.
fn copy(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// A copy of this text.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(copy(bytes)?).map_err(|error| error.utf8_error().into())
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn manifest(&mut self) -> Result<Manifest, Error> {
        let mut manifest = Manifest::default();
        self.fields(6, &mut |reader, index| {
            match index {
                0 => manifest.args = reader.byte_strings()?,
                1 => manifest.env = reader.byte_strings()?,
                2 => manifest.working_dir = copy(reader.bytes()?)?,
                3 => manifest.user = reader.user()?,
                4 => manifest.stop_signal = reader.number()?.try_into()?,
                5 => manifest.hostname = reader.text()?,
                6 => manifest.root = reader.root()?,
                7 => manifest.channel = reader.variant(&[Channel::Console, Channel::Framed])?,
                8 => manifest.volumes = reader.byte_strings()?,
                9 => manifest.ports = reader.ports()?,
                10 => manifest.trace = reader.flag()?,
                11 => manifest.terminal = reader.flag()?,
                12 => manifest.stdin = reader.flag()?,
                13 => manifest.resources = reader.resources()?,
                14 => manifest.init = reader.flag()?,
                15 => manifest.debug = reader.flag()?,
                16 => manifest.network = records::decode(&reader.byte_strings()?)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(manifest)
    }

    fn user(&mut self) -> Result<User, Error> {
        let mut user = User::default();
        self.fields(1, &mut |reader, index| {
            match index {
                0 => user.uid = reader.number()?.try_into()?,
                1 => user.gid = reader.number()?.try_into()?,
                2 => {
                    for _ in 0..reader.head_of(ARRAY)? {
                        push(&mut user.groups, reader.number()?.try_into()?)?;
                    }
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(user)
    }

    fn root(&mut self) -> Result<Root, Error> {
        let mut root = Root::default();
        if self.head_of(ARRAY)? != 2 {
            return Err(Error::Malformed);
        }
        let variant = self.number()?;
        let required = u64::from(variant == 2);
        self.fields(required, &mut |reader, index| {
            match (variant, index) {
                (2, 0) => root = Root::Partition(PartitionId(reader.bytes()?.try_into()?)),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        match variant {
            0 => Ok(Root::Memory),
            1 => Ok(Root::Disk),
            2 => Ok(root),
            _ => Err(Error::Malformed),
        }
    }

    fn ports(&mut self) -> Result<Vec<Port>, Error> {
        let mut ports = Vec::new();
        for _ in 0..self.head_of(ARRAY)? {
            let mut port = Port { number: 0, protocol: Protocol::Tcp };
            self.fields(2, &mut |reader, index| {
                match index {
                    0 => port.number = reader.number()?.try_into()?,
                    1 => port.protocol = reader.variant(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp])?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            push(&mut ports, port)?;
        }
        Ok(ports)
    }

    fn resources(&mut self) -> Result<Resources, Error> {
        let mut resources = Resources::default();
        self.fields(1, &mut |reader, index| {
            match index {
                0 => resources.open_files = reader.number()?.try_into()?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(resources)
    }

    /// Reads a structure, an array with an item for each field, of which so many must be there; `read` takes one by its index.
    fn fields(
        &mut self,
        required: u64,
        read: &mut dyn FnMut(&mut Self, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let count = self.head_of(ARRAY)?;
        if count < required {
            return Err(Error::Malformed);
        }
        (0..count).try_for_each(|index| read(self, index))
    }

    /// Reads an enumeration, an array of the variant's index and its fields. Those here have none.
    fn variant<T: Copy>(&mut self, variants: &[T]) -> Result<T, Error> {
        let index = self.variant_index()?;
        variants.get(index).copied().ok_or(Error::Malformed)
    }

    fn variant_index(&mut self) -> Result<usize, Error> {
        if self.head_of(ARRAY)? != 2 {
            return Err(Error::Malformed);
        }
        let index = self.number()?;
        self.skip()?;
        Ok(index.try_into()?)
    }

    fn byte_strings(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut list = Vec::new();
        for _ in 0..self.head_of(ARRAY)? {
            push(&mut list, copy(self.bytes()?)?)?;
        }
        Ok(list)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.head_of(BYTES)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, Error> {
        let length = self.head_of(TEXT)?;
        text(self.take(length)?)
    }

    fn number(&mut self) -> Result<u64, Error> {
        self.head_of(NUMBER)
    }

    fn flag(&mut self) -> Result<bool, Error> {
        match self.take(1)? {
            [0xf4] => Ok(false),
            [0xf5] => Ok(true),
            _ => Err(Error::Malformed),
        }
    }

    /// Leaves out an item with all that is in it.
    fn skip(&mut self) -> Result<(), Error> {
        let mut left = 1u64;
        while left > 0 {
            left -= 1;
            let (kind, value) = self.head()?;
            let inside = match kind {
                BYTES | TEXT => {
                    self.take(value)?;
                    0
                }
                ARRAY => value,
                MAP => value.saturating_mul(2),
                TAG => 1,
                _ => 0,
            };
            left = left.saturating_add(inside);
        }
        Ok(())
    }

    /// The value in the head of an item that must be of this kind.
    fn head_of(&mut self, kind: u8) -> Result<u64, Error> {
        let (found, value) = self.head()?;
        if found == kind { Ok(value) } else { Err(Error::Malformed) }
    }

    /// An item's head: its kind, and its value, its length or the number of its items.
    fn head(&mut self) -> Result<(u8, u64), Error> {
        let &first = self.take(1)?.first().ok_or(Error::Malformed)?;
        let value = match first & 0x1f {
            small @ 0..24 => small.into(),
            size @ 24..28 => {
                let bytes = self.take(1 << (size - 24))?;
                bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
            }
            _ => return Err(Error::Malformed),
        };
        Ok((first >> 5, value))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        self.rest.split_off(..usize::try_from(count)?).ok_or(Error::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InterfaceConfig, Method, Network};
    use alloc::vec;

    /// A manifest in which no field has its default.
    fn full() -> Manifest {
        let card = InterfaceConfig { ipv4: Method::None, ..InterfaceConfig::default() };
        Manifest {
            args: vec![b"/bin/\xff".to_vec(), Vec::new(), vec![b'x'; 70_000]],
            env: vec![b"A=1".to_vec(); 300],
            working_dir: b"/work".to_vec(),
            user: User { uid: u32::MAX, gid: 256, groups: vec![1, 70_000] },
            stop_signal: 64,
            hostname: String::from("höst"),
            root: Root::Memory,
            channel: Channel::Framed,
            volumes: vec![b"/data".to_vec()],
            ports: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .map(|protocol| Port { number: u16::MAX, protocol })
                .to_vec(),
            trace: true,
            terminal: true,
            stdin: true,
            resources: Resources { open_files: 24 },
            init: true,
            debug: true,
            network: Network { interfaces: vec![card], ..Network::default() },
        }
    }

    #[test]
    fn every_field_is_read_as_it_was_written() {
        let body = minicbor::to_vec(full()).unwrap();
        assert_eq!(decode(&body), Ok(full()));
        let disk = Manifest { root: Root::Disk, ..full() };
        assert_eq!(decode(&minicbor::to_vec(&disk).unwrap()), Ok(disk));
        let partition = Manifest { root: Root::Partition(PartitionId(*b"partition-number")), ..full() };
        assert_eq!(decode(&minicbor::to_vec(&partition).unwrap()), Ok(partition));
        let default = Manifest::default();
        assert_eq!(decode(&minicbor::to_vec(&default).unwrap()), Ok(default));
    }

    #[test]
    fn an_identifier_has_sixteen_bytes_and_is_written_as_usual() {
        let id = PartitionId([
            0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
        ]);
        assert_eq!(alloc::format!("{id}"), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        let mut body = minicbor::to_vec(Manifest { root: Root::Partition(id), ..full() }).unwrap();
        let at = body.windows(2).position(|bytes| bytes == [0x50, 0x28]).unwrap();
        body[at] = 0x4f;
        assert!(matches!(decode(&body), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn what_is_cut_short_is_malformed_there() {
        let body = minicbor::to_vec(full()).unwrap();
        for length in (0..400).chain(body.len() - 400..body.len()) {
            let Err(DecodeError::Malformed(offset)) = decode(&body[..length]) else {
                panic!("{length} of {} bytes", body.len())
            };
            assert!(offset <= length);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_malformed() {
        let stop_signal = Manifest { stop_signal: 17, ..Manifest::default() };
        let body = minicbor::to_vec(stop_signal).unwrap();
        let at = body.iter().position(|&byte| byte == 17).unwrap();
        let wide = |bytes: &[u8]| [&body[..at], bytes, &body[at + 1..]].concat();
        assert_eq!(decode(&wide(&[0x19, 0, 17])).map(|manifest| manifest.stop_signal), Ok(17));
        assert!(decode(&wide(&[0x19, 1, 17])).is_err());
        assert!(decode(&wide(&[0x30])).is_err());
    }

    /// Items of RFC 8949, appendix A.
    #[test]
    fn items_of_all_kinds_are_skipped() {
        let items: [&[u8]; 12] = [
            &[0x17],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x39, 0x03, 0xe7],
            &[0xfa, 0x47, 0xc3, 0x50, 0x00],
            &[0xf6],
            &[0xf8, 0xff],
            &[0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0],
            &[0x44, 1, 2, 3, 4],
            &[0x64, 0x49, 0x45, 0x54, 0x46],
            &[0x83, 0x01, 0x82, 0x02, 0x03, 0x82, 0x04, 0x05],
            &[0xa2, 0x61, 0x61, 0x01, 0x61, 0x62, 0x82, 0x02, 0x03],
            &[0x80],
        ];
        for item in items {
            let bytes = [item, &[7]].concat();
            let mut reader = Reader { rest: &bytes };
            assert_eq!((reader.skip(), reader.rest), (Ok(()), &[7][..]), "{item:x?}");
            let mut reader = Reader { rest: &item[..item.len() - 1] };
            assert_eq!(reader.skip(), Err(Error::Malformed), "{item:x?}");
        }
    }
}
