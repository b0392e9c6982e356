//! Images in files: OCI image layouts, and what `docker save` writes.
//!
//! `docker save` has written two formats: a `manifest.json` that lists members of the archive, and, since its store is containerd's,
//! an OCI layout with the same `manifest.json` beside it. The list is read where there is one.

use std::sync::Arc;

use serde::Deserialize;

use super::archive::Files;
use super::manifest::{self, Description, Descriptor, Document};
use super::{Blob, Content, Damage, Options, Origin, RegistryReference, SourceError};
use crate::store::Digest;

/// Manifests and configurations larger than this are refused. Registries accept manifests up to 4 MiB.
pub(super) const MAX_DOCUMENT: u64 = 16 << 20;

/// The annotation that names an image in a layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation that carries the full reference in containerd's exports, whose `ref.name` is the tag alone.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

type Found = (Description, Arc<dyn Origin>);

/// The path of a blob in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Finds the image called `name`, or the only one, in an
/// [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
pub(super) fn resolve(files: Files, name: Option<&str>, options: &Options) -> Result<Found, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let not_a_layout = |reason: String| SourceError::malformed(files.place(), "an OCI image layout", reason);
    let read = |file: &str| {
        files.read(file, MAX_DOCUMENT)?.ok_or_else(|| not_a_layout(format!("there is no {file}")))
    };
    let marker: Marker =
        serde_json::from_slice(&read("oci-layout")?).map_err(|error| not_a_layout(error.to_string()))?;
    if marker.image_layout_version.split('.').next() != Some("1") {
        return Err(not_a_layout(format!("its layout version is {}", marker.image_layout_version)));
    }
    let index = read("index.json")?;
    let entries = Document::parse(&index, &files.place())?.manifests.unwrap_or_default();
    let chosen = choose(&files, &entries, name, options)?;
    let first = (chosen.digest, verified(&files, chosen)?);
    let description =
        manifest::describe(&files.place(), first, options, &mut |_, next| verified(&files, next))?;
    Ok((description, Arc::new(files)))
}

/// One entry of the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Finds the image called `name`, or the only one, in the output of `docker save`.
pub(super) fn resolve_docker(
    files: Files,
    name: Option<&str>,
    options: &Options,
) -> Result<Found, SourceError> {
    let place = files.place();
    let Some(list) = files.read("manifest.json", MAX_DOCUMENT)? else {
        if files.has("index.json") {
            return resolve(files, name, options);
        }
        return Err(SourceError::malformed(
            place,
            "the output of `docker save`",
            "there is no manifest.json",
        ));
    };
    let list: Vec<Saved> = serde_json::from_slice(&list)
        .map_err(|error| SourceError::malformed(format!("manifest.json in {place}"), "readable", error))?;
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let wanted = |saved: &&Saved| name.is_none_or(|name| tags(saved).iter().any(|tag| same_name(tag, name)));
    let mut matching = list.iter().filter(wanted);
    let (Some(saved), None) = (matching.next(), matching.next()) else {
        let names = list.iter().flat_map(tags).collect();
        return Err(SourceError::NoName { place, name: name.map(ToOwned::to_owned), names });
    };

    let json = files.read(&saved.config, MAX_DOCUMENT)?.ok_or_else(|| files.missing(&saved.config))?;
    let key = Digest::of(&json);
    let (config, diff_ids) = manifest::parse_config(&place, &json, &options.platform)?;
    let paths = saved.layers.as_deref().unwrap_or_default();
    if paths.len() != diff_ids.len() {
        let (members, ids) = (paths.len(), diff_ids.len());
        let reason = format!("its manifest names {members} layers, its configuration {ids}");
        return Err(SourceError::malformed(place, "a container image", reason));
    }
    let mut layers = Vec::new();
    for (path, diff_id) in paths.iter().zip(diff_ids) {
        let (_, size) = files.open(path)?.ok_or_else(|| files.missing(path))?;
        layers.push(Blob { diff_id, content: Content::Member(path.clone()), size });
    }
    Ok((Description { key, config, layers }, Arc::new(files)))
}

