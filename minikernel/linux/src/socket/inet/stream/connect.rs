//! How a socket gets its place, its listener or its connection: bind(2), listen(2), connect(2).

use alloc::sync::Arc;

use isopod_fs::{self as fs, Errno};
use isopod_net::address::{
    ANY, ANY_V4, Address as IpAddress, LOOPBACK, LOOPBACK_V4, SocketAddress, is_any, is_multicast, is_v4,
};
use isopod_net::route::Kind as RouteKind;
use isopod_net::segments::{Below, of_tcp};
use isopod_net::tcp::{Binding, Claim, Connection, Endpoint, Flow, Observer, Scope, State as Stage, Stream};

use super::{Phase, State, StreamSocket, end, place, tcp_errno, with};
use crate::kernel;
use crate::process::Thread;
use crate::socket::inet::address::{self, Given};
use crate::socket::inet::{
    AF_INET, AF_INET6, check_port, errno, limits, options as names, stack, with_stack,
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
                    None => self.take_port(&local)?,
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
        let mut state = self.state.lock();
        match state.phase.clone() {
            Phase::Listening(_) | Phase::Connected(_) => return Err(Errno::EISCONN.into()),
            Phase::Connecting(stream) => {
                return Err(match self.outcome(&mut state, &stream) {
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
        self.begin(&mut state, address::to_connect(family, self.only_v6(), address)?)?;
        let Phase::Connecting(stream) = state.phase.clone() else { return Ok(()) };
        state.local = place(&stream.flow().local);
        if waiting { Ok(self.outcome(&mut state, &stream)?) } else { Err(Errno::EINPROGRESS.into()) }
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
        }
    }

    /// Takes a port, or with 0 one that is free.
    fn take_port(&self, at: &SocketAddress) -> Result<Arc<Binding>, Errno> {
        let claim = self.claim(&at.address);
        if at.port != 0 {
            return stack().tcp.bind(at.port, claim).map_err(tcp_errno);
        }
        let ports = limits::local_ports();
        let count = u64::from(ports.end().saturating_sub(*ports.start())) + 1;
        let random = kernel::random_u64();
        let strict = Claim { reuse_address: false, ..claim };
        let found = (0..count).find_map(|step| {
            stack().tcp.bind(ports.start() + (random.wrapping_add(step) % count) as u16, strict).ok()
        });
        let binding = found.ok_or(Errno::EADDRINUSE)?;
        binding.set_reuse(claim.reuse_address, claim.reuse_port);
        Ok(binding)
    }

    /// Begins to connect. EADDRNOTAVAIL, ENETUNREACH
    fn begin(&self, state: &mut State, Given { at, .. }: Given) -> Result<(), Errno> {
        let to_v4 = is_v4(&at.address) || is_v4(&state.local.address) && !is_any(&state.local.address);
        let address = match at.address {
            address if !is_any(&address) => address,
            _ if to_v4 => LOOPBACK_V4,
            _ => LOOPBACK,
        };
        let found = stack()
            .route(&address, &state.local.address, 0, isopod_hal::clock::monotonic_ns())
            .map_err(errno)?;
        if found.kind == RouteKind::Broadcast || is_multicast(&address) {
            return Err(Errno::ENETUNREACH);
        }
        let flow = Flow {
            local: Endpoint::new(of_tcp(&found.source), state.local.port),
            remote: Endpoint::new(of_tcp(&address), at.port),
        };
        let (binding, options) = (state.binding.clone(), state.options.clone());
        let observer = Arc::clone(&self.observer) as Arc<dyn Observer>;
        let stream = with_stack(|stack, out| {
            let now = out.now;
            stack.tcp.connect(flow, binding, &options, observer, now, &mut Below { stack, out })
        })
        .map_err(tcp_errno)?;
        state.phase = Phase::Connecting(stream);
        state.error = None;
        Ok(())
    }

    /// What has become of a connection that was begun: EAGAIN as long as that is open.
    fn outcome(&self, state: &mut State, stream: &Arc<Stream>) -> Result<(), Errno> {
        match stream.look(Connection::state) {
            Stage::SynSent | Stage::SynReceived => Err(Errno::EAGAIN),
            Stage::Closed => {
                let error = with(stream, |connection, _, _| connection.take_error());
                state.phase = Phase::Idle;
                if state.binding.is_none() {
                    state.local.address = self.any();
                }
                Err(error.map_or(Errno::ECONNABORTED, tcp_errno))
            }
            _ => {
                state.phase = Phase::Connected(Arc::clone(stream));
                Ok(())
            }
        }
    }

    /// connect(2) with `AF_UNSPEC`: there is no connection any more, and nobody listens.
    fn disconnect(&self) {
        let mut state = self.state.lock();
        let phase = core::mem::replace(&mut state.phase, Phase::Idle);
        state.ended = Shutdown::empty();
        if state.binding.is_none() {
            state.local.address = self.any();
        }
        if let Phase::Connecting(stream) | Phase::Connected(stream) = &phase {
            use Stage::{CloseWait, Established, FinWait1, FinWait2, SynReceived, SynSent};
            let stage = stream.look(Connection::state);
            let open = matches!(stage, Established | CloseWait | FinWait1 | FinWait2 | SynReceived | SynSent);
            state.error = open.then_some(Errno::ECONNRESET);
        }
        drop(state);
        end(&phase, true);
    }
}
