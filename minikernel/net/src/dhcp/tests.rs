use super::client::{Change, Client};
use super::message::{Kind, parse};
use super::*;
use crate::address::{V4_PREFIX, v4};
use crate::link::port::{Checksum, Frame, Offloads, Port, Received};
use alloc::sync::Arc;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: [u8; 4] = [10, 0, 2, 2];

/// A server's message.
fn message(kind: u8, transaction: u32, address: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&transaction.to_be_bytes());
    bytes[16..20].copy_from_slice(&address);
    bytes[28..34].copy_from_slice(&OWN);
    bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    bytes.extend([53, 1, kind, 54, 4]);
    bytes.extend(SERVER);
    bytes.extend(options);
    bytes.push(255);
    bytes
}

const HOUR: [u8; 6] = [51, 4, 0, 0, 0x0e, 0x10];

/// The option of a question.
fn option_of(bytes: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let mut rest = &bytes[240..];
    while let [kind, length, others @ ..] = rest {
        let (value, others) = others.split_at(usize::from(*length));
        if *kind == wanted {
            return Some(value.to_vec());
        }
        rest = others;
    }
    None
}

/// What a client sends now, and to whom.
fn asks(client: &mut Client, now: u64) -> (Vec<u8>, Option<Address>) {
    let (asks, change) = client.expire(OWN, now, 0x7777_7777_1234_5678);
    assert_eq!(change, Change::None);
    let (question, to) = asks.unwrap();
    (question.emit().unwrap(), to)
}

fn answers(client: &mut Client, now: u64, bytes: &[u8]) -> Change {
    client.receive(parse(bytes, OWN, now).unwrap(), now)
}

fn bound(now: u64) -> Client {
    let mut client = Client::new(now);
    let discover = asks(&mut client, now).0;
    assert_eq!(option_of(&discover, 53).unwrap(), [1]);
    assert_eq!(answers(&mut client, now, &message(2, 0x1234_5678, [10, 0, 2, 15], &HOUR)), Change::None);
    assert_eq!(client.at, now);
    let request = asks(&mut client, now).0;
    assert_eq!(option_of(&request, 53).unwrap(), [3]);
    assert_eq!(option_of(&request, 50).unwrap(), [10, 0, 2, 15]);
    assert_eq!(option_of(&request, 54).unwrap(), SERVER);
    let Change::Leased(lease) = answers(&mut client, now, &message(5, 0x1234_5678, [10, 0, 2, 15], &HOUR))
    else {
        panic!()
    };
    assert_eq!((lease.address, lease.until), (v4(10, 0, 2, 15), now + 3600 * SECOND));
    client
}

#[test]
fn rfc_2131_3_1_an_address_is_offered_requested_and_given() {
    let client = bound(5 * SECOND);
    assert_eq!(client.at, 5 * SECOND + 1800 * SECOND);
    assert!(!client.fresh);
}

#[test]
fn rfc_4361_6_1_the_client_says_who_it_is() {
    let discover = asks(&mut Client::new(0), 0).0;
    let client = [255, 0, 0, 0, 9, 0, 3, 0, 1, 2, 0, 0, 0, 0, 9];
    assert_eq!(option_of(&discover, 61).unwrap(), client);
    assert_eq!((discover.len() >= 300, &discover[28..34]), (true, &OWN[..]));
    let wanted = option_of(&discover, 55).unwrap();
    let place = |kind| wanted.iter().position(|other| *other == kind).unwrap();
    assert!(place(121) < place(3), "RFC 3442");
}

#[test]
fn rfc_2131_4_1_who_is_not_answered_asks_ever_more_rarely() {
    let mut client = Client::new(0);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        asks(&mut client, now);
        waits.push((client.at - now) / SECOND);
        now = client.at;
    }
    for (wait, expected) in waits.iter().zip([4, 8, 16, 32, 64, 64, 64, 64]) {
        assert!((expected - 1..=expected).contains(wait), "{waits:?}");
    }
    assert!(!client.fresh, "nobody waits for the first answer any more");
}

#[test]
fn rfc_2131_4_4_5_a_lease_is_renewed_then_rebound_then_lost() {
    let mut client = bound(0);
    let (request, to) = asks(&mut client, 1800 * SECOND);
    assert_eq!((to, &request[12..16]), (Some(v4(10, 0, 2, 2)), &[10, 0, 2, 15][..]));
    assert!(option_of(&request, 50).is_none() && option_of(&request, 54).is_none());
    assert_eq!(client.at, 1800 * SECOND + 675 * SECOND);
    let renewed =
        answers(&mut client.clone(), 1801 * SECOND, &message(5, 0x1234_5678, [10, 0, 2, 15], &HOUR));
    assert!(matches!(renewed, Change::Leased(lease) if lease.until == (1801 + 3600) * SECOND));
    assert_eq!(asks(&mut client, 3150 * SECOND).1, None, "any server");
    assert_eq!(client.at, 3150 * SECOND + 225 * SECOND);
    let (asked, change) = client.expire(OWN, 3600 * SECOND, 1);
    assert_eq!((asked.unwrap().0.kind, change), (Kind::Discover, Change::Lost));
}

