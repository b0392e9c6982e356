//! References as users write them.

use super::*;
use proptest::prelude::*;

fn registry(text: &str) -> RegistryReference {
    match text.parse() {
        Ok(Reference::Image(ImageReference::Registry(reference))) => reference,
        other => panic!("{text}: {other:?}"),
    }
}

fn error(text: &str) -> ParseReferenceError {
    text.parse::<Reference>().expect_err(text)
}

#[test]
fn short_names_are_completed_as_docker_completes_them() {
    for (short, full) in [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker://debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest"),
        ("owner/name:1", "docker.io/owner/name:1"),
        ("ghcr.io/x/y", "ghcr.io/x/y:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("HOST/app", "HOST/app:latest"),
        ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
        ("example.com:5000/a/b__c/d-e.f:T_1.x", "example.com:5000/a/b__c/d-e.f:T_1.x"),
    ] {
        assert_eq!(registry(short).to_string(), full);
    }
}

#[test]
fn a_digest_needs_no_tag_and_may_have_one() {
    let digest = Digest::of(b"");
    let plain = registry(&format!("ghcr.io/x/y@{digest}"));
    assert_eq!((plain.tag, plain.digest), (None, Some(digest)));
    let both = registry(&format!("x:1@{digest}"));
    assert_eq!((both.tag.as_deref(), both.digest), (Some("1"), Some(digest)));
}

#[test]
fn loopback_hosts_are_known() {
    for host in ["localhost", "localhost:5000", "127.0.0.1:80", "127.3.2.1", "[::1]", "[::1]:5000"] {
        assert!(registry(&format!("{host}/app")).is_loopback(), "{host}");
    }
    for host in ["docker.io", "192.168.0.1:5000", "localhost.example", "a.localhost", "[2001:db8::1]"] {
        assert!(!registry(&format!("{host}/app")).is_loopback(), "{host}");
    }
}

#[test]
fn paths_take_a_name_where_several_images_may_be() {
    let parse = |text: &str| text.parse::<Reference>().unwrap();
    let name = Some("app:1".to_owned());
    let dir = PathBuf::from("/a/b");
    assert_eq!(
        parse("oci:/a/b:app:1"),
        Reference::Image(ImageReference::OciLayout { dir: dir.clone(), name })
    );
    assert_eq!(
        parse("oci:/a/b"),
        Reference::Image(ImageReference::OciLayout { dir: dir.clone(), name: None })
    );
    assert_eq!(parse("rootfs:/a/b"), Reference::RootFs(dir.clone()));
    assert_eq!(parse("elf:a:b"), Reference::Elf("a:b".into()));
    assert_eq!(
        parse("docker-archive:x.tar"),
        Reference::Image(ImageReference::DockerArchive { file: "x.tar".into(), name: None })
    );
}

#[test]
fn what_was_wrong_is_named_and_the_forms_are_listed() {
    for (text, wrong) in [
        ("", "empty"),
        ("elf:", "elf: needs a path"),
        ("oci::tag", "oci: needs a path"),
        ("./app", "path"),
        ("/bin/ls", "path"),
        ("Debian", "`Debian` is not a repository name"),
        ("a//b", "`a//b` is not a repository name"),
        ("a___b", "repository name"),
        ("x:", "`` is not a tag"),
        ("x:-1", "`-1` is not a tag"),
        ("x:ä", "not a tag"),
        ("host:0/x", "`host:0` is not a host"),
        ("host:99999/x", "not a host"),
        ("[::1/x", "not a host"),
        ("-a.b/x", "not a host"),
        ("x@sha512:00", "sha512"),
        ("x@sha256:00", "not a digest"),
        ("docker-daemon:debian:12", "`docker-daemon:`"),
    ] {
        let error = error(text);
        assert!(error.to_string().contains(wrong), "{text}: {error}");
        assert!(error.hint().contains("docker-archive:FILE"));
    }
    assert!(error("docker-daemon:x").hint().contains("docker save"));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<Reference>();
    }

    #[test]
    fn what_is_displayed_parses_to_the_same(
        text in "(docker://)?((localhost|[a-z]{1,5}\\.[a-z]{2,3}|\\[::1\\])(:[1-9][0-9]{0,3})?/)?[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?(/[a-z]{1,4})?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?(@sha256:[0-9a-f]{64})?"
    ) {
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
    }

    #[test]
    fn whatever_parses_round_trips(text in "(elf:|rootfs:|oci:|oci-archive:|docker-archive:|)[a-zA-Z0-9:/.@_-]{0,30}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }
}
