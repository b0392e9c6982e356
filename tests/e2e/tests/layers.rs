//! Layers merge as other tools merge them: the guest sees the files that `umoci` unpacks.

use std::process::Command;

use anyhow::Result;
use isopod_e2e::image::{Image, Layer, Layout};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{disk, programs, succeed, tree};
use tar::EntryType;

/// Eight layers that add, replace, hide, link, and describe files in every way that an image may.
fn eight_layers() -> Result<Image> {
    let program = programs::bytes(&programs::usertest()?)?;
    let mut layers: Vec<Layer> = (0..8).map(|_| Layer::new()).collect();
    layers[0]
        .folder("etc", 0o755)
        .file("etc/kept", 0o644, b"from the first layer\n")
        .file("etc/replaced", 0o644, b"old\n")
        .file("etc/hidden", 0o644, b"never seen\n")
        .folder("data", 0o755)
        .file("data/a", 0o600, b"a\n")
        .file("data/b", 0o640, b"b\n")
        .folder("opaque", 0o711)
        .file("opaque/old", 0o644, b"old\n")
        .folder("dev", 0o755)
        .folder("proc", 0o755)
        .folder("sys", 0o755)
        .folder("tmp", 0o1777)
        .file("usertest", 0o755, &program);
    layers[1]
        .file("etc/replaced", 0o600, b"new content\n")
        .whiteout("etc/hidden")
        .hard_link("data/a-again", "data/a")
        .symlink("data/link", "../etc/kept")
        .symlink("data/absolute", "/etc/kept")
        .symlink("data/dangling", "nowhere");
    layers[2]
        .folder("opaque", 0o755)
        .file("opaque/.wh..wh..opq", 0o600, b"")
        .file("opaque/new", 0o644, b"new\n")
        .device("data/null", EntryType::Char, 0o666, 1, 3)
        .device("data/disk", EntryType::Block, 0o660, 8, 17)
        .device("data/pipe", EntryType::Fifo, 0o620, 0, 0);
    layers[3]
        .owned_file("data/owned", 0o644, 1000, 1001, b"owned\n")
        .owned_file("data/large-ids", 0o644, 1_000_000, 2_000_000, b"owned\n")
        .file("data/set-user", 0o4755, b"program\n")
        .file("data/set-group", 0o2755, b"program\n")
        .folder("data/sticky", 0o1777)
        .file("data/empty", 0o000, b"")
        .file("data/large", 0o644, &(0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    // Whole folders go, and come back with other content.
    layers[4]
        .folder("gone", 0o755)
        .file("gone/deep", 0o644, b"x")
        .folder("back", 0o755)
        .file("back/old", 0o644, b"x");
    layers[5].whiteout("gone").whiteout("back").folder("other", 0o755).hard_link("other/b-again", "data/b");
    layers[6]
        .folder("back", 0o750)
        .file("back/new", 0o644, b"y")
        .file("data/link", 0o644, b"a file where a link was\n")
        .symlink("etc/replaced", "kept")
        .folder("data/dangling", 0o755)
        .file("data/dangling/inside", 0o644, b"a folder where a link was\n");
    let long = "long-name-".repeat(20);
    // Folders that no layer names would get the time of their unpacking from umoci.
    for depth in 0..=30 {
        layers[7].folder(&format!("data/deep{}", "/folder".repeat(depth)), 0o755);
    }
    layers[7]
        .pax(&[("SCHILY.xattr.user.note", b"a value"), ("SCHILY.xattr.user.binary", &[0xff, 1, 2])])
        .file("data/attributes", 0o644, b"attributes\n")
        .pax(&[("mtime", b"1500000000.123456789")])
        .file("data/fraction", 0o644, b"a time with a fraction\n")
        .file(&format!("data/{long}"), 0o644, b"a long name\n")
        .file(&format!("data/deep{}/end", "/folder".repeat(30)), 0o644, b"a long path\n")
        .file("data/odd name\twith \u{1}\u{7f}ü", 0o644, b"odd\n")
        .folder("data", 0o700)
        .whiteout("data/a");
    Ok(layers.into_iter().fold(Image::new(), |image, layer| image.layer(layer.finish())))
}

/// Lines about places that the guest fills itself, or that no image describes.
fn relevant(listing: &str) -> String {
    let lines = listing.lines().filter(|line| {
        let path = line.split('\t').next().unwrap_or_default();
        !["/proc", "/sys", "/dev", "/tmp", "/run"]
            .iter()
            .any(|place| path == *place || path.starts_with(&format!("{place}/")))
            && !["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc"].contains(&path)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a program of the host says about a folder.
fn listing(folder: &str) -> Result<String> {
    Ok(String::from_utf8(succeed(Command::new(programs::usertest()?).args(["--tree", folder]))?)?)
}

/// Compares the guest's files with umoci's.
fn expect_same_files(image: &Layout) -> Result<()> {
    anyhow::ensure!(disk::is_root()?, "umoci needs root to keep owners and devices: run this test as root");
    let folder = tempfile::tempdir()?;
    let unpacked = image.unpack(&folder.path().join("bundle"))?;
    let expected = listing(&unpacked.display().to_string())?;
    let outcome = Isopod::shared().run(&["run", &image.reference(), "/usertest", "--tree", "/"])?;
    outcome.expect_status(0);
    let differences = tree::differences(&relevant(&expected), &relevant(&outcome.stdout));
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    assert!(expected.lines().count() > 60, "umoci unpacked too little:\n{expected}");
    Ok(())
}

#[test]
fn eight_layers_as_umoci_unpacks_them() -> Result<()> {
    expect_same_files(&eight_layers()?.cached()?)
}

#[test]
fn debian_packages_as_umoci_unpacks_them() -> Result<()> {
    let program = programs::bytes(&programs::usertest()?)?;
    let image = isopod_e2e::image::debian(&["libc6", "bash", "perl-base", "coreutils"])?
        .files(&[("usertest", &program)]);
    expect_same_files(&image.cached()?)
}
