//! What is set and told: getsockopt(2), setsockopt(2), ioctl(2).

use isopod_fs::file::UserMemory;
use isopod_fs::{self as fs, Errno};
use isopod_hal::clock;
use isopod_net::segments::to_packets;
use isopod_net::tcp::{Connection, Manner, SocketOptions, Stream};

use super::{Phase, State, StreamSocket, with};
use crate::socket::Socket;
use crate::socket::inet::options::{self as names, IpOptions, SOL_IP, SOL_IPV6};
use crate::socket::inet::tcp_options::Noted;
use crate::socket::inet::{AF_INET, AF_INET6, stack, tcp_options};
use crate::socket::options::{self, OptionValue};

/// Is the next byte the urgent one?
const SIOCATMARK: u32 = 0x8905;
/// How many bytes have not been sent?
const SIOCOUTQNSD: u32 = 0x894b;

impl StreamSocket {
    /// getsockopt(2), of TCP and IP
    pub(super) fn told(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        match level {
            tcp_options::SOL_TCP => {}
            SOL_IP => return self.ip_option((level, name)),
            SOL_IPV6 if self.common.family == AF_INET6 => return self.ip_option((level, name)),
            options::SOL_SOCKET => return Err(Errno::ENOPROTOOPT),
            _ if self.common.family == AF_INET => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        let stream = self.stream();
        if name == tcp_options::INFO {
            let Some(stream) = stream else {
                let mut bytes = alloc::vec![0; tcp_options::INFO_LENGTH];
                bytes[0] = tcp_options::CLOSED;
                if let Phase::Listening(listener) = &self.state.lock().phase {
                    // `tcpi_unacked` and `tcpi_sacked` are how many wait, and how many may (`tcp_get_info`).
                    let (waiting, backlog) = listener.waiting();
                    bytes[0] = tcp_options::LISTENS;
                    bytes[24..28].copy_from_slice(&(waiting as u32).to_ne_bytes());
                    bytes[28..32].copy_from_slice(&(backlog as u32).to_ne_bytes());
                }
                return Ok(bytes);
            };
            return Ok(tcp_options::told(&stream.look(|connection| connection.info(clock::monotonic_ns()))));
        }
        let segment = stream.map(|stream| stream.look(Connection::segment_size));
        let state = self.state.lock();
        tcp_options::get(&state.options, &state.noted, name, segment)
    }

    /// setsockopt(2), of TCP and IP
    pub(super) fn set(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match level {
            // It is about a connection that is yet to be made.
            tcp_options::SOL_TCP if name == tcp_options::FAST_OPEN_CONNECT && !self.is_idle() => {
                Err(Errno::EINVAL)
            }
            tcp_options::SOL_TCP => {
                self.change(&mut |options, noted| tcp_options::set(options, noted, name, value))
            }
            SOL_IP => self.set_ip_option((level, name), value),
            SOL_IPV6 if self.common.family == AF_INET6 => self.set_ip_option((level, name), value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// An option of all sockets has been set that the connection must know of.
    pub(super) fn take_over(&self, name: u32) {
        let common = &self.common.options;
        let outcome = match name {
            options::REUSE_ADDRESS | options::REUSE_PORT => {
                if let Some(binding) = &self.state.lock().binding {
                    binding.set_reuse(common.has(options::REUSE_ADDRESS), common.has(options::REUSE_PORT));
                }
                Ok(())
            }
            options::BIND_TO_INDEX => {
                let interface = common.interface();
                if let Some(binding) = &self.state.lock().binding {
                    binding.set_interface(interface);
                }
                self.change(&mut |options, _| {
                    options.manners = manners(&self.ip, interface);
                    Ok(())
                })
            }
            options::KEEP_ALIVE | options::URGENT_INLINE => self.change(&mut |options, _| {
                options.keep_alive = common.has(options::KEEP_ALIVE);
                options.urgent_inline = common.has(options::URGENT_INLINE);
                Ok(())
            }),
            options::SEND_BUFFER | options::SEND_BUFFER_FORCE => self.change(&mut |options, _| {
                options.send_buffer = Some(common.send_buffer() as u32);
                Ok(())
            }),
            options::RECEIVE_BUFFER | options::RECEIVE_BUFFER_FORCE => self.change(&mut |options, _| {
                options.receive_buffer = Some(common.receive_buffer() as u32);
                Ok(())
            }),
            options::RECEIVE_LOW_WATER => {
                let outcome = self.change(&mut |options, _| {
                    // Half of the buffer is what fits (`tcp_set_rcvlowat`).
                    common.limit_low_water(
                        options.receive_buffer.map_or(options.receive_limits.1, |size| size / 2),
                    );
                    options.receive_low_water = common.receive_low_water() as u32;
                    Ok(())
                });
                // What has come may be enough now.
                self.common.changed.wake_all();
                outcome
            }
            _ => Ok(()),
        };
        debug_assert_eq!(outcome, Ok(()), "these changes are always taken");
    }

    /// ioctl(2)
    pub(super) fn answer(
        &self,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> fs::Result<usize> {
        let answer = match request {
            SIOCATMARK => self.stream().map_or(0, |stream| u32::from(stream.look(Connection::at_mark))),
            SIOCOUTQNSD if self.listens() => return Err(Errno::EINVAL.into()),
            SIOCOUTQNSD => self.stream().map_or(0, |stream| stream.look(Connection::unsent) as u32),
            _ => return Err(Errno::ENOTTY.into()),
        };
        memory.write(argument, &answer.to_ne_bytes())?;
        Ok(0)
    }

    /// Changes options here and in the connection.
    fn change(
        &self,
        change: &mut dyn FnMut(&mut SocketOptions, &mut Noted) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let State { options, noted, .. } = &mut *state;
        change(options, noted)?;
        let phase = state.phase.clone();
        match &phase {
            Phase::Listening(listener) => listener.set_options(state.options.clone()),
            Phase::Beginning => state.outdated = true,
            _ => {}
        }
        drop(state);
        if let Phase::Connecting(stream) | Phase::Connected(stream) = phase {
            self.renew_options(&stream);
        }
        Ok(())
    }

    /// Tells the connection of what has been set. It is locked when the options are read, so of two who set some the later one has the last word.
    pub(super) fn renew_options(&self, stream: &Stream) {
        with(stream, |connection, now, out| {
            *connection.options_mut() = self.state.lock().options.clone();
            connection.options_changed(now, out);
        });
    }

    fn ip_option(&self, name: names::Name) -> Result<OptionValue, Errno> {
        if matches!(name, names::MTU | names::MTU_V6) {
            let stream = self.stream().ok_or(Errno::ENOTCONN)?;
            let mtu = stack().mtu_to(&to_packets(stream.flow().remote.address)).ok_or(Errno::ENOTCONN)?;
            return Ok(options::value_of(mtu));
        }
        self.ip.told(name)
    }

    fn set_ip_option(&self, name: names::Name, value: &[u8]) -> Result<(), Errno> {
        if matches!(name, names::GROUP_TTL | names::GROUP_INTERFACE) {
            return Err(Errno::EINVAL);
        }
        if name == names::ONLY_V6 && self.state.lock().binding.is_some() {
            return Err(Errno::EINVAL);
        }
        let set = self.ip.set(name, value)?;
        if matches!(name, names::TOS | names::CLASS) && set >= 0 {
            // The last bits are the protocol's own (RFC 3168).
            self.ip.store(name, set & !3);
        }
        let interface = self.common.options.interface();
        self.change(&mut |options, _| {
            options.manners = manners(&self.ip, interface);
            options.least_hops = [names::LEAST_TTL, names::LEAST_HOPS].map(|name| self.ip.get(name) as u8);
            Ok(())
        })
    }
}

/// How segments go by both versions of IP, and by which interface if that is not 0.
pub(super) fn manners(ip: &IpOptions, interface: u32) -> [Manner; 2] {
    [true, false].map(|v4| {
        let (hop_limit, traffic_class) = ip.of_packets(v4, false);
        Manner { hop_limit, traffic_class, interface }
    })
}
