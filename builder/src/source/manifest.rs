//! Image manifests and indexes, OCI's and Docker's: from the first document of an image to its configuration
//! and list of layers.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::error::Form;
use super::{Blob, Content, ImageConfig, Options, Platform, SourceError};
use crate::store::Digest;

/// Indexes may name indexes; nobody nests them deeper than this in earnest.
const MAX_DEPTH: usize = 4;

/// Media types of image configurations. The last was written by Docker before 1.10.
const CONFIG_TYPES: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",
];

/// An OCI [descriptor](https://github.com/opencontainers/image-spec/blob/main/descriptor.md): names content
/// by digest and size.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    platform: Option<PlatformEntry>,
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformEntry {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    fn platform(&self) -> Option<Platform> {
        let entry = self.platform.clone()?;
        let variant = entry.variant.filter(|variant| !variant.is_empty());
        // Attestations beside images call their platform unknown.
        (entry.os != "unknown").then_some(Platform {
            os: entry.os,
            architecture: entry.architecture,
            variant,
        })
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// A manifest or an index. The fields tell which: `mediaType` is optional in OCI's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    pub manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads a manifest or index; `what` names it in errors.
    pub fn parse(json: &[u8], what: &impl fmt::Display) -> Result<Self, SourceError> {
        let document: Self = serde_json::from_slice(json)
            .map_err(|error| SourceError::malformed(what, Form::Manifest, error))?;
        match document.schema_version {
            2 => Ok(document),
            // Docker's first, without a configuration; obsolete since 2017.
            other => Err(SourceError::malformed(
                what,
                Form::Manifest,
                format!("its schema version is {other}, not 2"),
            )),
        }
    }
}

/// What kind of document a descriptor names: registries keep the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Config,
}

/// What the documents of an image say.
#[derive(Debug)]
pub(super) struct Description {
    /// The digest of the manifest.
    pub key: Digest,
    pub config: ImageConfig,
    pub layers: Vec<Blob>,
}

/// Brings the document that a descriptor names, verified.
pub(super) type Get<'a> = dyn FnMut(Kind, &Descriptor) -> Result<Vec<u8>, SourceError> + 'a;

/// Follows an image from its first document (manifest or index) to its configuration.
pub(super) fn describe(
    reference: &impl fmt::Display,
    (mut digest, mut json): (Digest, Vec<u8>),
    options: &Options,
    get: &mut Get<'_>,
) -> Result<Description, SourceError> {
    for _ in 0..MAX_DEPTH {
        let document = Document::parse(&json, reference)?;
        if let Some(entries) = &document.manifests {
            let chosen = choose(reference, &entries.iter().collect::<Vec<_>>(), &options.platform)?;
            digest = chosen.digest;
            json = get(Kind::Manifest, chosen)?;
            continue;
        }
        let (Some(config), Some(layers)) = (&document.config, &document.layers) else {
            let reason = "its manifest names no configuration or no layers";
            return Err(SourceError::malformed(reference, Form::Image, reason));
        };
        if !config.media_type.is_empty() && !CONFIG_TYPES.contains(&config.media_type.as_str()) {
            let reason = format!("its configuration is of type {}", config.media_type);
            return Err(SourceError::malformed(reference, Form::Image, reason));
        }
        let (config, diff_ids) = parse_config(reference, &get(Kind::Config, config)?, &options.platform)?;
        return Ok(Description { key: digest, config, layers: pair(reference, layers, &diff_ids)? });
    }
    Err(SourceError::malformed(reference, Form::Image, "its indexes name one another without end"))
}

/// Reads a configuration and makes sure that it is for the platform asked for.
pub(super) fn parse_config(
    reference: &impl fmt::Display,
    json: &[u8],
    wanted: &Platform,
) -> Result<(ImageConfig, Vec<Digest>), SourceError> {
    let (config, diff_ids) = ImageConfig::parse(json).map_err(|error| {
        SourceError::malformed(format!("the configuration of {reference}"), Form::Config, error)
    })?;
    let is = |field: &str, wanted: &str| field.is_empty() || field == wanted;
    if !is(&config.os, &wanted.os) || !is(&config.architecture, &wanted.architecture) {
        let platform = Platform { os: config.os, architecture: config.architecture, variant: None };
        return Err(SourceError::NoPlatform {
            reference: reference.to_string(),
            wanted: wanted.clone(),
            available: vec![platform],
        });
    }
    Ok((config, diff_ids))
}

/// The entry for a platform.
pub(super) fn choose<'a>(
    reference: &impl fmt::Display,
    entries: &[&'a Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, SourceError> {
    let mut serving: Vec<(&Descriptor, Platform)> = entries
        .iter()
        .filter_map(|entry| Some((*entry, entry.platform()?)))
        .filter(|(_, platform)| platform.serves(wanted))
        .collect();
    // Among variants that all serve, the plain one runs everywhere.
    serving.sort_by_key(|(_, platform)| platform.variant != wanted.variant);
    let unmarked = || entries.iter().find(|entry| entry.platform.is_none()).copied();
    serving.first().map(|(entry, _)| *entry).or_else(unmarked).ok_or_else(|| SourceError::NoPlatform {
        reference: reference.to_string(),
        wanted: wanted.clone(),
        available: entries.iter().filter_map(|entry| entry.platform()).collect(),
    })
}

fn pair(
    reference: &impl fmt::Display,
    layers: &[Descriptor],
    diff_ids: &[Digest],
) -> Result<Vec<Blob>, SourceError> {
    let malformed = |reason| SourceError::malformed(reference, Form::Image, reason);
    if layers.len() != diff_ids.len() {
        let (layers, ids) = (layers.len(), diff_ids.len());
        return Err(malformed(format!("its manifest names {layers} layers, its configuration {ids}")));
    }
    // Helm charts, signatures and encrypted layers wear the same clothes.
    let foreign = |layer: &&Descriptor| {
        let kind = &layer.media_type;
        !kind.is_empty() && (kind.contains("encrypted") || !kind.contains("tar"))
    };
    if let Some(layer) = layers.iter().find(foreign) {
        return Err(malformed(format!("it has a layer of type {}", layer.media_type)));
    }
    let blob = |(layer, diff_id): (&Descriptor, &Digest)| Blob {
        diff_id: *diff_id,
        content: Content::Blob(layer.digest),
        size: layer.size,
    };
    Ok(layers.iter().zip(diff_ids).map(blob).collect())
}
