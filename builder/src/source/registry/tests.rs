//! Pulling from a registry that behaves, and from one that does not.

use std::fs;
use std::path::Path;
use std::thread;

use super::connection::Connection;
use super::credentials::{Credentials, Secret};
use crate::source::testing::{
    Fault, Login, Packing, TestImage, TestRegistry, TestStore, assert_readable, assert_same, descriptor,
    image_reference, index, noise, tar,
};
use crate::source::{Damage, ImageReference, Options, SourceError, Unreachable};
use crate::store::Digest;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layer that takes several reads and several buffers.
fn large(packing: Packing) -> TestImage {
    TestImage::new(vec![tar(&[("data", &noise(700_000, 1))])], packing, "amd64", "large")
}

fn layer(image: &TestImage) -> Digest {
    Digest::of(&image.layers[0])
}

fn pull_error(registry: &TestRegistry, rest: &str) -> SourceError {
    let store = TestStore::new();
    let error = store.pull(&registry.name(rest), &Options::default()).unwrap_err();
    assert_eq!(store.count(), (0, 0), "a failed pull leaves nothing: {error}");
    assert_readable(&error);
    error
}

#[test]
fn layers_of_all_packings_arrive_once_and_in_order() {
    let registry = TestRegistry::start(Login::None);
    for (tag, packing) in [("plain", Packing::Plain), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)] {
        // The same layer twice, as in images that add nothing in between.
        let tars = [1, 2, 1, 3].map(|seed| tar(&[("file", &noise(60_000, seed))])).to_vec();
        let image = TestImage::new(tars, packing, "amd64", "app");
        registry.push("app", tag, &image);
        let store = TestStore::new();
        let pulled = store.pull(&registry.name(&format!("app:{tag}")), &Options::default()).unwrap();
        assert_same(&pulled, &image);
        assert_eq!((pulled.key, &*pulled.config.cmd), (image.digest(), &["app".to_owned()][..]));
        assert_eq!(store.count(), (3, 0));
    }
}

#[test]
fn what_is_in_the_store_is_not_fetched_again() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let store = TestStore::new();
    store.pull(&registry.name("app:1"), &Options::default()).unwrap();
    let first = registry.requests().len();

    store.pull(&registry.name("app:1"), &Options::default()).unwrap();
    let again = registry.requests().split_off(first);
    assert!(
        again.iter().all(|request| request.ends_with("/v2/") || request.starts_with("HEAD")),
        "{again:?}"
    );
    let asked = registry.requests().len();
    store.pull(&registry.name(&format!("app@{}", image.digest())), &Options::default()).unwrap();
    assert_eq!(registry.requests().len(), asked, "a digest needs no network");
}

#[test]
fn what_is_damaged_in_the_store_is_fetched_again() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let store = TestStore::new();
    let pull = || store.pull(&registry.name("app:1"), &Options::default()).unwrap();
    let layer = pull().layers[0].tar.clone();
    let blobs = store.home.path().join("cache/blobs/sha256");
    // A few bytes changed, cut short, and gone.
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let damages: [&dyn Fn(&Path); 3] =
        [&flip, &|path| fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap(), &|path| {
            fs::remove_file(path).unwrap();
        }];
    for damage in damages {
        damage(&layer);
        for blob in fs::read_dir(&blobs).unwrap() {
            damage(&blob.unwrap().path());
        }
        assert_same(&pull(), &image);
        for blob in fs::read_dir(&blobs).unwrap() {
            let path = blob.unwrap().path();
            assert_eq!(path.file_name().unwrap(), &*Digest::of(&fs::read(&path).unwrap()).hex());
        }
    }
}

#[test]
fn a_moved_tag_is_noticed() {
    let registry = TestRegistry::start(Login::None);
    let (old, new) = (TestImage::small("old"), TestImage::small("new"));
    registry.push("app", "1", &old);
    let store = TestStore::new();
    let pull = || store.pull(&registry.name("app:1"), &Options::default()).unwrap().key;
    assert_eq!(pull(), old.digest());
    registry.push("app", "1", &new);
    assert_eq!(pull(), new.digest());
}

