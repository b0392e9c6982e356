//! How connections begin, and how they fail to.

use super::script::{ACK, FIN, Peer, RST, SYN, Script, state};
use crate::tcp::{
    Connection, Error, Flags, Manner, Options, SECOND, SocketOptions, State, Stream, Timestamps,
};

fn error(script: &mut Script, stream: &Stream) -> Option<Error> {
    script.with(stream, |connection, _, _| connection.take_error())
}

#[test]
fn rfc_9293_3_5_three_segments_open_a_connection() {
    let mut script = Script::new(Peer { clock: Some(7), scale: Some(3), ..Peer::default() });
    let listener = script.listen(1, SocketOptions::default());
    script.syn(0);
    let answer = script.expect(SYN | ACK, 0, 1, 0).header;
    assert_eq!(answer.options.maximum_segment_size, Some(1460));
    assert_eq!((answer.options.window_scale, answer.options.sack_permitted), (Some(7), true));
    assert_eq!(answer.options.timestamps.map(|timestamps| timestamps.echo), Some(7));
    assert!(listener.accept().is_none());
    script.says(ACK, 1, 1, 5);
    let stream = listener.accept().unwrap();
    assert_eq!(state(&stream), State::Established);
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3, 4, 5].into()));
    assert_eq!(stream.look(|connection| connection.info(0).snd_wnd), 60_000 << 3);
}

#[test]
fn rfc_7323_2_2_what_was_not_offered_is_not_answered() {
    let mut script = Script::new(Peer { sack: false, ..Peer::default() });
    script.listen(1, SocketOptions::default());
    script.syn(0);
    let options = script.expect(SYN | ACK, 0, 1, 0).header.options;
    assert_eq!(options, Options { maximum_segment_size: Some(1460), ..Options::default() });
}

#[test]
fn an_active_open_offers_everything_and_acknowledges_the_answer() {
    let mut script = Script::new(Peer { clock: Some(9), scale: Some(2), ..Peer::default() });
    let stream = script.connect(&SocketOptions::default());
    let syn = script.expect(SYN, 0, 0, 0).header.options;
    assert!(syn.sack_permitted && syn.timestamps.is_some() && syn.window_scale == Some(7));
    assert_eq!(stream.look(Connection::readiness), crate::tcp::Readiness::default());
    let options = script.syn_options();
    script.sends(SYN | ACK, 0, 1, 0, options);
    script.expect(ACK, 1, 1, 0);
    assert_eq!(state(&stream), State::Established);
    assert!(stream.look(Connection::readiness).contains(crate::tcp::Readiness::WRITABLE));
}

#[test]
fn rfc_9293_3_10_7_1_a_segment_for_nobody_is_reset() {
    let mut script = Script::new(Peer::default());
    script.syn(0);
    script.expect(RST | ACK, 0, 1, 0);
    script.says(ACK, 5, 77, 3);
    let reset = script.next();
    assert_eq!((reset.flags, reset.sequence), (RST, 77));
    script.says(RST, 5, 0, 0);
    script.nothing();
}

#[test]
fn rfc_9293_3_10_7_3_a_reset_of_our_syn_refuses_the_connection() {
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    script.next();
    script.says(RST | ACK, 0, 5, 0);
    assert_eq!(state(&stream), State::SynSent, "it acknowledges what was not sent");
    script.says(RST | ACK, 0, 1, 0);
    assert_eq!((state(&stream), error(&mut script, &stream)), (State::Closed, Some(Error::Refused)));
    assert_eq!(script.flows(), 0);
}

#[test]
fn rfc_9293_3_10_7_3_a_wrong_acknowledgment_of_our_syn_is_reset() {
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    script.next();
    script.says(SYN | ACK, 0, 2, 0);
    script.expect(RST, 2, 0, 0);
    assert_eq!(state(&stream), State::SynSent);
}

#[test]
fn rfc_9293_3_5_figure_8_both_ends_open_at_once() {
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    script.expect(SYN, 0, 0, 0);
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
    assert_eq!(state(&stream), State::SynReceived);
    let options = script.syn_options();
    script.sends(SYN | ACK, 0, 1, 0, options);
    script.poll();
    script.says(ACK, 1, 1, 0);
    assert_eq!(state(&stream), State::Established);
}

#[test]
fn a_syn_is_repeated_six_times_with_back_off() {
    let mut script = Script::new(Peer::default());
    let stream = script.connect(&SocketOptions::default());
    script.expect(SYN, 0, 0, 0);
    for doubled in 0..6 {
        script.wait((1000 << doubled) - 1);
        script.nothing();
        script.wait(1);
        script.expect(SYN, 0, 0, 0);
    }
    script.wait(64_000);
    script.nothing();
    assert_eq!((state(&stream), error(&mut script, &stream)), (State::Closed, Some(Error::TimedOut)));
}

