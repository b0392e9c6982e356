//! Images in directories and archives, whole and damaged.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::source::testing::{
    Packing, TestImage, TestStore, assert_readable, assert_same, descriptor, index, noise, tar, write_layout,
};
use crate::source::{Image, Platform};

fn two_layers(packing: Packing, cmd: &str) -> TestImage {
    let tars = [1, 2].map(|seed| tar(&[("file", &noise(50_000, seed)), ("name", cmd.as_bytes())])).to_vec();
    TestImage::new(tars, packing, "amd64", cmd)
}

/// All files under `dir` as a tar file.
fn archive(dir: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", dir).unwrap();
    builder.into_inner().unwrap()
}

/// Images as `docker save` wrote them before its version 25.
fn saved(images: &[(&TestImage, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    };
    let mut list = vec![];
    for (image, name) in images {
        let config = format!("{}.json", Digest::of(&image.config).hex());
        add(&config, &image.config);
        let mut paths = vec![];
        for layer in &image.layers {
            let path = format!("{}/layer.tar", Digest::of(layer).hex());
            add(&path, layer);
            paths.push(path);
        }
        list.push(json!({ "Config": config, "RepoTags": [name], "Layers": paths }));
    }
    add("manifest.json", Value::from(list).to_string().as_bytes());
    builder.into_inner().unwrap()
}

fn pull(reference: &str) -> Result<(Image, TestStore), SourceError> {
    let store = TestStore::new();
    let pulled = store.pull(reference, &Options::default());
    assert_eq!(store.count().1, 0, "no temporary file stays");
    pulled.map(|image| (image, store))
}

fn assert_pulls(reference: &str, image: &TestImage) {
    let (pulled, _store) = pull(reference).unwrap();
    assert_same(&pulled, image);
    assert_eq!(pulled.config.cmd, command(image));
}

fn command(image: &TestImage) -> Vec<String> {
    crate::source::ImageConfig::parse(&image.config).unwrap().0.cmd
}

fn error(reference: &str) -> SourceError {
    let error = pull(reference).map(|_| ()).expect_err(reference);
    assert_readable(&error);
    error
}

#[test]
fn layouts_and_their_archives_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = two_layers(packing, "app");
        image.write_blobs(dir.path());
        write_layout(dir.path(), &[image.entry(None, None)]);
        let path = dir.path().display();
        assert_pulls(&format!("oci:{path}"), &image);

        let files = tempfile::tempdir().unwrap();
        for (name, packing) in
            [("a.tar", Packing::Plain), ("a.tar.gz", Packing::Gzip), ("a.tar.zst", Packing::Zstd)]
        {
            let file = files.path().join(name);
            fs::write(&file, packing.pack(&archive(dir.path()))).unwrap();
            assert_pulls(&format!("oci-archive:{}", file.display()), &image);
            // What newer versions of `docker save` write, but for the manifest.json beside it.
            assert_pulls(&format!("docker-archive:{}", file.display()), &image);
        }
    }
}

#[test]
fn images_are_told_apart_by_name_and_platform() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(TestImage::small);
    let arm = TestImage::new(vec![tar(&[])], Packing::Gzip, "arm64", "arm");
    for image in [&one, &two, &arm] {
        image.write_blobs(dir.path());
    }
    let entries = [
        one.entry(Some("amd64"), Some("docker.io/library/app:1")),
        arm.entry(Some("arm64"), Some("docker.io/library/app:1")),
        two.entry(None, Some("2")),
    ];
    write_layout(dir.path(), &entries);
    let path = dir.path().display();
    assert_pulls(&format!("oci:{path}:app:1"), &one);
    assert_pulls(&format!("oci:{path}:2"), &two);
    for reference in [format!("oci:{path}"), format!("oci:{path}:3")] {
        let error = error(&reference);
        assert!(matches!(error, SourceError::NoName { .. }), "{error}");
        assert!(error.hint().contains("app:1") && error.hint().contains('2'));
    }
    let options = Options { platform: "linux/arm64".parse().unwrap(), ..Options::default() };
    let store = TestStore::new();
    assert_eq!(store.pull(&format!("oci:{path}:app:1"), &options).unwrap().key, arm.digest());
    let error = store.pull(&format!("oci:{path}:2"), &options).unwrap_err();
    assert!(matches!(error, SourceError::NoPlatform { available, .. } if available == [Platform::default()]));
}

