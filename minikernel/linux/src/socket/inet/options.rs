//! Options at the levels of IP: ip(7), ipv6(7).

use core::sync::atomic::{AtomicI32, Ordering};

use isopod_fs::{Capabilities, Errno};

use super::limits;
use crate::process::current;
use crate::socket::options::{OptionValue, value_of};

/// `SOL_IP`
pub const SOL_IP: u32 = 0;
/// `SOL_IPV6`
pub const SOL_IPV6: u32 = 41;

/// `SOL_UDP`
pub const SOL_UDP: u32 = 17;

/// A level and a name.
pub type Name = (u32, u32);

/// `IP_TOS`
pub const TOS: Name = (SOL_IP, 1);
/// `IP_TTL`
pub const TTL: Name = (SOL_IP, 2);
/// `IP_PKTINFO`
pub const PACKET_INFO: Name = (SOL_IP, 8);
/// `IP_MTU_DISCOVER`
pub const MTU_DISCOVER: Name = (SOL_IP, 10);
/// `IP_RECVERR`
pub const RECEIVE_ERRORS: Name = (SOL_IP, 11);
/// `IP_RECVTTL`
pub const RECEIVE_TTL: Name = (SOL_IP, 12);
/// `IP_RECVTOS`
pub const RECEIVE_TOS: Name = (SOL_IP, 13);
/// `IP_MTU`
pub const MTU: Name = (SOL_IP, 14);
/// `IP_FREEBIND`
pub const FREE_BIND: Name = (SOL_IP, 15);
const TRANSPARENT: Name = (SOL_IP, 19);
/// `IP_RECVORIGDSTADDR`
pub const RECEIVE_DESTINATION: Name = (SOL_IP, 20);
/// `IP_MINTTL`
pub const LEAST_TTL: Name = (SOL_IP, 21);
/// `IP_RECVERR_RFC4884`
const RFC_4884: u32 = 26;
/// `IP_MULTICAST_IF`
pub const GROUP_INTERFACE: Name = (SOL_IP, 32);
/// `IP_MULTICAST_TTL`
pub const GROUP_TTL: Name = (SOL_IP, 33);
/// `IP_MULTICAST_LOOP`
pub const GROUP_LOOP: Name = (SOL_IP, 34);
/// `IP_ADD_MEMBERSHIP`
pub const JOIN: Name = (SOL_IP, 35);
/// `IP_DROP_MEMBERSHIP`
pub const LEAVE: Name = (SOL_IP, 36);
/// `IP_MULTICAST_ALL`
pub const ALL_GROUPS: Name = (SOL_IP, 49);

/// `UDP_CORK`
pub const CORK: Name = (SOL_UDP, 1);
/// `UDP_SEGMENT`
pub const SEGMENT: Name = (SOL_UDP, 103);
/// `MCAST_JOIN_GROUP`, at both levels
pub const JOIN_GROUP: u32 = 42;
/// `MCAST_LEAVE_GROUP`
pub const LEAVE_GROUP: u32 = 45;
/// `IPV6_DONTFRAG`
pub const DONT_FRAGMENT: Name = (SOL_IPV6, 62);

/// `IPV6_UNICAST_HOPS`
pub const HOPS: Name = (SOL_IPV6, 16);
/// `IPV6_MULTICAST_IF`
pub const GROUP_INTERFACE_V6: Name = (SOL_IPV6, 17);
/// `IPV6_MULTICAST_HOPS`
pub const GROUP_HOPS: Name = (SOL_IPV6, 18);
/// `IPV6_MULTICAST_LOOP`
pub const GROUP_LOOP_V6: Name = (SOL_IPV6, 19);
/// `IPV6_ADD_MEMBERSHIP`
pub const JOIN_V6: Name = (SOL_IPV6, 20);
/// `IPV6_DROP_MEMBERSHIP`
pub const LEAVE_V6: Name = (SOL_IPV6, 21);
/// `IPV6_MTU_DISCOVER`
pub const MTU_DISCOVER_V6: Name = (SOL_IPV6, 23);
/// `IPV6_MTU`
pub const MTU_V6: Name = (SOL_IPV6, 24);
/// `IPV6_RECVERR`
pub const RECEIVE_ERRORS_V6: Name = (SOL_IPV6, 25);
/// `IPV6_V6ONLY`
pub const ONLY_V6: Name = (SOL_IPV6, 26);
/// `IPV6_RECVPKTINFO`
pub const RECEIVE_PACKET_INFO: Name = (SOL_IPV6, 49);
/// `IPV6_RECVHOPLIMIT`
pub const RECEIVE_HOPS: Name = (SOL_IPV6, 51);
/// `IPV6_RECVTCLASS`
pub const RECEIVE_CLASS: Name = (SOL_IPV6, 66);
/// `IPV6_TCLASS`
pub const CLASS: Name = (SOL_IPV6, 67);

