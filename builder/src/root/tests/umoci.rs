//! `umoci unpack` of the same layers, file by file.

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

#[test]
fn eight_layers_merge_as_umoci_unpacks_them() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can unpack owners and devices");
        return;
    }
    let dir = TempDir::new().unwrap();
    let layers = build(dir.path());
    let oci = dir.path().join("oci");
    layout(&oci, &layers);
    let bundle = dir.path().join("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:test", oci.display()), bundle.to_str().unwrap()]);

    let mut theirs = listing(&Tree::from_directory(&bundle.join("rootfs")).unwrap());
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