#[test]
fn offline_the_last_answer_counts() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let store = TestStore::new();
    let offline = Options { offline: true, ..Options::default() };
    let name = registry.name("app:1");
    assert!(matches!(store.pull(&name, &offline), Err(SourceError::Offline { .. })));
    store.pull(&name, &Options::default()).unwrap();
    assert_same(&store.pull(&name, &offline).unwrap(), &image);

    registry.fault_at("/v2/app/manifests/1", Fault::Status { code: 503, times: usize::MAX });
    assert_same(&store.pull(&name, &Options::default()).unwrap(), &image);
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let image = large(Packing::Gzip);
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault("app", &layer(&image), Fault::Cut { after: 50_000, times: 3 });
    let store = TestStore::new();
    assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
    let asked: Vec<String> =
        registry.requests().into_iter().filter(|request| request.contains(&layer(&image).hex())).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    for (request, start) in asked.iter().zip([0, 50_000, 100_000, 150_000]) {
        assert!(request.ends_with(&format!("bytes={start}-")), "{request}");
    }
}

#[test]
fn without_ranges_a_cut_download_starts_anew() {
    let image = large(Packing::Gzip);
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault("app", &layer(&image), Fault::Cut { after: 50_000, times: 2 });
    registry.fault("app", &layer(&image), Fault::NoRanges);
    let store = TestStore::new();
    assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
}