#[test]
fn rfc_2131_3_1_5_who_is_refused_begins_again() {
    let mut client = bound(0);
    asks(&mut client, 1800 * SECOND);
    assert_eq!(answers(&mut client, 1800 * SECOND, &message(6, 0x1234_5678, [0; 4], &[])), Change::Lost);
    assert_eq!(client.at, 1810 * SECOND);
    assert_eq!(option_of(&asks(&mut client, 1810 * SECOND).0, 53).unwrap(), [1]);
}

#[test]
fn a_request_that_nobody_answers_is_given_up() {
    let mut client = Client::new(0);
    asks(&mut client, 0);
    answers(&mut client, 0, &message(2, 0x1234_5678, [10, 0, 2, 15], &HOUR));
    let mut kinds = Vec::new();
    for _ in 0..6 {
        let now = client.at;
        kinds.extend(option_of(&asks(&mut client, now).0, 53).unwrap());
    }
    assert_eq!(kinds, [3, 3, 3, 3, 1, 1]);
}

#[test]
fn what_is_not_for_this_client_is_not_heeded() {
    let mut client = Client::new(0);
    asks(&mut client, 0);
    let good = message(2, 0x1234_5678, [10, 0, 2, 15], &HOUR);
    let other = message(2, 0x1234_5679, [10, 0, 2, 15], &HOUR);
    answers(&mut client, 0, &other);
    assert_ne!(client.at, 0);
    assert!(parse(&good, [2, 0, 0, 0, 0, 8], 0).is_none());
    for address in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        assert!(parse(&message(2, 1, address, &HOUR), OWN, 0).is_none());
    }
    assert!(parse(&message(2, 1, [10, 0, 2, 15], &[]), OWN, 0).is_none(), "no time");
    assert!(parse(&good[..200], OWN, 0).is_none());
    answers(&mut client, 0, &good);
    asks(&mut client, 0);
    // Another server's answer to another's request.
    let mut elsewhere = message(5, 0x1234_5678, [10, 0, 2, 77], &HOUR);
    elsewhere[248] = 9;
    assert_eq!(answers(&mut client, 0, &elsewhere), Change::None);
}

#[test]
fn rfc_2132_options_are_read() {
    let mut options = HOUR.to_vec();
    options.extend([
        1, 4, 255, 255, 255, 192, 3, 8, 10, 0, 2, 2, 10, 0, 2, 3, 6, 4, 10, 0, 2, 3, 26, 2, 5, 0xdc,
    ]);
    options.extend(b"\x0f\x0bexample.org\x0c\x04host");
    // In two pieces (RFC 3396).
    options.extend(b"\x77\x06\x03eng\xc0\x00\x77\x00");
    options.extend([121, 8, 24, 192, 168, 7, 10, 0, 2, 4, 121, 3, 0, 10, 0, 121, 2, 2, 1]);
    options.extend([121, 5, 32, 1, 2, 3, 4, 121, 4, 0, 0, 0, 0]);
    let Some((lease, renewal, rebinding)) =
        parse(&message(5, 1, [10, 0, 2, 15], &options), OWN, 0).unwrap().lease
    else {
        panic!()
    };
    assert_eq!(
        (lease.prefix, lease.mtu, lease.domain.as_deref()),
        (V4_PREFIX + 26, Some(1500), Some("example.org"))
    );
    assert_eq!(
        (lease.routers, lease.dns),
        ([v4(10, 0, 2, 2), v4(10, 0, 2, 3)].into(), [v4(10, 0, 2, 3)].into())
    );
    assert_eq!((lease.hostname.as_deref(), lease.search), (Some("host"), ["example.org".into()].into()));
    let routes = [
        (v4(192, 168, 7, 0), V4_PREFIX + 24, Some(v4(10, 0, 2, 4))),
        (ANY_V4, V4_PREFIX, Some(v4(10, 0, 2, 1))),
        (v4(1, 2, 3, 4), V4_PREFIX + 32, None),
    ];
    assert_eq!(lease.routes, routes);
    assert_eq!((renewal, rebinding), (1800 * SECOND, 3150 * SECOND));
    // A server that wants to be asked at once would be asked without end.
    let times = [&HOUR[..], &[58, 4, 0, 0, 0, 0, 59, 4, 0, 0, 0, 1]].concat();
    let (_, renewal, rebinding) =
        parse(&message(5, 1, [10, 0, 2, 15], &times), OWN, 0).unwrap().lease.unwrap();
    assert_eq!((renewal, rebinding), (60 * SECOND, 60 * SECOND));
    let none = parse(&message(5, 1, [172, 16, 0, 9], &HOUR), OWN, 0).unwrap().lease.unwrap().0;
    assert_eq!(none.prefix, V4_PREFIX + 16);
    let for_ever = parse(&message(5, 1, [172, 16, 0, 9], &[51, 4, 255, 255, 255, 255]), OWN, 7)
        .unwrap()
        .lease
        .unwrap()
        .0;
    assert_eq!(for_ever.until, FOREVER);
    let mut overloaded = message(5, 1, [10, 0, 2, 15], &[&HOUR[..], &[52, 1, 3]].concat());
    overloaded[108..115].copy_from_slice(&[6, 4, 9, 9, 9, 9, 255]);
    overloaded[44..51].copy_from_slice(&[3, 4, 8, 8, 8, 8, 255]);
    let lease = parse(&overloaded, OWN, 0).unwrap().lease.unwrap().0;
    assert_eq!((lease.dns, lease.routers), ([v4(9, 9, 9, 9)].into(), [v4(8, 8, 8, 8)].into()));
}

