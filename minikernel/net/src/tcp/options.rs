//! What a program sets on a socket. A connection that a listener accepts inherits them.

use core::ops::RangeInclusive;

use super::congestion::Algorithm;
use super::{Flow, SECOND, SegmentHeader};

/// How packets are sent, or came (`IP_TTL`, `IP_TOS`, `IPV6_UNICAST_HOPS`, `IPV6_TCLASS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// The hop limit; 0 for the usual one.
    pub hop_limit: u8,
    /// The traffic class.
    pub traffic_class: u8,
    /// The only interface that they go by, or the one that they came by; 0 for any (`SO_BINDTODEVICE`).
    pub interface: u32,
}

/// Options of a connection; durations are in nanoseconds. A change takes effect with the next call to the connection.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// `TCP_NODELAY`: small segments are sent at once (Nagle's algorithm is off).
    pub no_delay: bool,
    /// `TCP_CORK`: only full segments are sent, for at most 200 ms.
    pub cork: bool,
    /// `TCP_QUICKACK`.
    pub quick_ack: bool,
    /// `SO_OOBINLINE`.
    pub urgent_inline: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `TCP_KEEPCNT`.
    pub keep_alive_count: u8,
    /// `TCP_SYNCNT`.
    pub syn_retries: u8,
    /// `TCP_KEEPIDLE`.
    pub keep_alive_idle: u64,
    /// `TCP_KEEPINTVL`.
    pub keep_alive_interval: u64,
    /// `TCP_USER_TIMEOUT`; zero for the system's.
    pub user_timeout: u64,
    /// How long a connection that nobody has open waits in FIN-WAIT-2 (`TCP_LINGER2`, `tcp_fin_timeout`).
    pub fin_timeout: u64,
    /// `TCP_DEFER_ACCEPT` on a listener: how long to wait for data before a connection is handed out; zero for not at all.
    pub defer_accept: u64,
    /// `TCP_MAXSEG`; zero for what the path allows.
    pub maximum_segment: u16,
    /// `SO_RCVBUF` as Linux keeps it (twice what was asked for): the window is half of it and does not grow. `None` for autotuning.
    pub receive_buffer: Option<u32>,
    /// `SO_RCVLOWAT`.
    pub receive_low_water: u32,
    /// `SO_SNDBUF` as Linux keeps it, likewise.
    pub send_buffer: Option<u32>,
    /// `TCP_WINDOW_CLAMP`; zero for none.
    pub window_clamp: u32,
    /// `TCP_NOTSENT_LOWAT`.
    pub unsent_low_water: u32,
    /// How often a segment of an established connection is sent again (`tcp_retries2`), of one that nobody has open (`tcp_orphan_retries`), and
    /// the answer to a SYN (`tcp_synack_retries`).
    pub retries: u8,
    /// See [`retries`](Self::retries).
    pub orphan_retries: u8,
    /// See [`retries`](Self::retries).
    pub answer_retries: u8,
    /// Whether TIME-WAIT makes place for a new connection: 0 for no, 1 for yes, 2 where the peer is this machine (`tcp_tw_reuse`).
    pub reuse_time_wait: u8,
    /// Whether a listener sends cookies: 0 for no, 1 where its queue is full, 2 always (`tcp_syncookies`).
    pub cookies: u8,
    /// How many handshakes a listener without cookies keeps (`tcp_max_syn_backlog`).
    pub syn_backlog: u32,
    /// The first limit of what is received, and the largest that it grows to, in bytes of payload (`tcp_rmem`, of which half is for the frames).
    pub receive_limits: (u32, u32),
    /// The largest limit of what is to be sent (`tcp_wmem`).
    pub send_limit: u32,
    /// How segments go by IPv4, and by IPv6.
    pub manners: [Manner; 2],
    /// Packets with a smaller hop limit are not taken, of IPv4 and of IPv6 (`IP_MINTTL`, `IPV6_MINHOPCOUNT`).
    pub least_hops: [u8; 2],
    /// The socket is one of IPv6, whatever the addresses are.
    pub v6: bool,
    /// The ports of which a connection takes one that has none (`ip_local_port_range`).
    pub local_ports: RangeInclusive<u16>,
    /// `TCP_CONGESTION`.
    pub congestion: Algorithm,
}

impl SocketOptions {
    /// How segments of a flow go.
    pub(super) fn manner(&self, flow: &Flow) -> Manner {
        self.manners[usize::from(flow.local.address.is_ipv6())]
    }

    /// Whether a segment has come from near enough (RFC 5082).
    pub(super) fn takes(&self, flow: &Flow, header: &SegmentHeader) -> bool {
        header.manner.hop_limit >= self.least_hops[usize::from(flow.local.address.is_ipv6())]
    }

    /// The MSS option of this end's SYN, on a path that takes `mss`.
    pub(super) fn announced_mss(&self, mss: u16) -> u16 {
        if self.maximum_segment == 0 { mss } else { mss.min(self.maximum_segment) }
    }
}

/// Linux' defaults.
impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            no_delay: false,
            cork: false,
            quick_ack: false,
            urgent_inline: false,
            keep_alive: false,
            keep_alive_count: 9,
            syn_retries: 6,
            keep_alive_idle: 7200 * SECOND,
            keep_alive_interval: 75 * SECOND,
            user_timeout: 0,
            fin_timeout: 60 * SECOND,
            defer_accept: 0,
            maximum_segment: 0,
            receive_buffer: None,
            receive_low_water: 1,
            send_buffer: None,
            window_clamp: 0,
            unsent_low_water: u32::MAX,
            retries: 15,
            orphan_retries: 8,
            answer_retries: 5,
            reuse_time_wait: 2,
            cookies: 1,
            syn_backlog: 4096,
            receive_limits: (65_536, 3 << 20),
            send_limit: 4 << 20,
            manners: [Manner::default(); 2],
            least_hops: [0; 2],
            v6: false,
            local_ports: 32_768..=60_999,
            congestion: Algorithm::Cubic,
        }
    }
}
