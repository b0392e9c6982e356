//! Many connections, and a network that has a limit.

use super::network::{Link, Network};
use super::script::{Peer, Script};
use crate::tcp::{Algorithm, Connection, MILLISECOND, SECOND, SocketOptions, Tcp};
use alloc::sync::Arc;
use std::vec::Vec;

#[test]
fn ten_thousand_idle_connections_have_no_deadline() {
    let mut script = Script::new(Peer::default());
    let listener = script.listen(4096, SocketOptions::default());
    let mut streams = Vec::new();
    for connection in 0..10_000u32 {
        script.peer_port = 1000 + connection as u16;
        script.open();
        streams.push(listener.accept().unwrap());
    }
    assert_eq!(script.flows(), 10_000);
    // What the handshakes left behind has come true; now there is nothing to look at.
    script.wait(10_000);
    assert_eq!(script.tcp.deadline(), None);
    script.says(super::script::ACK, 1, 1, 3);
    assert_eq!(script.read(&streams[9999], 9), Ok([1, 2, 3].into()));
}

/// Steps that a connection takes from its beginning to its establishment, and what 10,000 others add to them.
#[test]
fn the_next_connection_costs_what_the_first_did() {
    let mut script = Script::new(Peer::default());
    let options = SocketOptions::default();
    let mut streams = Vec::new();
    let connect = |script: &mut Script, streams: &mut Vec<_>| {
        super::steps(|| {
            streams.push(script.connect(&options));
            script.next();
            let offered = script.syn_options();
            script.sends(super::script::SYN | super::script::ACK, 0, 1, 0, offered);
            script.next();
        })
    };
    let mut average = |script: &mut Script, count: u32| {
        (0..count).map(|_| connect(script, &mut streams)).sum::<u32>() / count
    };
    let first = average(&mut script, 100);
    average(&mut script, 9_900);
    let last = average(&mut script, 100);
    // A connection is some thousand instructions, a step no more than ten.
    assert!(last < first + 40, "{first} steps, then {last}");
}

/// Bytes in a second that one connection carries over a link of 10 Mbit/s and 40 ms, with a queue of a round trip.
fn throughput(algorithm: Algorithm, loss: u64) -> usize {
    let link = Link { delay: 20 * MILLISECOND, rate: 1250, queue: 50_000, loss, ..Link::default() };
    let options = SocketOptions { congestion: algorithm, ..SocketOptions::default() };
    let mut network = Network::new(7, link);
    let [client, server] = network.pair(&options, options.clone());
    let (start, mut read, data) = (network.now, 0, std::vec![7; 60_000]);
    network.until(60 * SECOND, "twenty seconds", |network| {
        network.write(0, &client, &data).ok();
        read += network.read(1, &server, usize::MAX).map_or(0, |bytes| bytes.len());
        network.now - start > 20 * SECOND
    });
    read / 20
}

#[test]
fn one_connection_fills_a_link() {
    for algorithm in [Algorithm::Reno, Algorithm::Cubic] {
        let full = throughput(algorithm, 0);
        assert!(full > 1_100_000, "{algorithm:?}: {full}");
        let lossy = throughput(algorithm, 1);
        assert!(lossy > 600_000, "{algorithm:?} with a loss in a thousand: {lossy}");
    }
}

#[test]
fn two_connections_share_a_link() {
    let link = Link { delay: 20 * MILLISECOND, rate: 1250, queue: 50_000, ..Link::default() };
    let options = SocketOptions::default();
    let mut network = Network::new(9, link);
    let listener = network.listen(1, 80, 16, options.clone());
    let pairs: Vec<_> = (0..2).map(|_| network.pair_with(&listener, &options)).collect();
    let (start, mut read, data) = (network.now, [0; 2], std::vec![7; 60_000]);
    network.until(60 * SECOND, "thirty seconds", |network| {
        for (index, [client, server]) in pairs.iter().enumerate() {
            network.write(0, client, &data).ok();
            read[index] += network.read(1, server, usize::MAX).map_or(0, |bytes| bytes.len());
        }
        network.now - start > 30 * SECOND
    });
    let (less, more) = (read[0].min(read[1]), read[0].max(read[1]));
    assert!(less * 3 > more && less + more > 30 * 1_100_000, "{read:?}");
}

#[test]
fn several_processors_use_one_table() {
    let tcp = Arc::new(Tcp::new([5; 10]));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let tcp = tcp.clone();
            std::thread::spawn(move || {
                let mut script = Script::on(tcp, Peer::default());
                script.port = 80 + worker;
                let listener = script.listen(16, SocketOptions::default());
                for round in 0..500 {
                    script.peer_port = 10_000 + round;
                    script.open();
                    let stream = listener.accept().unwrap();
                    script.says(super::script::ACK, 1, 1, 100);
                    assert_eq!(script.read(&stream, 200).unwrap().len(), 100);
                    script.with(&stream, |connection: &mut Connection, now, out| connection.abort(now, out));
                    while script.poll().is_some() {}
                }
                script.stop(&listener);
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let mut left = 0;
    tcp.each(&mut |_| left += 1);
    assert_eq!(left, 0);
}
