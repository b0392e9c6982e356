//! The figures of a connection (`TCP_INFO`).

use super::Connection;
use super::State;
use super::loss::Phase;

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub segments_in: u32,
    pub segments_out: u32,
    pub retransmitted: u32,
    pub recoveries: u32,
    pub timeouts: u32,
    pub probes: u32,
    pub bytes_sent: u64,
    pub bytes_acknowledged: u64,
    pub bytes_received: u64,
}

/// The members of Linux' `struct tcp_info` that mean something here; times are in microseconds, windows in bytes.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of Linux, without the prefix")]
pub struct Info {
    pub state: State,
    /// `TCP_CA_Open`, `TCP_CA_Recovery` or `TCP_CA_Loss`.
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub timestamps: bool,
    pub sack: bool,
    pub snd_wscale: u8,
    pub rcv_wscale: u8,
    pub rto: u32,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    /// In segments.
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    /// Since data was sent and since a segment came, in milliseconds.
    pub last_data_sent: u32,
    pub last_data_recv: u32,
    pub pmtu: u32,
    pub rtt: u32,
    pub rttvar: u32,
    pub min_rtt: u32,
    /// In segments.
    pub snd_ssthresh: u32,
    pub snd_cwnd: u32,
    pub advmss: u32,
    pub total_retrans: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub notsent_bytes: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub rcv_space: u32,
    pub reordering_seen: bool,
    pub recoveries: u32,
    pub timeouts: u32,
    pub tail_loss_probes: u32,
}

impl Connection {
    /// The figures as they are at `now`.
    pub fn info(&self, now: u64) -> Info {
        let segment = self.segment_size();
        let segments = |bytes: u32| bytes.div_ceil(segment);
        let microseconds = |time: u64| (time / 1000).min(u64::from(u32::MAX)) as u32;
        let milliseconds = |at: u64| microseconds(now.saturating_sub(at)) / 1000;
        Info {
            state: self.state,
            ca_state: match self.recovery.phase {
                Phase::Open => 0,
                Phase::Fast => 3,
                Phase::Timeout => 4,
            },
            retransmits: self.timers.attempts,
            probes: self.timers.probes,
            backoff: self.rtt.backoff,
            timestamps: self.snd.timestamps,
            sack: self.snd.sack_permitted,
            snd_wscale: self.snd.shift,
            rcv_wscale: self.rcv.shift,
            rto: microseconds(self.rtt.timeout()),
            snd_mss: segment,
            rcv_mss: u32::from(self.rcv.mss),
            unacked: segments(self.snd.nxt - self.snd.una),
            sacked: segments(self.sent.sacked()),
            lost: segments(self.sent.lost()),
            retrans: segments(self.sent.retransmitted()),
            last_data_sent: milliseconds(self.snd.last),
            last_data_recv: milliseconds(self.rcv.last),
            pmtu: u32::from(self.snd.mss) + if self.flow.local.address.is_ipv4() { 40 } else { 60 },
            rtt: microseconds(self.rtt.smoothed().unwrap_or(0)),
            rttvar: microseconds(self.rtt.variation()),
            min_rtt: microseconds(self.rtt.min().unwrap_or(u64::MAX)),
            // "Infinite" is told as Linux does, `TCP_INFINITE_SSTHRESH`.
            snd_ssthresh: if self.congestion.threshold == u32::MAX {
                0x7fff_ffff
            } else {
                segments(self.congestion.threshold)
            },
            snd_cwnd: segments(self.congestion.window),
            advmss: u32::from(self.rcv.advertised_mss),
            total_retrans: self.counts.retransmitted,
            bytes_acked: self.counts.bytes_acknowledged,
            bytes_received: self.counts.bytes_received,
            bytes_sent: self.counts.bytes_sent,
            segs_out: self.counts.segments_out,
            segs_in: self.counts.segments_in,
            notsent_bytes: self.unsent.len() as u32,
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.edge - self.rcv.nxt,
            rcv_space: self.buffers.receive,
            reordering_seen: self.rack.reordering_seen(),
            recoveries: self.counts.recoveries,
            timeouts: self.counts.timeouts,
            tail_loss_probes: self.counts.probes,
        }
    }
}