/// The entry called `name`, or the only one. Entries that differ in their platforms alone are one image.
fn choose<'a>(
    files: &Files,
    entries: &'a [Descriptor],
    name: Option<&str>,
    options: &Options,
) -> Result<&'a Descriptor, SourceError> {
    let names = |entry: &Descriptor| -> Vec<String> {
        [REF_NAME, CONTAINERD_NAME]
            .iter()
            .filter_map(|key| entry.annotation(key))
            .map(ToOwned::to_owned)
            .collect()
    };
    let wanted =
        |entry: &&Descriptor| name.is_none_or(|name| names(entry).iter().any(|known| same_name(known, name)));
    let matching: Vec<&Descriptor> = entries.iter().filter(wanted).collect();
    match matching[..] {
        [only] => return Ok(only),
        [first, ref others @ ..] if others.iter().all(|other| names(other) == names(first)) => {
            return manifest::choose(&files.place(), &matching, &options.platform);
        }
        _ => {}
    }
    let names = entries.iter().flat_map(names).collect();
    Err(SourceError::NoName { place: files.place(), name: name.map(ToOwned::to_owned), names })
}

/// Whether two names mean the same image: the same text, or the same reference once completed.
fn same_name(known: &str, asked: &str) -> bool {
    let complete = |name: &str| name.parse::<RegistryReference>().ok();
    known == asked || complete(known).is_some_and(|known| complete(asked).is_some_and(|asked| known == asked))
}

/// Reads a small blob and holds it to its descriptor.
fn verified(files: &Files, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
    let path = blob_path(&descriptor.digest);
    let bytes = files.read(&path, MAX_DOCUMENT)?.ok_or_else(|| files.missing(&path))?;
    check(&bytes, descriptor).map_err(|damage| SourceError::Damaged {
        what: descriptor.digest.to_string(),
        place: files.place(),
        damage,
    })?;
    Ok(bytes)
}

/// Holds the bytes of a document to its descriptor.
pub(super) fn check(bytes: &[u8], descriptor: &Descriptor) -> Result<(), Damage> {
    let (expected, actual) = (descriptor.size, bytes.len() as u64);
    match actual.cmp(&expected) {
        std::cmp::Ordering::Less => return Err(Damage::Truncated { expected, actual }),
        std::cmp::Ordering::Greater => return Err(Damage::Overlong { expected }),
        std::cmp::Ordering::Equal => {}
    }
    let (expected, actual) = (descriptor.digest, Digest::of(bytes));
    if actual == expected { Ok(()) } else { Err(Damage::Digest { expected, actual }) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::source::testing::{
        Packing, TestImage, TestStore, assert_same, descriptor, index, noise, tar, write_layout,
    };
    use crate::source::{Image, Platform};

    fn two_layers(packing: Packing, cmd: &str) -> TestImage {
        let tars =
            [1, 2].map(|seed| tar(&[("file", &noise(50_000, seed)), ("name", cmd.as_bytes())])).to_vec();
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
        pull(reference).map(|_| ()).expect_err(reference)
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
            assert!(error.hint().unwrap().contains("app:1") && error.hint().unwrap().contains('2'));
        }
        let options = Options { platform: "linux/arm64".parse().unwrap(), ..Options::default() };
        let store = TestStore::new();
        assert_eq!(store.pull(&format!("oci:{path}:app:1"), &options).unwrap().key, arm.digest());
        let error = store.pull(&format!("oci:{path}:2"), &options).unwrap_err();
        assert!(
            matches!(error, SourceError::NoPlatform { available, .. } if available == [Platform::default()])
        );
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
        assert!(error.hint().unwrap().contains("app:1, app:2"), "{error}");
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
            assert!(
                matches!(wrong, SourceError::Damaged { damage: Damage::Truncated { .. }, .. }),
                "{wrong}"
            );
            fs::remove_file(&path).unwrap();
            assert!(matches!(error(&reference), SourceError::Missing { .. }));
        }
    }

    #[test]
    fn what_is_no_layout_or_archive_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        assert!(error(&format!("oci:{path}")).to_string().contains("no oci-layout"));
        assert!(error(&format!("oci-archive:{path}/none.tar")).to_string().contains("none.tar"));
        for (content, expected) in [
            (b"".to_vec(), "no members"),
            (vec![b'x'; 2000], "not a tar archive"),
            (tar(&[("a", b"b")]), "not an OCI image layout"),
            (Packing::Gzip.pack(&noise(100_000, 1))[..5000].to_vec(), "not a readable archive"),
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
}
