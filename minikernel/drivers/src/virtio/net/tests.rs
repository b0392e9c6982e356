use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::network::Cut;
use crate::network::tests::Pieces;
use crate::virtio::simulated::{Buffer, Simulated};
use crate::virtio::{Status, feature as common};

const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn configuration(status: u16, pairs: u16, mtu: u16) -> Vec<u8> {
    [&ADDRESS[..], &status.to_le_bytes(), &pairs.to_le_bytes(), &mtu.to_le_bytes(), &[0; 4]].concat()
}

type Net = Arc<VirtioNet<Pieces>>;

fn start_with(features: u64, config: &[u8], queues: &[u16], cpus: usize) -> (Arc<Simulated>, Net) {
    let (device, transport) = Simulated::new(features, config, queues);
    let card = VirtioNet::start(transport, cpus, OWN).unwrap();
    assert!(device.status().contains(Status::DRIVER_OK));
    (device, card)
}

fn card(features: u64) -> (Arc<Simulated>, Net) {
    start_with(features, &configuration(1, 1, 1500), &[256, 256, 64], 1)
}

/// What a frame's header says.
fn header(flags: u8, kind: u8, size: u16, buffers: u16) -> Vec<u8> {
    let mut bytes = vec![flags, kind, 0, 0];
    bytes.extend(size.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(buffers.to_le_bytes());
    bytes
}

/// Fills buffers of the queue for frames that come in, with a frame in each.
fn deliver(device: &Simulated, parts: &[&[u8]]) {
    for part in parts {
        let buffer = device.take(0).expect("a buffer");
        buffer.fill(part);
        device.give_back(0, u32::from(buffer.head), part.len() as u32);
    }
}

fn frames(card: &Net) -> Vec<Incoming> {
    let mut frames = Vec::new();
    assert!(!card.receive(0, 64, &mut frames));
    frames
}

fn sent(device: &Simulated) -> Buffer {
    device.take(1).expect("a frame")
}

/// Whether somebody who waits for a pair would go on.
fn is_awake(card: &Net, pair: usize) -> bool {
    card.is_due(pair)
}

#[test]
fn what_the_device_says_of_itself_is_taken() {
    let all = feature::MAC | feature::MTU | feature::STATUS | feature::SUM | feature::CUT_V4;
    let (_, card) = start_with(all, &configuration(1, 1, 9000), &[256, 256], 1);
    assert_eq!((card.address(), card.mtu(), card.pairs()), (ADDRESS, 9000, 1));
    assert_eq!(card.abilities(), Abilities::SUMS | Abilities::CUTS_V4);
    assert!(card.is_up());
    let (_, card) = start_with(0, &[], &[256, 256], 4);
    assert_eq!((card.address(), card.mtu(), card.abilities()), (OWN, 1500, Abilities::empty()));
    assert!(card.is_up(), "a card that does not say has a link");
    let (_, card) = start_with(feature::STATUS, &configuration(0, 0, 0), &[256, 256], 1);
    assert!(!card.is_up());
    // Who cuts must sum up.
    let (_, card) = start_with(feature::CUT_V4 | feature::CUT_V6, &[], &[256, 256], 1);
    assert_eq!(card.abilities(), Abilities::empty());
    let (_, transport) = Simulated::new(0, &[], &[256]);
    assert_eq!(VirtioNet::<Pieces>::start(transport, 1, OWN).unwrap_err(), StartError::Queue);
}

#[test]
fn segments_are_glued_only_where_frames_may_lie_in_several_buffers() {
    let glue = feature::GUEST_SUM | feature::GUEST_CUT_V4 | feature::GUEST_CUT_V6;
    let (device, _) = card(glue);
    assert_eq!(device.accepted_features() & glue, feature::GUEST_SUM);
    let (device, _) = card(glue | feature::MERGES);
    assert_eq!(device.accepted_features() & glue, glue);
    assert_eq!(device.take(0).unwrap().room() as usize, LONG_BUFFER);
}

#[test]
fn frames_come_in_and_their_buffers_go_back() {
    let (device, card) = card(feature::MERGES | common::EVENT_INDEX);
    assert_eq!(device.notified(0), 1, "buffers are there from the start");
    for round in 0..40u8 {
        assert!(!is_awake(&card, 0));
        let plain = [header(0, 0, 0, 1), vec![round; 60]].concat();
        let summed = [header(2, 0, 0, 1), vec![round; 1514]].concat();
        deliver(&device, &[&plain, &summed]);
        assert!(is_awake(&card, 0));
        let frames = frames(&card);
        let seen: Vec<_> = frames.iter().map(|frame| (frame.first.len(), frame.verified)).collect();
        assert_eq!(seen, [(60, false), (1514, true)]);
        assert!(frames.iter().all(|frame| frame.first.iter().all(|byte| *byte == round)));
        assert!(frames.iter().all(|frame| frame.first.capacity() == frame.first.len()));
    }
}

#[test]
fn an_interrupt_is_wanted_for_the_next_frame_only() {
    let (device, card) = card(common::EVENT_INDEX);
    assert!(!is_awake(&card, 0));
    let frame = [header(0, 0, 0, 1), vec![1; 60]].concat();
    deliver(&device, &[&frame]);
    assert!(device.interrupt_wanted(0));
    deliver(&device, &[&frame]);
    assert!(!device.interrupt_wanted(0));
    device.interrupt();
    assert_eq!(frames(&card).len(), 2);
    assert!(is_awake(&card, 0), "the interrupt has not been looked at");
    assert!(!is_awake(&card, 0));
}

#[test]
fn a_long_frame_lies_in_several_buffers() {
    let (device, card) = card(feature::MERGES | feature::GUEST_SUM | feature::GUEST_CUT_V4);
    let bytes: Vec<u8> = (0..60_000u32).map(|at| (at / 7) as u8).collect();
    let whole = [header(1, 1, 1448, 15), bytes.clone()].concat();
    let parts: Vec<&[u8]> = whole.chunks(LONG_BUFFER).collect();
    assert_eq!(parts.len(), 15);
    // From the first frame on: the device would wait for more buffers, and the driver for frames.
    deliver(&device, &parts);
    let mut frames = frames(&card);
    assert_eq!((frames.len(), frames[0].verified, frames[0].segment_size), (1, true, 1448));
    let frame = frames.remove(0);
    let pieces: Vec<usize> = [&frame.first].into_iter().chain(&frame.rest).map(Vec::len).collect();
    assert!(pieces.len() <= 5 && pieces.iter().all(|piece| *piece <= 16 << 10), "{pieces:?}");
    assert_eq!([frame.first].into_iter().chain(frame.rest).flatten().collect::<Vec<u8>>(), bytes);
}

#[test]
fn a_batch_ends_at_its_limit() {
    let (device, card) = card(0);
    let frame = [header(0, 0, 0, 1), vec![1; 60]].concat();
    deliver(&device, &[frame.as_slice(); 5]);
    let mut taken = Vec::new();
    assert!(card.receive(0, 3, &mut taken));
    assert_eq!(taken.len(), 3);
    assert!(!card.receive(0, 64, &mut taken));
    assert_eq!(taken.len(), 5);
}

#[test]
fn a_payload_is_sent_from_where_it_lies() {
    let (device, card) = card(feature::SUM | feature::CUT_V4 | common::EVENT_INDEX);
    let work = Work { checksum: Some((34, 16)), cut: Some(Cut { v6: false, size: 1448 }) };
    let payload = Pieces(vec![vec![1; 3000], vec![2; 2000]]);
    card.transmit(&[7; 66], payload, &work).unwrap();
    assert!(device.take_is_empty(1), "not before the batch is complete");
    card.flush();
    card.flush();
    assert_eq!(device.notified(1), 1);
    let frame = sent(&device);
    assert_eq!(frame.input[..12], [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
    assert_eq!(frame.input[12..78], [7; 66]);
    assert_eq!(frame.input[78..], [vec![1; 3000], vec![2; 2000]].concat());
    device.give_back(1, u32::from(frame.head), 0);
    assert!(!device.interrupt_wanted(1));
}

#[test]
fn what_is_short_or_in_many_pieces_is_copied() {
    let (device, card) = card(0);
    let payloads = [Pieces(vec![]), Pieces(vec![vec![1; 100]]), Pieces(vec![vec![3; 50]; 100])];
    for payload in &payloads {
        card.transmit(&[7; 54], payload.clone(), &Work::default()).unwrap();
        card.flush();
        let frame = sent(&device);
        assert_eq!(frame.input[..66], [vec![0; 12], vec![7; 54]].concat());
        assert_eq!(frame.input[66..], payload.0.concat());
        device.give_back(1, u32::from(frame.head), 0);
    }
}

#[test]
fn a_frame_without_room_comes_back_and_room_is_told() {
    for features in [0, common::EVENT_INDEX] {
        let (device, card) = start_with(features, &[], &[256, 16], 1);
        let send = |number: u8| card.transmit(&[number; 54], Pieces(vec![]), &Work::default());
        for number in 0..16 {
            send(number).unwrap();
        }
        assert_eq!(send(16), Err(Pieces(vec![])));
        card.flush();
        assert!(!card.collect(0) && !is_awake(&card, 0));
        for number in 0..16 {
            let frame = sent(&device);
            assert_eq!(frame.input[12], number);
            device.give_back(1, u32::from(frame.head), 0);
        }
        device.interrupt();
        assert!(is_awake(&card, 0));
        assert!(card.collect(0), "there is room again");
        assert!(!card.collect(0), "which is told once");
        send(16).unwrap();
    }
}

#[test]
fn the_link_is_followed() {
    let (device, card) = card(feature::STATUS);
    device.set_config(&configuration(0, 1, 1500));
    device.interrupt();
    assert!(is_awake(&card, 0) && !card.is_up());
    device.set_config(&configuration(1, 1, 1500));
    device.interrupt();
    assert!(is_awake(&card, 0) && card.is_up());
    assert!(!card.takes_announcement());
}

#[test]
fn an_announcement_is_confirmed() {
    let (device, card) = card(feature::STATUS | feature::CONTROL | feature::ANNOUNCE);
    device.set_config(&configuration(3, 1, 1500));
    device.interrupt();
    assert!(card.takes_announcement());
    card.announced();
    card.announced();
    let command = device.take(2).unwrap();
    assert_eq!((command.input.as_slice(), command.room()), (&[3, 0][..], 1));
    assert!(device.take(2).is_none(), "once is enough");
    command.fill(&[0]);
    device.give_back(2, u32::from(command.head), 1);
    device.set_config(&configuration(1, 1, 1500));
    device.interrupt();
    card.announced();
    assert!(device.take(2).is_some());
}

#[test]
fn pairs_are_used_once_the_device_agrees() {
    let features = feature::CONTROL | feature::PAIRS | feature::STATUS;
    let queues = [64, 64, 64, 64, 64, 64, 64, 64, 16];
    for answer in [0, 1] {
        let (device, card) = start_with(features, &configuration(1, 4, 1500), &queues, 2);
        assert_eq!((card.pairs(), card.active.load(Ordering::Relaxed)), (2, 1));
        let command = device.take(8).unwrap();
        assert_eq!(command.input, [4, 0, 2, 0]);
        command.fill(&[answer]);
        device.give_back(8, u32::from(command.head), 1);
        device.interrupt();
        assert_eq!(card.active.load(Ordering::Relaxed), if answer == 0 { 2 } else { 1 });
        assert!(is_awake(&card, 1));
    }
}

#[test]
fn a_device_that_breaks_the_rules_is_given_up() {
    type Breach = fn(&Simulated);
    let breaches: [Breach; 8] = [
        |device| device.give_back(0, 9999, 0),
        |device| {
            let head = device.take(0).unwrap().head;
            device.give_back(0, head.into(), 100_000);
        },
        |device| {
            let head = device.take(0).unwrap().head;
            device.give_back(0, head.into(), 11);
        },
        |device| device.set_used_index(0, 1000),
        |device| deliver(device, &[&header(0, 0, 0, 0)]),
        |device| deliver(device, &[&header(0, 0, 0, 2)]),
        |device| deliver(device, &[&header(0, 0, 0, u16::MAX)]),
        |device| {
            let head = device.take(0).unwrap().head;
            device.give_back(0, head.into(), 12);
            device.give_back(0, head.into(), 12);
        },
    ];
    for breach in breaches {
        let (device, card) = card(feature::MERGES);
        breach(&device);
        let resets = device.resets();
        frames(&card);
        assert_eq!(device.resets(), resets + 1);
        assert!(!card.is_up());
        // From here on nothing happens any more.
        assert!(frames(&card).is_empty());
        assert_eq!(card.transmit(&[7; 54], Pieces(vec![]), &Work::default()), Ok(()));
        card.flush();
        card.announced();
        device.interrupt();
        assert!(is_awake(&card, 0) && !is_awake(&card, 0));
        assert!(!card.collect(0));
    }
    let (device, card) = card(0);
    device.give_back(1, 3, 0);
    assert!(!card.collect(0) && !card.is_up());
}

/// What a hostile device or its driver's user does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The device fills a buffer with a header and says how long that is.
    Fill {
        queue: usize,
        header: [u8; 12],
        written: u32,
    },
    /// It returns what it likes.
    Return {
        queue: usize,
        head: u32,
        written: u32,
    },
    /// It returns what it was given.
    GiveBack {
        queue: usize,
        written: u32,
    },
    /// It counts as it likes.
    Count {
        queue: usize,
        index: u16,
    },
    Configure([u8; 12]),
    Interrupt,
    Receive(usize),
    Send {
        pieces: usize,
        length: usize,
    },
    Collect,
    Announce,
}

fn step() -> impl Strategy<Value = Step> {
    let queue = 0..3usize;
    let written = prop_oneof![0..70u32, 4090..4100u32, any::<u32>()];
    let header = (any::<[u8; 10]>(), prop_oneof![0..20u16, any::<u16>()]).prop_map(|(first, buffers)| {
        let mut header = [0; 12];
        header[..10].copy_from_slice(&first);
        header[10..].copy_from_slice(&buffers.to_le_bytes());
        header
    });
    prop_oneof![
        6 => (0..1usize, header, written.clone())
            .prop_map(|(queue, header, written)| Step::Fill { queue, header, written }),
        1 => (queue.clone(), prop_oneof![0..300u32, any::<u32>()], written.clone())
            .prop_map(|(queue, head, written)| Step::Return { queue, head, written }),
        6 => (queue.clone(), 0..2u32).prop_map(|(queue, written)| Step::GiveBack { queue, written }),
        1 => (queue, any::<u16>()).prop_map(|(queue, index)| Step::Count { queue, index }),
        1 => any::<[u8; 12]>().prop_map(Step::Configure),
        3 => Just(Step::Interrupt),
        6 => (1..80usize).prop_map(Step::Receive),
        6 => (0..40usize, 0..3000usize).prop_map(|(pieces, length)| Step::Send { pieces, length }),
        3 => Just(Step::Collect),
        1 => Just(Step::Announce),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a device does, nothing panics, and frames are no longer than the buffers that it was given.
    #[test]
    fn a_hostile_device_does_no_harm(
        features in any::<u64>(),
        config in any::<[u8; 12]>(),
        size in 1..256u16,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let features = features & (feature::PLAIN | feature::PAIRS | common::EVENT_INDEX);
        let (device, transport) = Simulated::new(features, &config, &[size, size, size, size, size]);
        let Ok(card) = VirtioNet::<Pieces>::start(transport, 2, OWN) else { return Ok(()) };
        for step in steps {
            if !device.status().contains(Status::DRIVER_OK) {
                // It has been given up, and has no queues any more.
                break;
            }
            match step {
                Step::Fill { queue, header, written } => {
                    if let Some(buffer) = device.take(queue) {
                        buffer.fill(&header[..header.len().min(buffer.room() as usize)]);
                        device.give_back(queue, buffer.head.into(), written);
                    }
                }
                Step::Return { queue, head, written } if device.has_queue(queue) => {
                    device.give_back(queue, head, written);
                }
                Step::GiveBack { queue, written } if device.has_queue(queue) => {
                    if let Some(buffer) = device.take(queue) {
                        device.give_back(queue, buffer.head.into(), written);
                    }
                }
                Step::Count { queue, index } if device.has_queue(queue) => device.set_used_index(queue, index),
                Step::Configure(config) => device.set_config(&config),
                Step::Interrupt => device.interrupt(),
                Step::Receive(limit) => {
                    let mut frames = Vec::new();
                    card.receive(0, limit, &mut frames);
                    prop_assert!(frames.len() <= limit);
                    for frame in frames {
                        let length = frame.first.len() + frame.rest.iter().map(Vec::len).sum::<usize>();
                        prop_assert!(length <= usize::from(size) << 17);
                    }
                }
                Step::Send { pieces, length } => {
                    let payload = Pieces(vec![vec![9; length / pieces.max(1)]; pieces]);
                    let _ = card.transmit(&[7; 54], payload, &Work::default());
                    card.flush();
                }
                Step::Collect => _ = card.collect(0),
                Step::Announce => {
                    card.takes_announcement();
                    card.announced();
                }
                Step::Return { .. } | Step::GiveBack { .. } | Step::Count { .. } => {}
            }
        }
    }
}
