//! Platforms, as `--platform` and image indexes name them.

use std::fmt;
use std::str::FromStr;

/// An operating system and a CPU in Go's words: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ..
    pub architecture: String,
    /// `v7`, `v8`, .. where the architecture has variants.
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, for example linux/amd64)")]
pub struct ParsePlatformError(String);

impl Platform {
    /// Whether an image for `self` serves who asked for `wanted`: a variant counts only where one was asked
    /// for.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

impl Default for Platform {
    /// `linux/amd64`, which the guest kernel runs.
    fn default() -> Self {
        Self { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture, ref variant @ ..] if variant.len() < 2 && parts.iter().all(plain) => {
                Ok(Self {
                    os: os.to_owned(),
                    architecture: normal(architecture).to_owned(),
                    variant: variant.first().map(ToString::to_string),
                })
            }
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

/// Go's word for an architecture that users know by the kernel's.
fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_variant_counts_only_when_asked_for() {
        assert!(platform("linux/arm/v7").serves(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").serves(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm").serves(&platform("linux/arm/v7")));
        assert!(!platform("windows/amd64").serves(&Platform::default()));
        assert!(platform("linux/x86_64").serves(&Platform::default()));
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux//v7"] {
            assert_eq!(bad.parse::<Platform>(), Err(ParsePlatformError(bad.into())));
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(text in "[a-z]{1,8}/[a-z0-9]{1,8}(/v[0-9])?") {
            prop_assert_eq!(platform(&text).to_string(), text);
        }
    }
}