/// `IPV6_MINHOPCOUNT`
pub const LEAST_HOPS: Name = (SOL_IPV6, 73);
/// `IPV6_RECVORIGDSTADDR`
pub const RECEIVE_DESTINATION_V6: Name = (SOL_IPV6, 74);

/// What values an option can have.
#[derive(Clone, Copy)]
enum Values {
    /// On or off.
    Switch,
    /// The same, and not left out.
    Given,
    /// The same, and nothing else than 0 and 1.
    Strict,
    /// The same, for which a privilege is needed.
    Guarded,
    /// The same, off if what is given is too short.
    Short,
    /// From one number to another.
    Range(i32, i32),
    /// A byte, whatever is given.
    Byte,
}

/// An option that is a number.
struct Number {
    name: Name,
    values: Values,
    default: i32,
}

const fn switch(level: u32, name: u32) -> Number {
    Number { name: (level, name), values: Values::Switch, default: 0 }
}

const fn is(values: Values, name: Name, default: i32) -> Number {
    Number { name, values, default }
}

const fn number(name: Name, least: i32, most: i32, default: i32) -> Number {
    Number { name, values: Values::Range(least, most), default }
}

/// How many there are.
const COUNT: usize = 50;

/// -1 stands for what the administrator has set.
#[rustfmt::skip]
static NUMBERS: [Number; COUNT] = [
    is(Values::Byte, TOS, 0),
    number(TTL, 1, 255, -1),
    switch(SOL_IP, 6), switch(SOL_IP, 7), switch(SOL_IP, 8),
    number(MTU_DISCOVER, 0, 5, 1),
    switch(SOL_IP, 11), switch(SOL_IP, 12), switch(SOL_IP, 13), is(Values::Given, FREE_BIND, 0), switch(SOL_IP, 18),
    is(Values::Guarded, TRANSPARENT, 0),
    switch(SOL_IP, 20),
    number(LEAST_TTL, 0, 255, 0),
    switch(SOL_IP, 24), switch(SOL_IP, 25), is(Values::Strict, (SOL_IP, RFC_4884), 0),
    number(GROUP_INTERFACE, 0, i32::MAX, 0),
    number(GROUP_TTL, 0, 255, 1),
    is(Values::Given, GROUP_LOOP, 1),
    is(Values::Strict, ALL_GROUPS, 1),
    number(HOPS, 0, 255, -1),
    number(GROUP_INTERFACE_V6, 0, i32::MAX, 0),
    number(GROUP_HOPS, 0, 255, -1),
    is(Values::Strict, GROUP_LOOP_V6, 1),
    number(MTU_DISCOVER_V6, 0, 5, 1),
    number(MTU_V6, 1280, i32::MAX, 0),
    switch(SOL_IPV6, 25), switch(SOL_IPV6, 26),
    is(Values::Switch, (SOL_IPV6, 29), 1),
    switch(SOL_IPV6, 33), switch(SOL_IPV6, 49), switch(SOL_IPV6, 51), switch(SOL_IPV6, 53), switch(SOL_IPV6, 56), switch(SOL_IPV6, 58),
    switch(SOL_IPV6, 60), is(Values::Short, DONT_FRAGMENT, 0), switch(SOL_IPV6, 66),
    number(CLASS, 0, 255, -1),
    is(Values::Short, (SOL_IPV6, 70), 1),
    number(LEAST_HOPS, 0, 255, 0), switch(SOL_IPV6, 74),
    is(Values::Guarded, (SOL_IPV6, 75), 0),
    is(Values::Short, (SOL_IPV6, 77), 0), switch(SOL_IPV6, 78), switch(SOL_IPV6, 31),
    // Of what is received nothing is glued together, which `UDP_GRO` leaves to the kernel.
    number(SEGMENT, 0, 0xffff, 0), switch(SOL_UDP, 104), switch(SOL_UDP, 1),
];

/// What has been set.
#[derive(Debug)]
pub struct IpOptions([AtomicI32; COUNT]);

