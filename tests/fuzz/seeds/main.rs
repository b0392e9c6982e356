//! Adds what can be made here to the inputs that the targets start from, below the folder `$ISOPOD_CORPUS`, and fails if one of all the seeds
//! there does not get as far as it should. A fuzz target in form only: the instrumentation needs the fuzzer's runtime.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use isopod::root::{Content, Device, Kind, Meta, Tree, erofs};
use isopod_drivers::acpi::sample;
use isopod_drivers::disk::gpt::sample as gpt;
use isopod_manifest::{InterfaceConfig, Manifest, Method, Network, Port, Protocol, channel};

/// A target, and how far its seeds get at the least.
type Target = (&'static str, fn(&[u8]) -> usize, usize);

const TARGETS: [Target; 10] = [
    ("acpi", isopod_fuzz::acpi::run, 5),
    ("channel", isopod_fuzz::channel::run, 5),
    ("elf", isopod_fuzz::elf::run, 1),
    ("erofs", isopod_fuzz::erofs::run, 20),
    ("frames", isopod_fuzz::frames::run, 8),
    ("gpt", isopod_fuzz::gpt::run, 2),
    ("manifest", isopod_fuzz::manifest::run, 1),
    ("program", isopod_fuzz::program::run, 1),
    ("tar", isopod_fuzz::tar::run, 3),
    ("tcp", isopod_fuzz::tcp::run, 5),
];

libfuzzer_sys::fuzz_target!(
    init: {
        let corpus = std::env::var_os("ISOPOD_CORPUS").expect("ISOPOD_CORPUS names a folder");
        end(Path::new(&corpus));
    },
    |_data: &[u8]| {}
);

/// Does it all, and leaves nothing for the fuzzer to do.
fn end(corpus: &Path) {
    write(corpus);
    check(corpus);
    std::process::exit(0)
}

/// Every seed gets far.
fn check(corpus: &Path) {
    for (name, run, least) in TARGETS {
        let mut seeds = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("each target has a folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("seed-") {
                let reached = run(&fs::read(entry.path()).expect("a seed can be read"));
                assert!(reached >= least, "{} gets to {reached} of {least}", entry.path().display());
                seeds += 1;
            }
        }
        assert!(seeds > 0, "{name} has no seed");
    }
}

fn write(corpus: &Path) {
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::write(corpus.join(target).join(format!("seed-{name}")), bytes)
            .expect("the corpus can be written");
    };
    // Bodies without their envelopes, which the target puts around them.
    for (name, manifest) in [("least", Manifest::default()), ("full", manifest())] {
        let whole = manifest.encode();
        put("manifest", name, &whole[Manifest::enclose(b"").len()..]);
    }
    put("channel", "guest", &guest());
    put("channel", "host", &host());
    for (name, reduced) in [("microvm", true), ("pc", false)] {
        let devices = [sample::virtio_device(0xfeb0_2e00, 47, 1), sample::virtio_device(0xfeb0_2c00, 46, 7)];
        put("acpi", name, &sample::firmware(reduced, reduced, &devices).0.0);
    }
    let scratch = corpus.join("scratch");
    fs::create_dir_all(&scratch).expect("the corpus can be written");
    let tree = tree(&scratch);
    let root = fs::File::create(scratch.join("root")).expect("the corpus can be written");
    erofs::Image::plan(&tree).and_then(|image| image.write(&root)).expect("a sound tree");
    put("erofs", "ours", &fs::read(scratch.join("root")).expect("what was written"));
    fs::remove_dir_all(&scratch).expect("what was written");
    let (header, table) = gpt::sample();
    put("gpt", "two", &[header, table].concat());
    put("program", "script", b"#! /interpreter argument\n");
    put("tcp", "accepted", &accepted());
    put("frames", "v4", &frames_v4());
    put("frames", "v6", &frames_v6());
}

fn manifest() -> Manifest {
    Manifest {
        args: vec![b"/bin/sh".to_vec(), b"-c".to_vec(), b"echo \xff".to_vec()],
        env: vec![b"PATH=/bin:/usr/bin".to_vec()],
        volumes: vec![b"/data".to_vec()],
        ports: vec![Port { number: 80, protocol: Protocol::Tcp }],
        terminal: true,
        network: network(),
        ..Manifest::default()
    }
}

fn network() -> Network {
    let card = InterfaceConfig {
        ipv4: Method::Static {
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            gateway: Some([10, 0, 2, 2].into()),
        },
        ipv6: Method::None,
        mtu: Some(1400),
    };
    Network {
        interfaces: vec![card, InterfaceConfig::default()],
        nameservers: vec![[0xfec0, 0, 0, 0, 0, 0, 0, 3].into()],
        search: vec!["example.org".to_owned()],
        hosts: vec![([10, 0, 2, 2].into(), "host".to_owned())],
    }
}

