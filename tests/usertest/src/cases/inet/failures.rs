//! What becomes of datagrams that nobody takes.

use libc::*;

use super::helpers::{
    connect, disconnect, error, receive, receive_message, send, send_to, set_option, socket_for,
};
use crate::cases::helpers::close;
use crate::cases::sockets::helpers::events;
use crate::report::Report;

pub fn run(t: &mut Report) {
    for address in ["127.0.0.1", "[::1]"] {
        refused(t, address);
        reported(t, address);
    }
}

fn refused(t: &mut Report, address: &str) {
    let nobody = format!("{address}:9");
    let mut show = |case: &str, what: String| t.show(&format!("{address}_{case}"), what);
    let fd = socket_for(address, SOCK_DGRAM);
    show("unconnected", format!("{:?}", send_to(fd, b"x", &nobody)));
    show("unconnected_events", events(fd));
    show("unconnected_error", error(fd));
    connect(fd, &nobody).expect("a peer");
    show("first", format!("{:?}", send(fd, b"x", 0)));
    show("events", events(fd));
    show("second", format!("{:?}", send(fd, b"x", 0)));
    show("error", error(fd));
    show("error_again", error(fd));
    show("then", format!("{:?}", send(fd, b"x", 0)));
    show("receive", receive(fd, 10, 0));
    show("receive_again", receive(fd, 10, 0));
    send(fd, b"x", 0).expect("it goes");
    disconnect(fd).expect("no peer");
    show("after_disconnect", error(fd));
    close(fd);
}

fn reported(t: &mut Report, address: &str) {
    let nobody = format!("{address}:9");
    let v4 = !address.starts_with('[');
    let (level, name) = if v4 { (IPPROTO_IP, IP_RECVERR) } else { (IPPROTO_IPV6, IPV6_RECVERR) };
    let mut show = |case: &str, what: String| t.show(&format!("{address}_{case}"), what);
    let fd = socket_for(address, SOCK_DGRAM);
    show("report_nothing", receive_message(fd, 20, MSG_ERRQUEUE));
    set_option(fd, level, name, 1).expect("an option");
    send_to(fd, b"to nobody", &nobody).expect("it goes");
    show("report_events", events(fd));
    show("report_error", error(fd));
    show("report_events_then", events(fd));
    show("report", receive_message(fd, 20, MSG_ERRQUEUE));
    show("report_events_after", events(fd));
    show("report_again", receive_message(fd, 20, MSG_ERRQUEUE));
    send_to(fd, b"one", &nobody).expect("it goes");
    show("pending", format!("{:?}", send_to(fd, b"two", &nobody)));
    show("report_short", receive_message(fd, 2, MSG_ERRQUEUE));
    show("rest", receive_message(fd, 20, MSG_ERRQUEUE));
    send_to(fd, b"one", &nobody).expect("it goes");
    show("receive_reported", receive(fd, 10, 0));
    show("receive_reported_again", receive(fd, 10, 0));
    close(fd);
}