proptest! {
    #[test]
    fn any_message_is_read_or_refused(options in prop::collection::vec(any::<u8>(), 0..200), cut in 0..500usize) {
        let bytes = message(5, 1, [10, 0, 2, 15], &options);
        let _ = parse(&bytes, OWN, 0);
        let _ = parse(&bytes[..cut.min(bytes.len())], OWN, 0);
    }
}

/// A card that keeps the last frame.
#[derive(Default)]
struct Card(SpinLock<Option<Frame>>);

impl Port for Card {
    fn hardware_address(&self) -> [u8; 6] {
        OWN
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn is_up(&self) -> bool {
        true
    }
    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }
    fn transmit(&self, frame: &mut Frame) -> bool {
        *self.0.lock() = Some(frame.take());
        true
    }
    fn flush(&self) {}
}

#[test]
fn an_interface_without_an_address_gets_one() {
    let stack = Stack::new(|| 0x5555_5555_1234_5678);
    let card = Arc::new(Card::default());
    stack.add_interface("eth0", card.clone()).unwrap();
    let mut out = Outbox::new(0);
    stack.set_up(2, true, &mut out).unwrap();
    assert!(!stack.is_configuring());
    stack.set_dhcp(2, true, &mut out).unwrap();
    assert!(stack.is_configuring());
    for kind in [2, 5] {
        assert_eq!(stack.deadline(), Some(0));
        stack.expire(&mut out);
        let sent = card.0.lock().take().unwrap();
        let headers = sent.headers();
        assert_eq!(
            (&headers[..6], &headers[26..34], &headers[34..38]),
            (&[255; 6][..], &[0, 0, 0, 0, 255, 255, 255, 255][..], &[0, 68, 0, 67][..])
        );
        // The server speaks to the address that it gives.
        let answer = message(kind, 0x1234_5678, [10, 0, 2, 15], &HOUR);
        let header =
            IpHeader { whole: false, interface: 2, ..IpHeader::new(v4(10, 0, 2, 2), v4(10, 0, 2, 15), 64) };
        let mut ip = [0; crate::ip::HEADER_MAX];
        crate::ip::emit(&header, 17, answer.len() + 8, 0, &mut ip);
        let [high, low] = (answer.len() as u16 + 8).to_be_bytes();
        let frame =
            [&OWN[..], &[2; 6], &[8, 0], &ip[..20], &[0, 67, 0, 68, high, low, 0, 0], &answer].concat();
        let data = Chunk::copy_of(&frame).unwrap().into();
        stack.receive(2, Received { data, checksum: Checksum::Unknown, segment_size: 0 }, &mut out);
    }
    let Some(Event::Lease { interface: 2, lease: Some(lease) }) = stack.next_event() else {
        panic!("a lease")
    };
    assert_eq!(lease.address, v4(10, 0, 2, 15));
    assert!(!stack.is_configuring());
    stack.set_dhcp(2, false, &mut out).unwrap();
    assert!(matches!(stack.next_event(), Some(Event::Lease { interface: 2, lease: None })));
}
