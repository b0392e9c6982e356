//! `umoci unpack` of the same layers, file by file.

use ::tar::EntryType;
use proptest::prelude::*;

use super::*;

/// A shell script makes each layer's tar, so that GNU tar has its say about formats.
const LAYERS: [&str; 8] = [
    // 1: a small system with all kinds of nodes.
    "mkdir -p usr/bin usr/lib etc var/log tmp dev home/user; ln -s usr/bin bin; ln -s usr/lib lib
     printf 'root:x:0:0::/root:/bin/sh\n' > etc/passwd; head -c 300000 /dev/urandom > usr/bin/tool
     ln usr/bin/tool usr/bin/tool-1.0; chmod 4755 usr/bin/tool; chmod 1777 tmp; chmod 2750 home/user
     mknod dev/null c 1 3; mknod dev/big b 259 70000; mkfifo tmp/pipe; chown 1000:100 home/user
     touch -d '1999-12-31 23:59:59.123456789' etc/old; for i in $(seq 500); do echo $i > var/log/$i; done
     tar --format=posix --xattrs -cf \"$OUT\" .",
    // 2: names.
    "mkdir odd; cd odd; touch 'with space' $'new\\nline' $'not\\xffutf8' -- '-dash' '!' '~' 'ä'
     n=$(printf '%0250d' 1); mkdir -p $n/$n; echo deep > $n/$n/$n; ln -s $n/$n/$n link; cd ..
     tar --format=gnu -cf \"$OUT\" odd",
    // 3: whiteouts and a link to a lower layer, which GNU tar makes only of what is there.
    "mkdir -p usr/bin var/log; touch var/log/.wh.1 var/log/.wh.2 .wh.home; echo new > var/log/3
     tar --format=posix -cf \"$OUT\" var .wh.home",
    // 4: an opaque directory, with entries before and after the mark.
    "mkdir -p odd/inner; echo a > odd/a; touch odd/.wh..wh..opq; echo z > odd/z
     tar --format=ustar --no-recursion -cf \"$OUT\" odd odd/a odd/inner odd/.wh..wh..opq odd/z",
    // 5: file over directory, directory over file and link; metadata of an existing directory.
    "echo file > tmp; mkdir -p etc/old bin; echo x > etc/old/x; echo y > bin/y; chmod 700 etc; chown 5:6 etc
     touch -d '2001-02-03 04:05:06.7' etc; tar --format=posix -cf \"$OUT\" tmp etc bin",
    // 6: through a link of a lower layer, and without entries for parents.
    "mkdir -p lib new/parents; echo so > lib/lib.so; echo p > new/parents/p
     tar --format=posix -cf \"$OUT\" lib/lib.so new/parents/p",
    // 7: sparse files and large numbers.
    "truncate -s 10M hole; printf data | dd of=hole bs=1 seek=5000000 conv=notrunc status=none; chown 3000000000:4000000000 hole
     printf end >> hole; truncate -s 1M empty; tar --format=posix -S -cf \"$OUT\" hole empty",
    // 8: hard links in one more layer, one of them over an old name.
    "mkdir usr; echo 1 > usr/one; ln usr/one usr/two; ln -s nowhere usr/three; ln usr/three usr/four
     tar --format=posix -cf \"$OUT\" usr",
];

fn build(dir: &Path) -> Vec<TestLayer> {
    let make = |(number, script): (usize, &&str)| {
        let work = dir.join(format!("layer{number}"));
        std::fs::create_dir(&work).unwrap();
        let file = NamedTempFile::new_in(dir).unwrap();
        let out = file.path().to_str().unwrap();
        let work = work.to_str().unwrap();
        run("env", &["-C", work, &format!("OUT={out}"), "bash", "-euc", script]);
        from_tar(file)
    };
    LAYERS.iter().enumerate().map(make).collect()
}

/// An OCI layout with the layers uncompressed.
fn layout(dir: &Path, layers: &[TestLayer]) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes).to_string();
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        format!(r#""digest":"{digest}","size":{}"#, bytes.len())
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!(r#""{}""#, layer.layer.diff_id)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[]}}"#,
        diff_ids.join(",")
    );
    let kind = "application/vnd.oci.image";
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            let blob = put(&std::fs::read(layer.file.path()).unwrap());
            format!(r#"{{"mediaType":"{kind}.layer.v1.tar",{blob}}}"#)
        })
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json",{}}},"layers":[{}]}}"#,
        put(config.as_bytes()),
        layers.join(",")
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json",{},"annotations":{{"org.opencontainers.image.ref.name":"test"}}}}]}}"#,
        put(manifest.as_bytes())
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// What `umoci unpack` makes of the layers; `None` where it refuses them.
fn unpack(dir: &Path, layers: &[TestLayer]) -> Option<Listing> {
    let (oci, bundle) = (dir.join("oci"), dir.join("bundle"));
    layout(&oci, layers);
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--image"]).arg(format!("{}:test", oci.display())).arg(&bundle);
    let output = umoci.output().expect("umoci must be installed, see `cargo xtask setup`");
    output.status.success().then(|| listing(&Tree::from_directory(&bundle.join("rootfs")).unwrap()))
}

fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "only root can unpack owners and devices: run this test as root"
    );
}

#[test]
fn eight_layers_merge_as_umoci_unpacks_them() {
    need_root();
    let dir = TempDir::new().unwrap();
    let layers = build(dir.path());
    let mut theirs = unpack(dir.path(), &layers).expect("umoci unpacks the layers");
    let tree = merge(&layers).unwrap();
    let mut ours = listing(&tree);
    // Parents without an entry of their own get the time at which umoci made them, and so does the directory they are made in.
    for path in ["", "/new", "/new/parents"] {
        for listing in [&mut ours, &mut theirs] {
            let line = listing.remove(path).unwrap();
            assert!(line.starts_with("directory 755 0:0"), "{path}: {line}");
        }
    }
    assert!(ours.len() > 500);
    assert_same(&ours, &theirs);
    assert_same(&super::erofs::read_back(&image(&tree)), &listing(&tree));
}

/// One entry of a random layer.
#[derive(Debug, Clone)]
enum Step {
    Directory(String, u32),
    File(String, u8),
    Symlink(String, String),
    Link(String, String),
    Whiteout(String),
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let target = prop_oneof![
        path.clone(),
        path.clone().prop_map(|path| format!("/{path}")),
        path.clone().prop_map(|path| format!("../{path}")),
        Just(".".to_owned()),
        Just("/".to_owned()),
    ];
    let whiteout = path.clone().prop_map(|path| {
        let (parent, name) = path.rsplit_once('/').map_or(("", &*path), |(parent, name)| (parent, name));
        format!("{parent}{}.wh.{name}", if parent.is_empty() { "" } else { "/" })
    });
    let opaque = path.clone().prop_map(|path| format!("{path}/.wh..wh..opq"));
    prop_oneof![
        // Without set-group-ID, which a host's mkdir hands down to parents that have no entry.
        3 => (path.clone(), 0o500_u32..0o10000).prop_map(|(path, mode)| Step::Directory(path, mode & 0o5777)),
        3 => (path.clone(), any::<u8>()).prop_map(|(path, byte)| Step::File(path, byte)),
        1 => (path.clone(), target).prop_map(|(path, target)| Step::Symlink(path, target)),
        1 => (path.clone(), path).prop_map(|(path, target)| Step::Link(path, target)),
        1 => whiteout.prop_map(Step::Whiteout),
        1 => opaque.prop_map(Step::Whiteout),
    ]
}

fn random_layer(steps: &[Step]) -> TestLayer {
    layer(|tar| {
        for step in steps {
            match step {
                Step::Directory(path, mode) => {
                    let mut header = raw_header(path.as_bytes(), EntryType::Directory, 0);
                    header.set_mode(*mode);
                    header.set_cksum();
                    tar.append(&header, std::io::empty()).unwrap();
                }
                Step::File(path, byte) => file(tar, path, &[*byte]),
                Step::Symlink(path, target) => link(tar, EntryType::Symlink, path, target),
                Step::Link(path, target) => link(tar, EntryType::Link, path, target),
                Step::Whiteout(path) => file(tar, path, b""),
            }
        }
    })
}

/// Without the times of directories, which umoci leaves at the present where a directory has no entry.
fn timeless(listing: Listing) -> Listing {
    let strip = |line: String| match line.strip_prefix("directory ") {
        Some(rest) => rest.split(' ').take(2).collect::<Vec<_>>().join(" "),
        None => line,
    };
    listing.into_iter().map(|(path, line)| (path, strip(line))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_layers_merge_as_umoci_unpacks_them(
        layers in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..4)
    ) {
        need_root();
        let dir = TempDir::new().unwrap();
        let layers: Vec<_> = layers.iter().map(|steps| random_layer(steps)).collect();
        if let Some(theirs) = unpack(dir.path(), &layers) {
            assert_same(&timeless(listing(&merge(&layers).unwrap())), &timeless(theirs));
        }
    }
}
