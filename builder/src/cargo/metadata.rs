//! `[package.metadata.isopod]`

use std::collections::BTreeMap;
use std::path::PathBuf;

use cargo_metadata::Package;
use serde::{Deserialize, Deserializer, de};

use crate::cli::Failure;
use crate::cli::memory;

/// What a package asks for.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Files and directories: the place in the root, and where it comes from, seen from the package's directory.
    #[serde(deserialize_with = "absolute")]
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Memory of the machine, in bytes.
    #[serde(deserialize_with = "size")]
    pub memory: Option<u64>,
}

impl Settings {
    /// The settings of `package`.
    pub fn of(package: &Package) -> Result<Self, Failure> {
        let Some(settings) = package.metadata.get("isopod") else { return Ok(Self::default()) };
        Self::deserialize(settings).map_err(|error| {
            Failure::new(
                format!("[package.metadata.isopod] in {} is not valid: {error}", package.manifest_path),
                "it may have args, env, files and memory; see cargo isopod --help".to_owned(),
            )
        })
    }
}

fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<PathBuf, PathBuf>, D::Error> {
    let files = BTreeMap::<PathBuf, PathBuf>::deserialize(from)?;
    match files.keys().find(|place| !place.is_absolute()) {
        Some(place) => {
            Err(de::Error::custom(format!("the place `{}` is not an absolute path", place.display())))
        }
        None => Ok(files),
    }
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| memory(&text).map_err(de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<Settings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_optional_and_checked() {
        assert_eq!(settings("{}"), Ok(Settings::default()));
        let all = r#"{"args":["a"],"env":{"K":"v"},"files":{"/x":"y"},"memory":"64m"}"#;
        let expected = Settings {
            args: vec!["a".to_owned()],
            env: [("K".to_owned(), "v".to_owned())].into(),
            files: [("/x".into(), "y".into())].into(),
            memory: Some(64 << 20),
        };
        assert_eq!(settings(all), Ok(expected));
        assert!(settings(r#"{"file":{}}"#).unwrap_err().contains("unknown field `file`"));
        assert!(settings(r#"{"files":{"x":"y"}}"#).unwrap_err().contains("not an absolute path"));
        assert!(settings(r#"{"memory":"lots"}"#).unwrap_err().contains("a size is a number"));
    }
}