fn frame(kind: channel::Kind, payload: &[u8]) -> Vec<u8> {
    [&channel::header(kind, payload.len())[..], payload].concat()
}

/// A connection that the peer opens, with data both ways and a gap, and closes.
fn accepted() -> Vec<u8> {
    const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    // What, flags, sequence, acknowledgment, window, length, words of options, scale.
    let mut steps = [&[0, SYN, 0, 0, 255, 0, 5, 0][..], &OPTIONS].concat();
    let rest: [[u8; 8]; 9] = [
        [0, ACK, 0, 0, 255, 9, 0, 0],
        [7, 0, 0, 0, 0, 100, 0, 0],
        [7, 0, 0, 0, 4, 100, 0, 2],
        [0, ACK, 9, 0, 255, 9, 0, 0],
        [0, ACK, 0, 0, 255, 9, 0, 0],
        [7, 0, 0, 0, 0, 100, 0, 0],
        [4, 0, 0, 0, 0, 255, 0, 2],
        [0, ACK | 1, 0, 0, 255, 0, 0, 0],
        [7, 0, 0, 0, 0, 1, 0, 7],
    ];
    steps.extend(rest.concat());
    steps
}

/// A frame that is received, with its sums put right.
fn received(to: [u8; 6], kind: [u8; 2], parts: &[&[u8]]) -> Vec<u8> {
    const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let frame = [&to[..], &ROUTER, &kind, &parts.concat()].concat();
    let [low, high] = (frame.len() as u16).to_le_bytes();
    [&[1, low, high][..], &frame].concat()
}

/// The header of a packet of IPv4: with `length` bytes behind it, and where in a whole it belongs.
fn header_v4(protocol: u8, to: [u8; 4], length: usize, place: u16) -> Vec<u8> {
    let [high, low] = (length as u16 + 20).to_be_bytes();
    let [first, second] = place.to_be_bytes();
    [&[0x45, 0, high, low, 0, 1, first, second, 64, protocol, 0, 0, 10, 0, 0, 2][..], &to].concat()
}

/// What comes by IPv4: questions, an echo, a datagram in two fragments, a SYN, an offer of an address, and word of a shorter path.
fn frames_v4() -> Vec<u8> {
    use isopod_fuzz::frames::HARDWARE;
    const IP: [u8; 2] = [8, 0];
    const OWN: [u8; 4] = [10, 0, 0, 1];
    let v4 = |protocol, to: [u8; 4], body: &[u8]| {
        received(HARDWARE, IP, &[&header_v4(protocol, to, body.len(), 0), body])
    };
    let question =
        [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0][..], &OWN].concat();
    let datagram = [&[0, 9, 0, 7, 0, 40, 0, 0][..], &[b'x'; 32]].concat();
    let mut offer = vec![2, 1, 6, 0, 0x12, 0x34, 0x56, 0x79];
    offer.resize(236, 0);
    offer[16..20].copy_from_slice(&[10, 0, 0, 77]);
    offer[28..34].copy_from_slice(&HARDWARE);
    offer.extend([
        0x63, 0x82, 0x53, 0x63, 53, 1, 2, 54, 4, 10, 0, 0, 2, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0,
    ]);
    offer.extend(b"\x77\x0d\x03eng\x07example\0\xff");
    let [high, low] = (offer.len() as u16 + 8).to_be_bytes();
    let offer = [&[0, 67, 0, 68, high, low, 0, 0][..], &offer].concat();
    let quoted =
        [&header_v4(17, [10, 0, 0, 2], 48, 0)[..12], &OWN, &[10, 0, 0, 2], &[0, 7, 0, 9, 0, 48, 0, 0]]
            .concat();
    let syn = [0x13, 0x88, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 255, 255, 0, 0, 0, 0, 2, 4, 5, 0xb4];
    [
        received([0xff; 6], [8, 6], &[&question]),
        v4(1, OWN, &[8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]),
        received(HARDWARE, IP, &[&header_v4(17, OWN, 24, 0x2000), &datagram[..24]]),
        received(HARDWARE, IP, &[&header_v4(17, OWN, 16, 3), &datagram[24..]]),
        v4(17, OWN, &datagram),
        v4(6, OWN, &syn),
        v4(2, [224, 0, 0, 1], &[0x11, 100, 0, 0, 0, 0, 0, 0]),
        vec![6, 1, 0, 2],
        v4(17, [10, 0, 0, 77], &offer),
        vec![6, 1, 0, 2, 4, 1, 0, 2],
        v4(1, OWN, &[&[3, 4, 0, 0, 0, 0, 2, 0x28][..], &quoted].concat()),
        vec![4, 200, 0],
        vec![2; 200],
        vec![7, 0, 0],
    ]
    .concat()
}

