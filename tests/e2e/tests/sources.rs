//! Every kind of source gives the same application.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use isopod_e2e::image::{Image, Layout, base_layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::registry::Registry;
use isopod_e2e::{packages, programs, succeed};

/// An image that says hello.
fn hello() -> Result<Layout> {
    let program = programs::bytes(&programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])?)?;
    Image::new().layer(base_layer()).files(&[("hello", &program)]).entrypoint(&["/hello"]).cached()
}

/// Copies an image with `skopeo`.
fn copy(from: &str, to: &str, options: &[&str]) -> Result<()> {
    succeed(Command::new("skopeo").args(["copy", "--quiet"]).args(options).args([from, to])).map(drop)
}

#[test]
fn archives_and_folders() -> Result<()> {
    let image = hello()?;
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (oci, docker) =
        (format!("oci-archive:{}", place("oci.tar")), format!("docker-archive:{}", place("docker.tar")));
    copy(&image.reference(), &oci, &[])?;
    copy(&image.reference(), &format!("{docker}:name:tag"), &[])?;
    image.unpack(Path::new(&place("bundle"))).or_else(|error| {
        // Without root umoci needs to be told that it has none.
        let layout = image.folder.display();
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--rootless", "--image", &format!("{layout}:latest"), &place("bundle")]);
        succeed(&mut umoci).map(|_| folder.path().join("bundle/rootfs")).map_err(|_| error)
    })?;
    let rootfs = format!("rootfs:{}", place("bundle/rootfs"));
    let isopod = Isopod::with_home(&folder.path().join("home"));
    for source in [image.reference(), oci, docker] {
        isopod.run(&["run", &source])?.expect_stdout("hello\n").expect_status(0);
    }
    // A plain folder says nothing of what to run.
    isopod.run(&["run", &rootfs, "/hello"])?.expect_stdout("hello\n").expect_status(0);
    Ok(())
}

#[test]
fn a_linked_file_keeps_what_it_was_built_with() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name).display().to_string();
    let isopod = Isopod::with_home(&folder.path().join("home")).input(b"typed\n");
    let shell = format!("elf:{}", packages::program("busybox-static", "bin/busybox")?.display());
    let words = ["--", "sh", "-c", "read line; echo $HOSTNAME $line"];
    let file = place("app.elf");
    let build = ["build", "-i", "--hostname", "built", "-o", &file, &shell];
    isopod.run(&[&build, &words[..]].concat())?.expect_status(0);
    isopod.run(&["run", &file])?.expect_stdout("built typed\n").expect_status(0);
    let renamed = isopod.run(&["run", "--hostname", "renamed", &file])?;
    renamed.expect_stdout("renamed typed\n").expect_status(0);
    Ok(())
}

#[test]
fn registry_and_cache() -> Result<()> {
    let registry = Registry::start()?;
    let reference = registry.push(&hello()?, "hello:1.0")?;
    let folder = tempfile::tempdir()?;
    let isopod = Isopod::with_home(folder.path());
    isopod.run(&["run", &reference])?.expect_stdout("hello\n").expect_status(0);
    drop(registry);
    // What was pulled once needs no registry.
    isopod.run(&["run", "--pull", "missing", &reference])?.expect_stdout("hello\n").expect_status(0);
    isopod.run(&["run", "--pull", "never", &reference])?.expect_stdout("hello\n").expect_status(0);
    Ok(())
}

#[test]
fn every_compression_of_layers() -> Result<()> {
    let registry = Registry::start()?;
    let image = hello()?;
    for format in ["gzip", "zstd"] {
        let name = format!("{}/hello:{format}", registry.address());
        let options = ["--dest-tls-verify=false", "--dest-compress", "--dest-compress-format", format];
        copy(&image.reference(), &format!("docker://{name}"), &options)?;
        let folder = tempfile::tempdir()?;
        Isopod::with_home(folder.path()).run(&["run", &name])?.expect_stdout("hello\n").expect_status(0);
    }
    Ok(())
}

#[test]
fn private_registry() -> Result<()> {
    let registry = Registry::start_private()?;
    let reference = registry.push(&hello()?, "private/hello:latest")?;
    let folder = tempfile::tempdir()?;
    let isopod = Isopod::with_home(folder.path());
    isopod.run(&["run", &reference])?.expect_refusal("private/hello");
    let write = |secret: &str| {
        // base64 of `isopod:secret` and of `isopod:wrong`
        let auth = format!(r#"{{ "auths": {{ "{}": {{ "auth": "{secret}" }} }} }}"#, registry.address());
        std::fs::write(folder.path().join("auth.json"), auth)
    };
    write("aXNvcG9kOndyb25n")?;
    isopod.run(&["run", &reference])?.expect_refusal("private/hello");
    write("aXNvcG9kOnNlY3JldA==")?;
    isopod.run(&["run", &reference])?.expect_stdout("hello\n").expect_status(0);
    Ok(())
}
