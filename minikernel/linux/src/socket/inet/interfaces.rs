//! What programs ask about interfaces by ioctl(2): netdevice(7).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::file::UserMemory;
use isopod_fs::{self as fs, Errno};
use isopod_net::address::{ANY_V4, Address as IpAddress, SocketAddress, V4_PREFIX, is_v4};
use isopod_net::interface::Interface;
use isopod_net::route::Route;

use super::address::shown;
use super::{AF_INET, stack, state};
use crate::socket::packet::AF_PACKET;

const GET_NAME: u32 = 0x8910;
const GET_ALL: u32 = 0x8912;
const GET_FLAGS: u32 = 0x8913;
const GET_ADDRESS: u32 = 0x8915;
const GET_DESTINATION: u32 = 0x8917;
const GET_BROADCAST: u32 = 0x8919;
const GET_MASK: u32 = 0x891b;
const GET_METRIC: u32 = 0x891d;
const GET_MTU: u32 = 0x8921;
const GET_HARDWARE: u32 = 0x8927;
const GET_INDEX: u32 = 0x8933;
const GET_QUEUE: u32 = 0x8942;
const GET_MAP: u32 = 0x8970;
/// What nobody answers any more (`SIOCGIFPFLAGS`).
const GET_PRIVATE_FLAGS: u32 = 0x8935;
/// `SIOCETHTOOL`
const TOOL: u32 = 0x8946;
/// Those that change something.
const SET: [u32; 9] = [0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x891e, 0x8922, 0x8924, 0x8943];

/// `struct ifreq`: a name, and what is asked for.
const REQUEST: usize = 40;
/// Bytes of a name.
const NAME: usize = 16;

/// All interfaces. ENOMEM
pub fn interfaces() -> Result<Vec<Arc<Interface>>, Errno> {
    stack().interfaces().map_err(super::errno)
}

/// All routes. ENOMEM
pub fn routes() -> Result<Vec<Route>, Errno> {
    stack().routes.all().map_err(super::errno)
}

/// The number of the interface of a name. ENODEV
pub fn index_of(name: &[u8]) -> Result<u32, Errno> {
    let found = interfaces()?.into_iter().find(|interface| interface.name.as_bytes() == name);
    found.map(|interface| interface.index).ok_or(Errno::ENODEV)
}

fn mask(prefix: u8) -> IpAddress {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix - V4_PREFIX)).unwrap_or(0);
    core::net::Ipv4Addr::from(bits).to_ipv6_mapped()
}

/// The bytes of an address of IPv4, as `struct sockaddr`.
fn plain(address: IpAddress) -> Vec<u8> {
    shown(AF_INET, &SocketAddress { address, port: 0 }, 0).to_vec()
}