#[test]
fn a_download_that_makes_no_progress_is_given_up() {
    let image = large(Packing::Zstd);
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault("app", &layer(&image), Fault::Cut { after: 0, times: usize::MAX });
    let error = pull_error(&registry, "app:1");
    assert!(matches!(error, SourceError::Cut { attempts: 5, .. }), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn a_registry_that_recovers_is_forgiven() {
    let image = TestImage::small("app");
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault_at("/v2/app/manifests/1", Fault::Status { code: 502, times: 1 });
    registry.fault("app", &layer(&image), Fault::Status { code: 500, times: 2 });
    let store = TestStore::new();
    assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
}

#[test]
fn damaged_blobs_are_refused_and_leave_nothing() {
    let image = large(Packing::Gzip);
    let blob = &image.layers[0];
    let mut flipped = blob.clone();
    flipped[blob.len() / 2] ^= 1;
    let mut longer = blob.clone();
    longer.push(0);
    let damage = |content: &[u8], more: &[Fault]| {
        let registry = TestRegistry::start(Login::None);
        registry.push("app", "1", &image);
        registry.fault("app", &layer(&image), Fault::Content(content.to_vec()));
        for fault in more {
            registry.fault("app", &layer(&image), fault.clone());
        }
        match pull_error(&registry, "app:1") {
            SourceError::Damaged { damage, .. } => damage,
            other => panic!("{other}"),
        }
    };
    for more in [&[][..], &[Fault::NoRanges]] {
        assert!(
            matches!(damage(&flipped, more), Damage::Digest { expected, .. } if expected == layer(&image))
        );
        assert!(
            matches!(damage(&longer, more), Damage::Overlong { expected } if expected == blob.len() as u64)
        );
    }
    assert!(matches!(damage(&blob[..1000], &[]), Damage::Truncated { actual: 1000, .. }));
}

#[test]
fn a_damaged_manifest_or_configuration_is_refused() {
    let image = TestImage::small("app");
    let digest = image.digest();
    for path in
        [format!("/v2/app/manifests/{digest}"), format!("/v2/app/blobs/{}", Digest::of(&image.config))]
    {
        let registry = TestRegistry::start(Login::None);
        registry.push("app", "1", &image);
        let mut content =
            if path.contains("manifests") { image.manifest.clone() } else { image.config.clone() };
        content[10] ^= 1;
        registry.fault_at(&path, Fault::Content(content));
        let error = pull_error(&registry, &format!("app@{digest}"));
        assert!(matches!(error, SourceError::Damaged { damage: Damage::Digest { .. }, .. }), "{error}");
    }
}

#[test]
fn layers_that_differ_from_the_configuration_are_refused() {
    let mut image = TestImage::small("app");
    let other = Packing::Gzip.pack(&tar(&[("other", b"other")]));
    let manifest = String::from_utf8(image.manifest).unwrap();
    let size = |len: usize| format!("\"size\":{len}");
    image.manifest = manifest
        .replace(&Digest::of(&image.layers[0]).to_string(), &Digest::of(&other).to_string())
        .replace(&size(image.layers[0].len()), &size(other.len()))
        .into_bytes();
    image.layers[0] = other;
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    let error = pull_error(&registry, "app:1");
    assert!(matches!(error, SourceError::Damaged { damage: Damage::DiffId { .. }, .. }), "{error}");
}

#[test]
fn layers_that_do_not_inflate_are_refused() {
    let registry = TestRegistry::start(Login::None);
    let mut image = TestImage::small("app");
    for (blob, expected) in
        [(b"\x1f\x8b\x08\0nonsense".to_vec(), "decompressed"), (b"\xfd7zXZ\0".to_vec(), "xz")]
    {
        image.layers = vec![blob.clone()];
        let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        manifest["layers"][0] = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &blob);
        image.manifest = manifest.to_string().into_bytes();
        registry.push("app", "1", &image);
        let error = pull_error(&registry, "app:1").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_there_is() {
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1.0", &TestImage::small("one"));
    registry.push("app", "2.0", &TestImage::small("two"));
    let error = pull_error(&registry, "app:3");
    assert!(error.hint().contains("1.0, 2.0"), "{:?}", error.hint());
    assert!(matches!(error, SourceError::NoTag { tag, .. } if tag == "3"));
    assert!(matches!(pull_error(&registry, "none:1"), SourceError::NoRepository { .. }));
    let digest = Digest::of(b"none");
    assert!(matches!(pull_error(&registry, &format!("app@{digest}")), SourceError::Missing { .. }));
}

#[test]
fn a_missing_blob_is_named() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push_document("app", "1", OCI_MANIFEST, &image.manifest);
    let error = pull_error(&registry, "app:1");
    assert!(
        matches!(&error, SourceError::Missing { what, .. } if what.contains(&Digest::of(&image.config).hex())),
        "{error}"
    );
}

#[test]
fn the_platform_asked_for_is_chosen_from_an_index() {
    let registry = TestRegistry::start(Login::None);
    let image = |architecture| TestImage::new(vec![tar(&[])], Packing::Gzip, architecture, architecture);
    let (amd, arm) = (image("amd64"), image("arm64"));
    registry.push("app", "amd", &amd);
    registry.push("app", "arm", &arm);
    let mut attestation = amd.entry(Some("unknown"), None);
    attestation["platform"]["os"] = "unknown".into();
    let list = index(&[attestation, arm.entry(Some("arm64"), None), amd.entry(Some("amd64"), None)]);
    registry.push_document("app", "1", OCI_INDEX, &list);
    // Indexes may nest.
    let digest = Digest::of(&list).to_string();
    registry.push_document("app", &digest, OCI_INDEX, &list);
    registry.push_document("app", "2", OCI_INDEX, &index(&[descriptor(OCI_INDEX, &list)]));

    let pull = |name: &str, platform: &str| {
        let options = Options { platform: platform.parse().unwrap(), ..Options::default() };
        TestStore::new().pull(&registry.name(name), &options)
    };
    assert_eq!(pull("app:1", "linux/amd64").unwrap().key, amd.digest());
    assert_eq!(pull("app:2", "linux/arm64").unwrap().key, arm.digest());
    for name in ["app:1", "app:arm"] {
        let error = pull(name, "linux/riscv64").unwrap_err();
        assert!(matches!(error, SourceError::NoPlatform { .. }), "{error}");
        let hint = error.hint();
        assert!(hint.contains("linux/arm64") && !hint.contains("unknown"), "{hint}");
    }
}

#[test]
fn an_index_that_names_itself_ends() {
    let registry = TestRegistry::start(Login::None);
    let mut list = index(&[]);
    for _ in 0..6 {
        registry.push_document("app", &Digest::of(&list).to_string(), OCI_INDEX, &list);
        list = index(&[descriptor(OCI_INDEX, &list)]);
    }
    registry.push_document("app", "1", OCI_INDEX, &list);
    let error = pull_error(&registry, "app:1").to_string();
    assert!(error.contains("without end"), "{error}");
}

#[test]
fn what_is_no_image_is_refused() {
    let image = TestImage::small("app");
    let manifest = String::from_utf8(image.manifest).unwrap();
    let chart = manifest.replace("vnd.oci.image.config.v1+json", "vnd.cncf.helm.config.v1+json");
    let encrypted = manifest.replace("tar+gzip", "tar+gzip+encrypted");
    let sha512 = manifest.replace("sha256:", "sha512:");
    let short = manifest.replace("\"layers\":[", "\"layers\":[],\"other\":[");
    for (manifest, expected) in [
        (chart.as_str(), "helm"),
        (&encrypted, "encrypted"),
        (&sha512, "sha512"),
        (&short, "0 layers"),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema version is 1"),
        (r#"{"schemaVersion":2}"#, "names no configuration"),
        ("<html>", "not an image manifest"),
    ] {
        let registry = TestRegistry::start(Login::None);
        registry.push("app", "1", &TestImage::small("app"));
        registry.push_document("app", "1", OCI_MANIFEST, manifest.as_bytes());
        let error = pull_error(&registry, "app:1").to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_token_is_fetched_where_one_is_wanted() {
    let registry = TestRegistry::start(Login::AnonymousToken);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let store = TestStore::new();
    assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
}

#[test]
fn a_token_that_is_no_longer_taken_is_renewed() {
    let registry = TestRegistry::start(Login::AnonymousToken);
    let image = large(Packing::Gzip);
    registry.push("app", "1", &image);
    registry.fault("app", &layer(&image), Fault::Cut { after: 50_000, times: 1 });
    registry.fault("app", &layer(&image), Fault::Status { code: 401, times: 1 });
    let store = TestStore::new();
    assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
    let tokens = registry.requests().iter().filter(|request| request.starts_with("GET /token")).count();
    assert_eq!(tokens, 2);
}

#[test]
fn an_identity_token_is_exchanged() {
    let registry = TestRegistry::start(Login::IdentityToken);
    registry.push("app", "1", &TestImage::small("app"));
    let ImageReference::Registry(reference) = image_reference(&registry.name("app:1")) else { panic!() };
    let read = |token: &str| {
        let secret = Secret::IdentityToken(token.to_owned());
        Connection::open(&reference, true, Some(&Credentials { secret, file: "/auth.json".into() }))?
            .manifest(&reference)
    };
    assert_eq!(read("identity").unwrap(), TestImage::small("app").manifest);
    let error = read("other").unwrap_err();
    assert!(matches!(error, SourceError::Unauthorized { credentials: Some(_), .. }), "{error}");
}

#[test]
fn odd_tokens_are_refused() {
    let registry = TestRegistry::start(Login::AnonymousToken);
    registry.push("app", "1", &TestImage::small("app"));
    for (answer, expected) in [
        (r#"{"token":"a\nb"}"#, "cannot stand in a header"),
        ("{}", "no token"),
        ("<html>", "no token"),
        (&"x".repeat(2 << 20), "more than 1048576 bytes"),
    ] {
        registry.unfault("/token");
        registry.fault_at("/token", Fault::Content(answer.as_bytes().to_vec()));
        let error = pull_error(&registry, "app:1").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_registry_does_not_decide_how_much_memory_its_answers_take() {
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &TestImage::small("app"));
    let path = "/v2/app/manifests/1";
    registry.fault_at(path, Fault::Content(vec![b' '; (16 << 20) + 1]));
    let error = pull_error(&registry, "app:1").to_string();
    assert!(error.contains("more than 16777216 bytes"), "{error}");
}

#[test]
fn what_is_no_image_does_not_replace_what_was_there() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let store = TestStore::new();
    let name = registry.name("app:1");
    store.pull(&name, &Options::default()).unwrap();
    registry.push_document("app", "1", "text/html", b"<html>Please log in</html>");
    let error = store.pull(&name, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("not an image manifest"), "{error}");
    let offline = Options { offline: true, ..Options::default() };
    assert_same(&store.pull(&name, &offline).unwrap(), &image);
}

#[test]
fn a_part_that_was_not_asked_for_is_refused() {
    let image = large(Packing::Gzip);
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault("app", &layer(&image), Fault::WrongPart);
    let error = pull_error(&registry, "app:1");
    assert!(error.to_string().contains("not the part from byte 0 on"), "{error}");
}

#[test]
fn a_manifest_of_another_size_than_its_index_says_is_refused() {
    let registry = TestRegistry::start(Login::None);
    let image = TestImage::small("app");
    registry.push("app", "1", &image);
    let mut entry = image.entry(Some("amd64"), None);
    entry["size"] = 5.into();
    registry.push_document("app", "1", OCI_INDEX, &index(&[entry]));
    let error = pull_error(&registry, "app:1");
    assert!(
        matches!(error, SourceError::Damaged { damage: Damage::Overlong { expected: 5 }, .. }),
        "{error}"
    );
}

#[test]
fn who_may_not_read_is_told_so() {
    for login in [Login::Token, Login::Basic] {
        let registry = TestRegistry::start(login);
        registry.push("app", "1", &TestImage::small("app"));
        let error = pull_error(&registry, "app:1");
        assert!(matches!(error, SourceError::Unauthorized { credentials: None, .. }), "{error}");
        assert!(error.to_string().contains("anonymous") && error.hint().contains("login"));

        let ImageReference::Registry(reference) = image_reference(&registry.name("app:1")) else { panic!() };
        let read = |password: &str| {
            let secret = Secret::Password { user: "user".to_owned(), password: password.to_owned() };
            Connection::open(&reference, true, Some(&Credentials { secret, file: "/auth.json".into() }))?
                .manifest(&reference)
        };
        assert_eq!(read("secret").unwrap(), TestImage::small("app").manifest);
        let error = read("wrong").unwrap_err();
        assert!(matches!(error, SourceError::Unauthorized { credentials: Some(_), .. }), "{error}");
        assert!(error.to_string().contains("/auth.json"), "{error}");
    }
}

#[test]
fn refusals_and_limits_are_told_apart() {
    let image = TestImage::small("app");
    for (code, expected) in [(403, "denies"), (429, "rate limit"), (418, "418")] {
        let registry = TestRegistry::start(Login::None);
        registry.push("app", "1", &image);
        registry.fault_at("/v2/app/manifests/1", Fault::Status { code, times: usize::MAX });
        let error = pull_error(&registry, "app:1").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_closed_port_and_an_unknown_host_are_told_apart() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reason = |name: &str| match TestStore::new().pull(name, &Options::default()) {
        Err(SourceError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&format!("127.0.0.1:{port}/app")), Unreachable::Refused);
    assert_eq!(reason("no-such-host.invalid/app"), Unreachable::Name);
}

#[test]
fn a_registry_without_tls_is_recognised() {
    let registry = TestRegistry::start(Login::None);
    let ImageReference::Registry(reference) = image_reference(&registry.name("app:1")) else { panic!() };
    let error = Connection::open(&reference, false, None).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { reason: Unreachable::Tls(_), .. }), "{error}");
}

#[test]
fn one_failed_layer_stops_the_others_but_keeps_what_arrived() {
    let tars = [1, 2, 3].map(|seed| tar(&[("file", &noise(30_000 * seed as usize, seed))])).to_vec();
    let image = TestImage::new(tars, Packing::Gzip, "amd64", "app");
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    registry.fault("app", &Digest::of(&image.layers[0]), Fault::Content(b"wrong".to_vec()));
    let store = TestStore::new();
    store.pull(&registry.name("app:1"), &Options::default()).unwrap_err();
    let (layers, temporary) = store.count();
    assert!(layers <= 2 && temporary == 0);
}

#[test]
fn two_pulls_at_once_share_a_store() {
    let image = large(Packing::Gzip);
    let registry = TestRegistry::start(Login::None);
    registry.push("app", "1", &image);
    let store = TestStore::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_same(&store.pull(&registry.name("app:1"), &Options::default()).unwrap(), &image);
            });
        }
    });
    assert_eq!(store.count(), (1, 0));
}
