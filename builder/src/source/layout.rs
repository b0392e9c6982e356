//! Images in files: OCI image layouts, and what `docker save` writes.
//!
//! `docker save` has written two formats: a `manifest.json` that lists members of the archive, and, since its
//! store is containerd's, an OCI layout with the same `manifest.json` beside it. The list is read where there
//! is one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Deserialize;

use super::archive::Files;
use super::error::Form;
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
    let not_a_layout = |reason: String| SourceError::malformed(files.place(), Form::Layout, reason);
    let read = |file: &str| {
        files.read(file, MAX_DOCUMENT)?.ok_or_else(|| not_a_layout(format!("there is no {file}")))
    };
    if !files.has("oci-layout") && files.has("manifest.json") {
        return Err(not_a_layout("what `docker save` wrote is read as docker-archive:FILE".to_owned()));
    }
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
        return Err(SourceError::malformed(place, Form::Saved, "there is no manifest.json"));
    };
    let list: Vec<Saved> = serde_json::from_slice(&list).map_err(|error| {
        SourceError::malformed(format!("manifest.json in {place}"), Form::Manifest, error)
    })?;
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
        return Err(SourceError::malformed(place, Form::Image, reason));
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