#[test]
fn an_answer_is_repeated_five_times_and_the_request_forgotten() {
    let mut script = Script::new(Peer::default());
    script.listen(1, SocketOptions::default());
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
    for doubled in 0..5 {
        script.wait(1000 << doubled);
        script.expect(SYN | ACK, 0, 1, 0);
        script.nothing();
    }
    assert_eq!(script.flows(), 1);
    script.wait(32_000);
    script.nothing();
    assert_eq!(script.flows(), 0);
}

#[test]
fn a_repeated_syn_gets_the_same_answer_but_a_flood_of_them_does_not() {
    let mut script = Script::new(Peer::default());
    script.listen(1, SocketOptions::default());
    script.syn(0);
    let first = script.next().header.sequence;
    (0..10).for_each(|_| script.syn(0));
    script.nothing();
    script.wait(800);
    script.syn(0);
    assert_eq!(script.next().header.sequence, first);
}

#[test]
fn rfc_5961_3_a_request_ends_only_by_an_exact_reset() {
    let mut script = Script::new(Peer::default());
    script.listen(1, SocketOptions::default());
    script.syn(0);
    script.next();
    script.says(RST, 2, 0, 0);
    assert_eq!(script.flows(), 1);
    script.says(RST, 1, 0, 0);
    assert_eq!(script.flows(), 0);
}

#[test]
fn rfc_9293_3_10_7_4_a_wrong_acknowledgment_of_our_answer_is_reset() {
    let mut script = Script::new(Peer::default());
    let listener = script.listen(1, SocketOptions::default());
    script.syn(0);
    script.next();
    script.says(ACK, 1, 2, 0);
    script.expect(RST, 2, 0, 0);
    script.says(ACK, 1, 1, 0);
    assert!(listener.accept().is_some());
}

#[test]
fn the_backlog_takes_one_more_than_it_says() {
    let mut script = Script::new(Peer::default());
    let listener = script.listen(1, SocketOptions::default());
    for port in 0..4 {
        script.peer_port = 6000 + port;
        script.syn(0);
        if port < 2 {
            script.expect(SYN | ACK, 0, 1, 0);
            script.says(ACK, 1, 1, 0);
        } else {
            script.nothing();
        }
    }
    assert_eq!(listener.waiting(), (2, 1));
    listener.accept().unwrap();
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
}

#[test]
fn defer_accept_hands_a_connection_out_with_its_first_data_or_after_its_time() {
    let options = SocketOptions { defer_accept: 5 * SECOND, ..SocketOptions::default() };
    for data in [true, false] {
        let mut script = Script::new(Peer::default());
        let listener = script.listen(1, options.clone());
        script.open();
        assert!(listener.accept().is_none());
        if data {
            script.says(ACK, 1, 1, 3);
        } else {
            script.wait(5000);
            script.expect(SYN | ACK, 0, 1, 0);
            script.says(ACK, 1, 1, 0);
        }
        assert!(listener.accept().is_some(), "data: {data}");
    }
}

#[test]
fn rfc_4987_3_6_a_flood_is_answered_with_cookies_that_open_connections() {
    let mut script = Script::new(Peer { clock: Some(50), scale: Some(5), ..Peer::default() });
    let listener = script.listen(8, SocketOptions::default());
    for port in 0..100 {
        script.peer_port = 6000 + port;
        script.syn(0);
        script.expect(SYN | ACK, 0, 1, 0);
    }
    assert_eq!(script.flows(), 8, "the others cost nothing");
    script.syn(0);
    let answer = script.next().header.options.timestamps.unwrap();
    let options =
        Options { timestamps: Some(Timestamps { value: 51, echo: answer.value }), ..Options::default() };
    script.sends(ACK, 1, 1, 4, options.clone());
    let stream = listener.accept().unwrap();
    assert_eq!(script.read(&stream, 10), Ok([1, 2, 3, 4].into()));
    let info = stream.look(|connection| connection.info(0));
    assert_eq!((info.snd_wscale, info.sack, info.timestamps), (5, true, true));
    script.poll();
    script.peer_port = 7000;
    script.sends(ACK, 1, 99, 0, options);
    assert_eq!(script.next().flags, RST, "no cookie of ours");
}

