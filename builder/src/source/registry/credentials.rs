//! Credentials for registries, from the files that Docker and the containers tools (Podman, Skopeo, Buildah)
//! write.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};

use crate::source::SourceError;

/// What proves who a user is, and the file it, or the name of the helper that gave it, was found in.
pub(super) struct Credentials {
    pub secret: Secret,
    pub file: PathBuf,
}

/// What proves who a user is. It is not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// Name and password.
    Password { user: String, password: String },
    /// What a login gave, for which a token service gives tokens.
    IdentityToken(String),
}

/// What Docker calls its own registry in its files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Finds the credentials for a repository; `None` when no file has any.
///
/// The places are those of `containers-auth.json(5)`: `$REGISTRY_AUTH_FILE` alone where it is set; else
/// `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json` and
/// `$DOCKER_CONFIG/config.json`.
pub(super) fn find(registry: &str, repository: &str) -> Result<Option<Credentials>, SourceError> {
    search(&files(|name| env::var_os(name)), registry, repository)
}

fn files(var: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = set("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = |dir: &str| set("HOME").map(|home| home.join(dir));
    let runtime = set("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let config =
        set("XDG_CONFIG_HOME").or_else(|| home(".config")).map(|dir| dir.join("containers/auth.json"));
    let docker = set("DOCKER_CONFIG").or_else(|| home(".docker")).map(|dir| dir.join("config.json"));
    [runtime, config, docker].into_iter().flatten().collect()
}

fn search(files: &[PathBuf], registry: &str, repository: &str) -> Result<Option<Credentials>, SourceError> {
    for file in files {
        let unreadable = |reason: String| SourceError::Credentials {
            registry: registry.to_owned(),
            file: file.clone(),
            reason,
        };
        let json = match fs::read(file) {
            Ok(json) => json,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if let Some(secret) = look_up(&json, registry, repository).map_err(unreadable)? {
            return Ok(Some(Credentials { secret, file: file.clone() }));
        }
    }
    Ok(None)
}

/// The credentials in one file, from its own entries or by the helper it names.
fn look_up(json: &[u8], registry: &str, repository: &str) -> Result<Option<Secret>, String> {
    let config: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| format!("it is not valid JSON: {error}"))?;
    let names = names(registry, repository);
    let has = |section: &str, name: &&String| config[section].get(name.as_str()).is_some();
    let entry = names.iter().find(|name| has("credHelpers", name) || has("auths", name));
    // A store for everything may know registries that no entry names. It goes by the name Docker uses.
    let store = config["credsStore"].as_str().filter(|store| !store.is_empty());
    let Some(name) = entry.or_else(|| store.and(names.last())) else { return Ok(None) };
    // Docker writes an empty entry for whom it has logged out.
    let own = &config["auths"][name.as_str()];
    if own["auth"] == ""
        && own.get("identitytoken").is_none()
        && config["credHelpers"].get(name.as_str()).is_none()
    {
        return Ok(None);
    }

    match docker_credential::get_credential_from_reader(json, name) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Secret::Password { user, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Secret::IdentityToken(token))),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { stdout, .. })
            if stdout.contains("credentials not found") =>
        {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            let said = format!("{stdout} {stderr}");
            Err(format!(
                "the helper {helper} failed: {}",
                said.split_whitespace().collect::<Vec<_>>().join(" ")
            ))
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            let helper = config["credHelpers"][name].as_str().or(store).unwrap_or("?");
            Err(format!("the helper docker-credential-{helper} cannot be run"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The names under which files may keep a registry's credentials, the most specific first, Docker's name for
/// it last.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let mut names = vec![];
    let mut path = format!("{registry}/{repository}");
    while let Some(slash) = path.rfind('/') {
        names.push(path.clone());
        path.truncate(slash);
    }
    names.extend(
        ["https://", "http://"]
            .iter()
            .flat_map(|scheme| ["", "/", "/v1/", "/v2/"].map(|suffix| format!("{scheme}{registry}{suffix}"))),
    );
    if registry == "docker.io" {
        names.extend(
            ["docker.io", "index.docker.io", "registry-1.docker.io", DOCKER_HUB].map(ToOwned::to_owned),
        );
    } else {
        names.push(registry.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user:secret` in base64.
    const AUTH: &str = "dXNlcjpzZWNyZXQ=";

    fn shown(secret: Secret) -> String {
        match secret {
            Secret::Password { user, password } => format!("{user}:{password}"),
            Secret::IdentityToken(token) => format!("identity {token}"),
        }
    }

    fn user(json: &str, registry: &str) -> Result<Option<String>, String> {
        look_up(json.as_bytes(), registry, "library/app").map(|found| found.map(shown))
    }

    #[test]
    fn entries_are_found_by_all_the_names_tools_write() {
        for (key, registry) in [
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("ghcr.io/library", "ghcr.io"),
            ("ghcr.io/library/app", "ghcr.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#);
            assert_eq!(user(&json, registry), Ok(Some("user:secret".into())), "{key}");
            assert_eq!(user(&json, "example.com"), Ok(None), "{key}");
        }
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let json = format!(r#"{{"auths":{{"r.io":{{"auth":"bzpv"}},"r.io/library":{{"auth":"{AUTH}"}}}}}}"#);
        assert_eq!(user(&json, "r.io"), Ok(Some("user:secret".into())));
    }

    #[test]
    fn what_cannot_be_used_is_explained() {
        for (json, reason) in [
            ("{", "not valid JSON"),
            (r#"{"auths":{"r.io":{"auth":"?"}}}"#, "decode"),
            (r#"{"credsStore":"no-such-helper"}"#, "docker-credential-no-such-helper cannot be run"),
            (
                r#"{"credHelpers":{"r.io":"no-such-helper"}}"#,
                "docker-credential-no-such-helper cannot be run",
            ),
        ] {
            let error = user(json, "r.io").unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
        for none in [r#"{"auths":{"r.io":{}}}"#, r#"{"auths":{"r.io":{"auth":""}}}"#] {
            assert_eq!(user(none, "r.io"), Ok(None), "{none}");
        }
        let token = r#"{"auths":{"r.io":{"auth":"","identitytoken":"t"}}}"#;
        assert_eq!(user(token, "r.io"), Ok(Some("identity t".to_owned())));
        assert_eq!(user("{}", "r.io"), Ok(None));
    }

    #[test]
    fn the_variable_names_the_only_file_and_the_others_come_in_order() {
        let paths = |vars: &[(&str, &str)]| {
            files(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        let vars = [
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
        ];
        assert_eq!(paths(&vars), [PathBuf::from("/a.json")]);
        let expected = ["/run/containers/auth.json", "/h/.config/containers/auth.json", "/d/config.json"];
        assert_eq!(paths(&vars[1..]), expected.map(PathBuf::from));
        assert_eq!(paths(&[]), Vec::<PathBuf>::new());
    }

    #[test]
    fn missing_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        fs::write(&file, format!(r#"{{"auths":{{"r.io":{{"auth":"{AUTH}"}}}}}}"#)).unwrap();
        let found = search(&[dir.path().join("none.json"), file.clone()], "r.io", "app").unwrap().unwrap();
        assert_eq!((shown(found.secret), found.file), ("user:secret".to_owned(), file));
        assert!(search(&[dir.path().to_owned()], "r.io", "app").is_err(), "a directory is no configuration");
    }
}
