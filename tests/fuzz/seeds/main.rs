//! Adds what can be made here to the inputs that the targets start from, below the folder `$ISOPOD_CORPUS`, and fails if one of all the seeds
//! there does not get as far as it should. A fuzz target in form only: the instrumentation needs the fuzzer's runtime.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use isopod::root::{Content, Device, Kind, Meta, Tree, erofs};
use isopod_drivers::acpi::sample;
use isopod_manifest::{InterfaceConfig, Manifest, Method, Network, Port, Protocol, channel};

/// A target, and how far its seeds get at the least.
type Target = (&'static str, fn(&[u8]) -> usize, usize);

const TARGETS: [Target; 8] = [
    ("acpi", isopod_fuzz::acpi::run, 5),
    ("channel", isopod_fuzz::channel::run, 5),
    ("elf", isopod_fuzz::elf::run, 1),
    ("erofs", isopod_fuzz::erofs::run, 20),
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
    put("program", "script", b"#! /interpreter argument\n");
    put("tcp", "accepted", &accepted());
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
        ipv4: Method::Static { address: [10, 0, 2, 15].into(), prefix: 24, gateway: Some([10, 0, 2, 2].into()) },
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