#[test]
fn packets_go_as_the_socket_says() {
    let said = Manner { hop_limit: 7, traffic_class: 0x10, interface: 0 };
    let mut script = Script::new(Peer::default());
    let options = SocketOptions { manners: [said, Manner::default()], ..SocketOptions::default() };
    let listener = script.listen(1, options.clone());
    script.syn(0);
    assert_eq!(script.next().header.manner, said);
    script.says(ACK, 1, 1, 0);
    let stream = listener.accept().unwrap();
    script.write(&stream, 5);
    assert_eq!(script.next().header.manner, said);
    script.close(&stream);
    assert_eq!(script.next().header.manner, said);
    script.says(FIN | ACK, 1, 7, 0);
    assert_eq!(script.next().header.manner, said);
    script.wait(1000);
    script.says(FIN | ACK, 1, 7, 0);
    assert_eq!(script.next().header.manner, said, "in TIME-WAIT");
    script.connect(&options);
    assert_eq!(script.next().header.manner, said);
}

#[test]
fn without_cookies_a_full_queue_answers_nobody_more() {
    let mut script = Script::new(Peer::default());
    let options = SocketOptions { cookies: 0, syn_backlog: 16, ..SocketOptions::default() };
    script.listen(100, options);
    let mut answers = 0;
    for port in 0..50 {
        script.peer_port = 6000 + port;
        script.syn(0);
        answers += u32::from(script.poll().is_some());
    }
    assert_eq!((answers, script.flows()), (12, 12));
    // And with nothing but cookies nothing is kept.
    script.port = 81;
    script.listen(100, SocketOptions { cookies: 2, ..SocketOptions::default() });
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
    assert_eq!(script.flows(), 12);
}

#[test]
fn a_listener_that_closes_resets_what_nobody_accepted() {
    let mut script = Script::new(Peer::default());
    let listener = script.listen(1, SocketOptions::default());
    script.open();
    listener.close(&script.tcp, script.now, &mut super::network::Sink);
    assert_eq!(script.flows(), 0);
    script.syn(0);
    assert_eq!(script.next().flags, RST | ACK);
}

#[test]
fn a_syn_with_a_fin_is_nothing() {
    let mut script = Script::new(Peer::default());
    script.listen(1, SocketOptions::default());
    script.says(SYN | FIN | Flags::PSH, 0, 0, 0);
    assert_eq!(script.flows(), 0);
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Stream>() <= 1400, "{}", size_of::<Stream>());
}

#[test]
fn a_peer_that_repeats_its_syn_keeps_the_request_no_longer() {
    let mut script = Script::new(Peer::default());
    script.listen(1, SocketOptions::default());
    script.syn(0);
    let mut answers = 0;
    for _ in 0..640 {
        script.wait(100);
        if script.flows() > 0 {
            script.syn(0);
        }
        while script.poll().is_some() {
            answers += 1;
        }
    }
    assert_eq!(script.flows(), 0, "63 s have passed");
    assert!(answers < 1 + 640 / 5 + 5, "{answers}");
}

#[test]
fn the_answer_announces_what_the_buffer_takes() {
    let mut script = Script::new(Peer::default());
    let options =
        SocketOptions { receive_buffer: Some(8000), maximum_segment: 700, ..SocketOptions::default() };
    let listener = script.listen(1, options.clone());
    script.syn(0);
    let answer = script.expect(SYN | ACK, 0, 1, 0).header;
    assert_eq!((answer.window, answer.options.maximum_segment_size), (4000, Some(700)));
    // The same when nothing is kept.
    script.peer_port += 1;
    script.syn(0);
    let cookie = script.expect(SYN | ACK, 0, 1, 0).header;
    assert_eq!((cookie.window, cookie.options.maximum_segment_size), (4000, Some(700)));
    script.stop(&listener);
    script.connect(&options);
    let syn = script.next().header;
    assert_eq!((syn.window, syn.options.maximum_segment_size), (4000, Some(700)));
}

#[test]
fn who_completes_a_handshake_with_a_listener_that_is_gone_is_reset() {
    let mut script = Script::new(Peer::default());
    let listener = script.listen(1, SocketOptions::default());
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
    script.stop(&listener);
    drop(listener);
    // Nobody has the port any more.
    let next = script.listen(1, SocketOptions::default());
    script.says(ACK, 1, 1, 0);
    script.expect(RST, 1, 0, 0);
    assert_eq!(script.flows(), 0);
    script.syn(0);
    script.expect(SYN | ACK, 0, 1, 0);
    script.says(ACK, 1, 1, 0);
    assert!(next.accept().is_some());
}

#[test]
fn linux_shut_down_before_the_handshake_ends_it() {
    for (read, write) in [(true, false), (false, true)] {
        let mut script = Script::new(Peer::default());
        let stream = script.connect(&SocketOptions::default());
        script.next();
        script.with(&stream, |connection, now, out| connection.shut_down(now, read, write, out));
        assert_eq!((state(&stream), script.flows()), (State::Closed, 0));
    }
}
