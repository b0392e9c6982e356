//! How a socket gets its place, its listener or its connection: bind(2), listen(2), connect(2).

use alloc::sync::Arc;

use isopod_fs::{self as fs, Errno};
use isopod_net::address::{
    ANY, ANY_V4, Address as IpAddress, LOOPBACK, LOOPBACK_V4, SocketAddress, is_any, is_multicast, is_v4,
};
use isopod_net::error::Error;
use isopod_net::route::Kind as RouteKind;
use isopod_net::segments::{Below, of_tcp};
use isopod_net::tcp::{Binding, Claim, Connection, Endpoint, Flow, Observer, Scope, State as Stage, Stream};

use super::{Phase, StreamSocket, end, place, take_over_ends, tcp_errno};
use crate::process::Thread;
use crate::socket::inet::address::{self, Given};
use crate::socket::inet::{
    AF_INET, AF_INET6, check_interface, check_port, configuring, limits, options as names, stack, with_stack,
};
use crate::socket::{AF_UNSPEC, Address, Shutdown, limits as socket_limits, options};

impl StreamSocket {
    /// bind(2)
    pub(super) fn take_place(&self, caller: &Thread, address: &Address) -> fs::Result<()> {
        let Given { at, .. } = address::to_bind(self.common.family, self.only_v6(), address)?;
        let there = stack().can_bind(&at.address) || self.ip.has(names::FREE_BIND);
        let v4 = self.common.family == AF_INET;
        if v4 && !there {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        if !v4 && is_multicast(&at.address) {
            return Err(Errno::EINVAL.into());
        }
        check_port(caller, at.port)?;
        let mut state = self.state.lock();
        if state.binding.is_some() || !matches!(state.phase, Phase::Idle) {
            return Err(Errno::EINVAL.into());
        }
        if !there {
            return Err(Errno::EADDRNOTAVAIL.into());
        }
        check_interface(self.common.options.interface(), &at.address)?;
        let binding = self.take_port(&at)?;
        state.local = SocketAddress { address: at.address, port: binding.port() };
        state.binding = Some(binding);
        Ok(())
    }

    /// listen(2)
    pub(super) fn begin_to_listen(&self, _: &Thread, backlog: u32) -> Result<(), Errno> {
        let backlog = u64::from(backlog).min(socket_limits::BACKLOG_MAX.get()) as usize;
        let mut state = self.state.lock();
        match &state.phase {
            Phase::Listening(listener) => listener.set_backlog(backlog),
            Phase::Idle => {
                let local = state.local;
                let binding = match &state.binding {
                    Some(binding) => Arc::clone(binding),
                    // What it had for a connection that failed is shown, but not its own any more.
                    None => self.take_port(&SocketAddress { port: 0, ..local })?,
                };
                let observer = Arc::clone(&self.observer) as Arc<dyn Observer>;
                let scope = self.scope(&local.address);
                let options = state.options.clone();
                let listener = stack()
                    .tcp
                    .listen(Arc::clone(&binding), scope, backlog, options, observer)
                    .map_err(tcp_errno)?;
                state.local.port = binding.port();
                state.binding = Some(binding);
                state.phase = Phase::Listening(listener);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// connect(2)
    pub(super) fn connect_to(&self, _: &Thread, address: &Address, waiting: bool) -> fs::Result<()> {
        if address.family().ok_or(Errno::EINVAL)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let phase = self.state.lock().phase.clone();
        match phase {
            Phase::Listening(_) | Phase::Connected(_) => return Err(Errno::EISCONN.into()),
            Phase::Beginning => return Err(Errno::EALREADY.into()),
            Phase::Connecting(stream) => {
                return Err(match self.outcome(&stream) {
                    Ok(()) => return Ok(()),
                    Err(Errno::EAGAIN) if !waiting => Errno::EALREADY.into(),
                    Err(error) => error.into(),
                });
            }
            Phase::Idle => {}
        }
        let family = self.common.family;
        if family == AF_INET6 {
            // Unlike a socket of UDP.
            let found = address::v6_of(address)?;
            if address.family() == Some(AF_INET) {
                return Err(Errno::EAFNOSUPPORT.into());
            }
            if is_multicast(&found.at.address) {
                return Err(Errno::ENETUNREACH.into());
            }
        }
        let stream = self.begin(address::to_connect(family, self.only_v6(), address)?)?;
        if waiting { Ok(self.outcome(&stream)?) } else { Err(Errno::EINPROGRESS.into()) }
    }

    fn scope(&self, address: &IpAddress) -> Scope {
        match *address {
            ANY if self.only_v6() => Scope::Ipv6,
            ANY => Scope::Any,
            ANY_V4 => Scope::Ipv4,
            address => Scope::Address(of_tcp(&address)),
        }
    }

    fn claim(&self, address: &IpAddress) -> Claim {
        let options = &self.common.options;
        Claim {
            scope: self.scope(address),
            reuse_address: options.has(options::REUSE_ADDRESS),
            reuse_port: options.has(options::REUSE_PORT),
            user: self.owner,
            interface: options.interface(),
        }
    }

    /// Takes a port, or with 0 one that is free.
    fn take_port(&self, at: &SocketAddress) -> Result<Arc<Binding>, Errno> {
        let (tcp, claim) = (&stack().tcp, self.claim(&at.address));
        let found = match at.port {
            0 => tcp.bind_anywhere(claim, limits::local_ports()),
            port => tcp.bind(port, claim),
        };
        found.map_err(tcp_errno)
    }

    /// Begins to connect. EADDRNOTAVAIL, ENETUNREACH, EALREADY
    fn begin(&self, Given { at, .. }: Given) -> fs::Result<Arc<Stream>> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Idle) {
            return Err(Errno::EALREADY.into());
        }
        let to_v4 = is_v4(&at.address) || is_v4(&state.local.address) && !is_any(&state.local.address);
        let address = match at.address {
            address if !is_any(&address) => address,
            _ if to_v4 => LOOPBACK_V4,
            _ => LOOPBACK,
        };
        let found = stack()
            .route(
                &address,
                &state.local.address,
                self.common.options.interface(),
                isopod_hal::clock::monotonic_ns(),
            )
            .map_err(|error| match error {
                Error::NoInterface if !is_v4(&address) => Errno::ENETUNREACH.into(),
                error => configuring::failure(error),
            })?;
        if found.kind == RouteKind::Broadcast || is_multicast(&address) {
            return Err(Errno::ENETUNREACH.into());
        }
        let (binding, mut options) = (state.binding.clone(), state.options.clone());
        options.local_ports = limits::local_ports();
        let flow = Flow {
            local: Endpoint::new(of_tcp(&found.source), binding.as_ref().map_or(0, |binding| binding.port())),
            remote: Endpoint::new(of_tcp(&address), at.port),
        };
        // What is sent may come back at once, so the lock is free meanwhile.
        state.phase = Phase::Beginning;
        drop(state);
        let observer = Arc::clone(&self.observer) as Arc<dyn Observer>;
        let made = with_stack(|stack, out| {
            let now = out.now;
            stack.tcp.connect(flow, binding, &options, observer, now, &mut Below { stack, out })
        });
        Ok(self.begun(made.map_err(tcp_errno))?)
    }

    /// A connection was begun, or could not be.
    fn begun(&self, made: Result<Arc<Stream>, Errno>) -> Result<Arc<Stream>, Errno> {
        let mut state = self.state.lock();
        let wanted = matches!(state.phase, Phase::Beginning);
        if wanted {
            state.phase = made.clone().map_or(Phase::Idle, Phase::Connecting);
        }
        let stream = made?;
        if !wanted {
            drop(state);
            end(&Phase::Connecting(stream), true);
            return Err(Errno::ECONNABORTED);
        }
        state.local = place(&stream.flow().local);
        state.error = None;
        let (outdated, ended) = (core::mem::take(&mut state.outdated), state.ended);
        drop(state);
        take_over_ends(ended, &stream);
        // Whoever waits could not see it before.
        self.common.changed.wake_all();
        if outdated {
            self.renew_options(&stream);
        }
        Ok(stream)
    }

    /// What has become of a connection that was begun: EAGAIN as long as that is open.
    fn outcome(&self, stream: &Arc<Stream>) -> Result<(), Errno> {
        let stage = stream.look(Connection::state);
        if matches!(stage, Stage::SynSent | Stage::SynReceived) {
            return Err(Errno::EAGAIN);
        }
        let error = if stage == Stage::Closed { stream.touch(Connection::take_error) } else { None };
        let mut state = self.state.lock();
        let connecting = matches!(&state.phase, Phase::Connecting(own) if Arc::ptr_eq(own, stream));
        match stage {
            _ if !connecting => {}
            Stage::Closed => {
                state.phase = Phase::Idle;
                state.ended = Shutdown::empty();
                if state.binding.is_none() {
                    state.local.address = self.any();
                }
            }
            _ => state.phase = Phase::Connected(Arc::clone(stream)),
        }
        let closed = error.map_or(Errno::ECONNABORTED, tcp_errno);
        if stage == Stage::Closed { Err(closed) } else { Ok(()) }
    }

    /// connect(2) with `AF_UNSPEC`: there is no connection any more, and nobody listens.
    pub(super) fn disconnect(&self) {
        let phase = core::mem::replace(&mut self.state.lock().phase, Phase::Idle);
        let open = match &phase {
            Phase::Connecting(stream) | Phase::Connected(stream) => {
                let stage = stream.look(Connection::state);
                Some(!matches!(stage, Stage::Closed | Stage::Closing | Stage::LastAck))
            }
            _ => None,
        };
        end(&phase, true);
        let mut state = self.state.lock();
        state.ended = Shutdown::empty();
        if state.binding.is_none() {
            state.local.address = self.any();
        }
        if let Some(open) = open {
            state.error = open.then_some(Errno::ECONNRESET);
        }
    }
}