/// The same by IPv6: what neighbours and routers tell, an echo behind options, a datagram in two fragments.
fn frames_v6() -> Vec<u8> {
    use isopod_fuzz::frames::HARDWARE;
    const IP: [u8; 2] = [0x86, 0xdd];
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();
    let (own, near, router, all) =
        (octets("fd00::1"), octets("fd00::2"), octets("fe80::2"), octets("ff02::1"));
    let v6 = |next: u8, hops: u8, from: [u8; 16], to: [u8; 16], body: &[u8]| {
        let [high, low] = (body.len() as u16).to_be_bytes();
        let header = [&[0x60, 0, 0, 0, high, low, next, hops][..], &from, &to].concat();
        let hardware = if to[0] == 0xff { [0x33, 0x33, to[12], to[13], to[14], to[15]] } else { HARDWARE };
        received(hardware, IP, &[&header, body])
    };
    let asks = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &own, &[1, 1, 2, 0, 0, 0, 0, 2]].concat();
    let tells = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &near, &[2, 1, 2, 0, 0, 0, 0, 2]].concat();
    let prefix =
        [&[3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0][..], &octets("2001:db8::")].concat();
    let servers = [&[25, 3, 0, 0, 0, 0, 0, 60][..], &near].concat();
    let advertises = [
        &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 5, 0x78][..],
        &prefix,
        &servers,
    ]
    .concat();
    let echo = [60, 0, 5, 2, 0, 0, 1, 0, 58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0, 0, 1, 0, 1];
    let datagram = [&[0, 9, 0, 7, 0, 40, 0, 1][..], &[b'x'; 32]].concat();
    let group = [&[130, 0, 0, 0, 0, 10, 0, 0][..], &[0; 16], &[2, 125, 0, 0]].concat();
    [
        v6(58, 255, near, octets("ff02::1:ff00:1"), &asks),
        v6(58, 255, near, own, &tells),
        v6(58, 255, router, all, &advertises),
        v6(0, 64, near, own, &echo),
        v6(44, 64, near, own, &[&[17, 0, 0, 1, 0, 0, 0, 9][..], &datagram[..24]].concat()),
        v6(44, 64, near, own, &[&[17, 0, 0, 24, 0, 0, 0, 9][..], &datagram[24..]].concat()),
        v6(58, 1, router, all, &group),
        v6(43, 64, near, own, &[17, 0, 0, 1, 0, 0, 0, 0]),
        v6(17, 64, near, own, &datagram),
        vec![6, 1, 0, 1, 5, 100, 0],
        vec![3; 100],
        v6(58, 255, octets("fe80::9"), all, &asks),
        vec![6, 1, 0, 200],
    ]
    .concat()
}

/// Everything that a guest can say.
fn guest() -> Vec<u8> {
    use channel::Kind;
    let frames = [
        frame(Kind::Hello, &channel::VERSION.to_le_bytes()),
        frame(Kind::Credit, &4096_u32.to_le_bytes()),
        frame(Kind::Stdout, b"output"),
        frame(Kind::Stderr, b"errors"),
        frame(Kind::Log, b"words"),
        frame(Kind::Stdout, b""),
        frame(Kind::Exit, &[3]),
    ];
    frames.concat()
}

/// Everything that a host can say.
fn host() -> Vec<u8> {
    use channel::Kind;
    let frames = [
        frame(Kind::Window, &[24, 0, 80, 0]),
        frame(Kind::Stdin, b"some input"),
        frame(Kind::Signal, &[28]),
        frame(Kind::Stdin, b""),
    ];
    frames.concat()
}

/// Attributes, folders of several blocks, a file in chunks, devices and links; made with files in `scratch`.
fn tree(scratch: &Path) -> Tree {
    // The holes of a host's file become chunks.
    let sparse = fs::File::create(scratch.join("hole")).expect("the corpus can be written");
    sparse.set_len(1 << 20).expect("the corpus can be written");
    let mut tree = Tree::from_directory(scratch).expect("what was written");
    let file = |bytes: &[u8]| Kind::File(Content::bytes(bytes));
    let mut insert = |path: &str, meta: Meta, kind: Kind| {
        tree.insert(path.as_bytes(), meta, kind).expect("a sound tree");
    };
    let xattrs: BTreeMap<Box<[u8]>, Box<[u8]>> = BTreeMap::from([
        (b"user.name"[..].into(), b"value"[..].into()),
        (b"security.other"[..].into(), [7; 300][..].into()),
    ]);
    insert("/attributes", Meta { xattrs, ..Meta::with_mode(0o644) }, file(b"content"));
    insert("/page", Meta::with_mode(0o644), file(&[1; 5000]));
    insert("/link", Meta::with_mode(0o777), Kind::Symlink(b"page"[..].into()));
    insert("/null", Meta::with_mode(0o666), Kind::CharDevice(Device::new(1, 3).expect("a device")));
    for number in 0..150 {
        insert(&format!("/many/a-file-with-a-long-name-{number:03}"), Meta::with_mode(0o600), file(b""));
    }
    tree
}
