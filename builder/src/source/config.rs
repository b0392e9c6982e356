//! The image configuration: how an image wants to be run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::Digest;

/// How an image wants to be run: the parts Isopod obeys of an [OCI image
/// configuration](https://github.com/opencontainers/image-spec/blob/main/config.md). Everything may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments of the entrypoint, or the command where there is no entrypoint.
    pub cmd: Vec<String>,
    /// The environment, `KEY=VALUE` each.
    pub env: Vec<String>,
    /// The working directory; empty means `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group`, `uid:gid`, .. as in the image; empty means root.
    pub user: String,
    /// The signal that asks the application to end, `SIGTERM` or `15`.
    pub stop_signal: Option<String>,
    /// Paths that hold data of their own, sorted.
    pub volumes: Vec<String>,
    /// `80/tcp`, `53/udp`, `8080`, sorted.
    pub exposed_ports: Vec<String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The CPU, in Go's words: `amd64`.
    pub architecture: String,
    /// The operating system, in Go's words: `linux`.
    pub os: String,
}

impl ImageConfig {
    /// Reads an image configuration, OCI's or Docker's, and the digests of its uncompressed layers, lowest
    /// first.
    ///
    /// # Errors
    /// What of the JSON is not as it must be.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<Digest>), serde_json::Error> {
        let file: ConfigFile = serde_json::from_slice(json)?;
        let run = file.config.unwrap_or_default();
        let config = Self {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            exposed_ports: run.exposed_ports.unwrap_or_default().into_keys().collect(),
            labels: run.labels.unwrap_or_default(),
            architecture: file.architecture,
            os: file.os,
        };
        Ok((config, file.rootfs.diff_ids.unwrap_or_default()))
    }
}

/// The file as registries and archives hold it. Docker writes `null` where OCI leaves out.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_configuration_is_read() {
        let json = format!(
            r#"{{"created":"2024-01-01T00:00:00Z","architecture":"amd64","os":"linux","variant":"v3",
            "config":{{"Hostname":"","User":"www:adm","ExposedPorts":{{"80/tcp":{{}},"443/tcp":{{}}}},"Env":["A=b"],
            "Entrypoint":["/e"],"Cmd":["c","d"],"Volumes":{{"/data":{{}}}},"WorkingDir":"/w","Labels":{{"l":"m"}},
            "StopSignal":"SIGQUIT","OnBuild":null}},
            "rootfs":{{"type":"layers","diff_ids":["{0}"]}},"history":[{{"empty_layer":true}}]}}"#,
            Digest::of(b"layer")
        );
        let (config, diff_ids) = ImageConfig::parse(json.as_bytes()).unwrap();
        assert_eq!(diff_ids, [Digest::of(b"layer")]);
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = ImageConfig {
            entrypoint: text(&["/e"]),
            cmd: text(&["c", "d"]),
            env: text(&["A=b"]),
            working_dir: "/w".into(),
            user: "www:adm".into(),
            stop_signal: Some("SIGQUIT".into()),
            volumes: text(&["/data"]),
            exposed_ports: text(&["443/tcp", "80/tcp"]),
            labels: [("l".to_owned(), "m".to_owned())].into(),
            architecture: "amd64".into(),
            os: "linux".into(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn absent_and_null_fields_are_empty() {
        let null = r#"{"config":{"Entrypoint":null,"Cmd":null,"Env":null,"Volumes":null,"Labels":null},"rootfs":{"diff_ids":null}}"#;
        let bare = r#"{"rootfs":{"type":"layers"}}"#;
        for json in [null, bare] {
            assert_eq!(ImageConfig::parse(json.as_bytes()).unwrap(), (ImageConfig::default(), vec![]));
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for json in ["", "{}", "[]", r#"{"rootfs":{"diff_ids":["sha256:1"]}}"#] {
            assert!(ImageConfig::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