#[test]
fn an_index_inside_a_layout_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let image = TestImage::small("app");
    image.write_blobs(dir.path());
    let list = index(&[image.entry(Some("amd64"), None)]);
    fs::write(dir.path().join(blob_path(&Digest::of(&list))), &list).unwrap();
    write_layout(dir.path(), &[descriptor("application/vnd.oci.image.index.v1+json", &list)]);
    assert_pulls(&format!("oci:{}", dir.path().display()), &image);
}

#[test]
fn saved_images_are_read_by_name() {
    let files = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|cmd| two_layers(Packing::Plain, cmd));
    let file = files.path().join("saved.tar");
    fs::write(&file, saved(&[(&one, "app:1"), (&two, "app:2")])).unwrap();
    let path = file.display();
    assert_pulls(&format!("docker-archive:{path}:app:2"), &two);
    assert_pulls(&format!("docker-archive:{path}:docker.io/library/app:1"), &one);
    let error = error(&format!("docker-archive:{path}"));
    assert!(error.hint().contains("app:1, app:2"), "{error}");
    fs::write(&file, Packing::Gzip.pack(&saved(&[(&one, "app:1")]))).unwrap();
    assert_pulls(&format!("docker-archive:{path}"), &one);
}

#[test]
fn links_between_layers_of_a_saved_image_are_followed() {
    let image = TestImage::small("app");
    let mut builder = tar::Builder::new(Vec::new());
    let file = |builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    };
    let link = |builder: &mut tar::Builder<Vec<u8>>, path: &str, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    };
    file(&mut builder, "aa/layer.tar", &image.layers[0]);
    link(&mut builder, "bb/layer.tar", "../aa/layer.tar");
    link(&mut builder, "loop", "loop");
    file(&mut builder, "config.json", &image.config);
    file(&mut builder, "manifest.json", br#"[{"Config":"config.json","Layers":["bb/layer.tar"]}]"#);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.tar");
    fs::write(&path, builder.into_inner().unwrap()).unwrap();
    assert_pulls(&format!("docker-archive:{}", path.display()), &image);
}

#[test]
fn damaged_blobs_of_a_layout_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = two_layers(Packing::Gzip, "app");
    write_layout(dir.path(), &[image.entry(None, None)]);
    let reference = format!("oci:{}", dir.path().display());
    for blob in image.blobs().chain([&image.manifest]) {
        image.write_blobs(dir.path());
        let path = dir.path().join(blob_path(&Digest::of(blob)));
        let mut damaged = blob.clone();
        damaged[blob.len() / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        let wrong = error(&reference);
        assert!(matches!(wrong, SourceError::Damaged { damage: Damage::Digest { .. }, .. }), "{wrong}");
        fs::write(&path, &blob[..blob.len() / 2]).unwrap();
        let wrong = error(&reference);
        assert!(matches!(wrong, SourceError::Damaged { damage: Damage::Truncated { .. }, .. }), "{wrong}");
        fs::remove_file(&path).unwrap();
        assert!(matches!(error(&reference), SourceError::Missing { .. }));
    }
}

#[test]
fn what_is_no_layout_or_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    assert!(error(&format!("oci:{path}")).to_string().contains("no oci-layout"));
    assert!(matches!(error(&format!("oci:{path}/none")), SourceError::Read { .. }));
    assert!(error(&format!("oci-archive:{path}/none.tar")).to_string().contains("none.tar"));
    for (content, expected) in [
        (b"".to_vec(), "no members"),
        (vec![b'x'; 2000], "not a tar archive"),
        (tar(&[("a", b"b")]), "not an OCI image layout"),
        (tar(&[("manifest.json", b"[]")]), "docker-archive:FILE"),
        (Packing::Gzip.pack(&noise(100_000, 1))[..5000].to_vec(), "not a tar archive"),
        (archive_cut(), "truncated"),
        (b"\xfd7zXZ\0".to_vec(), "xz"),
    ] {
        let file = dir.path().join("x.tar");
        fs::write(&file, content).unwrap();
        let error = error(&format!("oci-archive:{}", file.display())).to_string();
        assert!(error.contains(expected) && error.contains("x.tar"), "{expected}: {error}");
    }
    fs::write(dir.path().join("y.tar"), tar(&[("a", b"b")])).unwrap();
    assert!(error(&format!("docker-archive:{path}/y.tar")).to_string().contains("manifest.json"));
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(error(&format!("oci:{path}")).to_string().contains("2.0.0"));
}

fn archive_cut() -> Vec<u8> {
    let mut whole = tar(&[("a", &noise(10_000, 1))]);
    whole.truncate(3000);
    whole
}