impl Default for IpOptions {
    fn default() -> Self {
        Self(core::array::from_fn(|index| AtomicI32::new(NUMBERS[index].default)))
    }
}

fn place(name: Name) -> Option<usize> {
    NUMBERS.iter().position(|known| known.name == name)
}

/// What a program gives for a number: an `int`, or a byte; 0 for nothing (`do_ip_setsockopt`).
pub fn number_or_byte(value: &[u8]) -> i32 {
    match value.first_chunk() {
        Some(bytes) => i32::from_ne_bytes(*bytes),
        None => value.first().copied().unwrap_or(0).into(),
    }
}

impl IpOptions {
    /// The same for another socket.
    pub fn duplicate(&self) -> Self {
        Self(core::array::from_fn(|index| AtomicI32::new(self.0[index].load(Ordering::Relaxed))))
    }

    /// A number as it was set; 0 of what is none.
    pub fn get(&self, name: Name) -> i32 {
        place(name).map_or(0, |place| self.0[place].load(Ordering::Relaxed))
    }

    /// Sets a number that has been looked at.
    pub fn store(&self, name: Name, value: i32) {
        if let Some(place) = place(name) {
            self.0[place].store(value, Ordering::Relaxed);
        }
    }

    /// Whether an option is on.
    pub fn has(&self, name: Name) -> bool {
        self.get(name) != 0
    }

    /// A number as getsockopt(2) tells it. ENOPROTOOPT
    pub fn told(&self, name: Name) -> Result<OptionValue, Errno> {
        let place = place(name).ok_or(Errno::ENOPROTOOPT)?;
        let value = match (self.0[place].load(Ordering::Relaxed), name) {
            (-1, GROUP_HOPS) => 1,
            (-1, CLASS) => 0,
            (-1, _) => limits::HOP_LIMIT.get() as i32,
            (value, _) => value,
        };
        Ok(value_of(value.cast_unsigned()))
    }

    /// Sets a number: EINVAL for one that it cannot be, EPERM, ENOPROTOOPT. Returns it.
    pub fn set(&self, name: Name, value: &[u8]) -> Result<i32, Errno> {
        let place = place(name).ok_or(Errno::ENOPROTOOPT)?;
        let known = &NUMBERS[place];
        let short = name.0 != SOL_IP && value.len() < size_of::<i32>();
        let given = if short { 0 } else { number_or_byte(value) };
        let value = match known.values {
            Values::Short => i32::from(given != 0),
            _ if short => return Err(Errno::EINVAL),
            Values::Range(..) if value.is_empty() && name != MTU_DISCOVER => return Err(Errno::EINVAL),
            Values::Given | Values::Strict | Values::Guarded if value.is_empty() && name.1 != RFC_4884 => {
                return Err(Errno::EINVAL);
            }
            Values::Strict if !(0..=1).contains(&given) => return Err(Errno::EINVAL),
            Values::Range(..) if name == MTU_V6 && given == 0 => 0,
            Values::Range(..)
                if given == -1 && matches!(name, TTL | GROUP_TTL | HOPS | GROUP_HOPS | CLASS) =>
            {
                known.default
            }
            Values::Range(least, most) if (least..=most).contains(&given) => given,
            Values::Range(..) => return Err(Errno::EINVAL),
            Values::Guarded if given != 0 && !is_privileged() => return Err(Errno::EPERM),
            Values::Switch | Values::Given | Values::Strict | Values::Guarded => i32::from(given != 0),
            Values::Byte => given & 0xff,
        };
        self.0[place].store(value, Ordering::Relaxed);
        Ok(value)
    }

    /// The hop limit and the traffic class of packets, to a group or not.
    pub fn of_packets(&self, v4: bool, group: bool) -> (u8, u8) {
        let (hops, class) = match (v4, group) {
            (true, false) => (TTL, TOS),
            (true, true) => (GROUP_TTL, TOS),
            (false, false) => (HOPS, CLASS),
            (false, true) => (GROUP_HOPS, CLASS),
        };
        let hops = match self.get(hops) {
            -1 if group => 1,
            -1 => limits::HOP_LIMIT.get() as i32,
            hops => hops,
        };
        (hops as u8, self.get(class).max(0) as u8)
    }
}

fn is_privileged() -> bool {
    current().is_some_and(|caller| {
        caller.identity().capable(Capabilities::NET_ADMIN) || caller.identity().capable(Capabilities::NET_RAW)
    })
}
