//! A [`Network`] as a list of byte strings, which takes less code in the kernel than CBOR of its types.
//!
//! | First byte | The record's value |
//! |---|---|
//! | 0 | a card: MTU or 0, two bytes, little endian; its IPv4 and its IPv6 method |
//! | 1 | a name server's address |
//! | 2 | a domain to search |
//! | 3 | a host's address, and its name |
//!
//! A method is a byte: 0 none, 1 automatic, 2 static, followed by the address and a byte for its prefix, 3 static with a router, whose address
//! comes last. An address is its length, 4 or 16, and its bytes; a name goes to the record's end. What follows a card's value is skipped, and
//! so are records of another kind: who wrote them knew more.

use alloc::vec::Vec;
use core::net::IpAddr;

use minicbor::encode::{Encoder, Error as EncodeError, Write};

use super::{InterfaceConfig, Method, Network};
use crate::body::{Error, push, text};
use crate::model::bytes_list;

const CARD: u8 = 0;
const NAME_SERVER: u8 = 1;
const SEARCH: u8 = 2;
const HOST: u8 = 3;

const NONE: u8 = 0;
const AUTOMATIC: u8 = 1;
const STATIC: u8 = 2;
const ROUTED: u8 = 3;

pub fn encode<C, W: Write>(
    network: &Network,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), EncodeError<W::Error>> {
    let cards = network.interfaces.iter().map(|card| {
        let mut record = Vec::from([CARD]);
        record.extend(card.mtu.unwrap_or(0).to_le_bytes());
        put_method(&mut record, card.ipv4);
        put_method(&mut record, card.ipv6);
        record
    });
    let servers = network.nameservers.iter().map(|server| {
        let mut record = Vec::from([NAME_SERVER]);
        put_address(&mut record, *server);
        record
    });
    let search = network.search.iter().map(|domain| [&[SEARCH], domain.as_bytes()].concat());
    let hosts = network.hosts.iter().map(|(address, name)| {
        let mut record = Vec::from([HOST]);
        put_address(&mut record, *address);
        record.extend(name.bytes());
        record
    });
    let records: Vec<_> = cards.chain(servers).chain(search).chain(hosts).collect();
    bytes_list::encode(&records, e, ctx)
}

fn put_method(record: &mut Vec<u8>, method: Method) {
    match method {
        Method::None => record.push(NONE),
        Method::Automatic => record.push(AUTOMATIC),
        Method::Static { address, prefix, gateway } => {
            record.push(if gateway.is_some() { ROUTED } else { STATIC });
            put_address(record, address);
            record.push(prefix);
            if let Some(gateway) = gateway {
                put_address(record, gateway);
            }
        }
    }
}

fn put_address(record: &mut Vec<u8>, address: IpAddr) {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    record.push(bytes.len() as u8);
    record.extend(bytes);
}

/// Reads records.
pub fn decode(records: &[Vec<u8>]) -> Result<Network, Error> {
    let mut network = Network::default();
    records.iter().try_for_each(|record| read(&mut network, record))?;
    Ok(network)
}

/// Adds what a record says.
fn read(network: &mut Network, record: &[u8]) -> Result<(), Error> {
    let (kind, mut value) = record.split_first().ok_or(Error::Malformed)?;
    let value = &mut value;
    match *kind {
        CARD => {
            let mtu = u16::from_le_bytes([byte(value)?, byte(value)?]);
            let card = InterfaceConfig {
                ipv4: method(value)?,
                ipv6: method(value)?,
                mtu: (mtu != 0).then_some(mtu),
            };
            push(&mut network.interfaces, card)?;
        }
        NAME_SERVER => push(&mut network.nameservers, ip(value)?)?,
        SEARCH => push(&mut network.search, text(value)?)?,
        HOST => push(&mut network.hosts, (ip(value)?, text(value)?))?,
        _ => {}
    }
    Ok(())
}

fn byte(value: &mut &[u8]) -> Result<u8, Error> {
    value.split_off_first().copied().ok_or(Error::Malformed)
}

fn method(value: &mut &[u8]) -> Result<Method, Error> {
    Ok(match byte(value)? {
        NONE => Method::None,
        AUTOMATIC => Method::Automatic,
        kind @ (STATIC | ROUTED) => {
            let (address, prefix) = (ip(value)?, byte(value)?);
            let gateway = if kind == ROUTED { Some(ip(value)?) } else { None };
            Method::Static { address, prefix, gateway }
        }
        _ => return Err(Error::Malformed),
    })
}

fn ip(value: &mut &[u8]) -> Result<IpAddr, Error> {
    let length = byte(value)?;
    let bytes = value.split_off(..length.into()).ok_or(Error::Malformed)?;
    match length {
        4 => Ok(<[u8; 4]>::try_from(bytes)?.into()),
        16 => Ok(<[u8; 16]>::try_from(bytes)?.into()),
        _ => Err(Error::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_newer_isopod_adds_is_skipped() {
        let mut network = Network::default();
        assert_eq!(read(&mut network, &[200, 1, 2, 3]), Ok(()));
        assert_eq!(network, Network::default());
        assert_eq!(read(&mut network, &[CARD, 0, 0, NONE, AUTOMATIC, 9, 9]), Ok(()));
        let card = InterfaceConfig { ipv4: Method::None, ..InterfaceConfig::default() };
        assert_eq!(network.interfaces, [card]);
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            &[][..],
            &[CARD, 0, 0, NONE],
            &[CARD, 0, 0, NONE, 3],
            &[CARD, 0, 0, STATIC, 0, 24, NONE],
            &[CARD, 0, 0, ROUTED, 4, 10, 0, 2, 15, 24],
            &[NAME_SERVER, 5, 1, 2, 3, 4, 5],
            &[NAME_SERVER, 4, 1, 2, 3],
            &[NAME_SERVER, 0],
            &[SEARCH, 0xff],
        ] {
            assert_eq!(read(&mut Network::default(), bad), Err(Error::Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(record: Vec<u8>) {
            let _ = read(&mut Network::default(), &record);
        }
    }
}