/// Answers a request about interfaces on a socket of `family`. ENOTTY if it is none.
pub fn ioctl(family: u16, request: u32, argument: usize, memory: &mut dyn UserMemory) -> fs::Result<usize> {
    if request == GET_ALL {
        return all(argument, memory);
    }
    if SET.contains(&request) {
        return Err(Errno::EPERM.into());
    }
    let known = [GET_NAME, GET_FLAGS, GET_METRIC, GET_MTU, GET_HARDWARE, GET_INDEX, GET_QUEUE, GET_MAP, TOOL];
    let of_v4 = [GET_ADDRESS, GET_DESTINATION, GET_BROADCAST, GET_MASK, GET_PRIVATE_FLAGS];
    let knows_v4 = matches!(family, AF_INET | AF_PACKET);
    if !(known.contains(&request) || knows_v4 && of_v4.contains(&request)) {
        return Err(Errno::ENOTTY.into());
    }
    let mut asked = [0; REQUEST];
    memory.read(argument, &mut asked)?;
    if request == GET_PRIVATE_FLAGS {
        return Err(Errno::EINVAL.into());
    }
    let interfaces = interfaces()?;
    let name = asked[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    // An alias of an address is its interface's.
    let name = name.split(|byte| *byte == b':').next().unwrap_or_default();
    let index = asked[NAME..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    let found = interfaces
        .iter()
        .find(|known| if request == GET_NAME { known.index == index } else { known.name.as_bytes() == name });
    let found = found.ok_or(Errno::ENODEV)?;
    let addresses = found.addresses().map_err(super::errno)?;
    let first = addresses.iter().find(|known| is_v4(&known.address));
    let value = match request {
        TOOL => return ethtool(&asked, memory),
        GET_NAME => {
            asked[..found.name.len()].copy_from_slice(found.name.as_bytes());
            asked[found.name.len()] = 0;
            Vec::new()
        }
        GET_FLAGS => (state::flags(found) as u16).to_ne_bytes().to_vec(),
        GET_METRIC => alloc::vec![0; 4],
        // `struct ifmap`: it is at no address.
        GET_MAP => alloc::vec![0; 24],
        GET_MTU => found.mtu.load(Ordering::Relaxed).to_ne_bytes().to_vec(),
        GET_INDEX => found.index.to_ne_bytes().to_vec(),
        GET_QUEUE => state::QUEUE_LENGTH.to_ne_bytes().to_vec(),
        GET_HARDWARE => {
            let mut address = state::kind(found).to_ne_bytes().to_vec();
            address.extend(found.hardware_address().unwrap_or_default());
            address.resize(16, 0);
            address
        }
        GET_MASK => plain(mask(first.ok_or(Errno::EADDRNOTAVAIL)?.prefix)),
        GET_BROADCAST => plain(first.ok_or(Errno::EADDRNOTAVAIL)?.broadcast().unwrap_or(ANY_V4)),
        _ => plain(first.ok_or(Errno::EADDRNOTAVAIL)?.address),
    };
    asked[NAME..NAME + value.len()].copy_from_slice(&value);
    memory.write(argument, &asked)?;
    Ok(0)
}

/// What ethtool(8) asks of a card: whether packets that programs see may be longer than those of the link, since somebody cuts or joins them. EOPNOTSUPP for
/// anything else.
fn ethtool(asked: &[u8; REQUEST], memory: &mut dyn UserMemory) -> fs::Result<usize> {
    /// `ETHTOOL_GTSO`, `ETHTOOL_GGSO`, `ETHTOOL_GGRO`
    const LONGER: [u32; 3] = [0x1e, 0x23, 0x2b];
    let place = asked[NAME..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)) as usize;
    let mut command = [0; 4];
    memory.read(place, &mut command)?;
    if !LONGER.contains(&u32::from_ne_bytes(command)) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    memory.write(place.wrapping_add(4), &1u32.to_ne_bytes())?;
    Ok(0)
}

/// `SIOCGIFCONF`: the interfaces that have an address of IPv4, as many as there is room for, or without a place for them how long the list is.
fn all(argument: usize, memory: &mut dyn UserMemory) -> fs::Result<usize> {
    let mut asked = [0; 16];
    memory.read(argument, &mut asked)?;
    let (length, place) = asked.split_at(8);
    let room = length.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    let place = place.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)) as usize;
    let mut list = Vec::new();
    for interface in interfaces()? {
        let addresses = interface.addresses().map_err(super::errno)?;
        for known in addresses.iter().filter(|known| is_v4(&known.address)) {
            let mut entry = interface.name.as_bytes().to_vec();
            entry.resize(NAME, 0);
            entry.extend(plain(known.address));
            entry.resize(REQUEST, 0);
            if place == 0 || list.len() + REQUEST <= usize::try_from(room).unwrap_or(0) {
                list.extend(entry);
            }
        }
    }
    if place != 0 {
        memory.write(place, &list)?;
    }
    memory.write(argument, &(list.len() as u32).to_ne_bytes())?;
    Ok(0)
}
