//! Whatever is wrong with what a user gives: one clear message, one hint, status 125, and nothing broken after it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::image::{Image, Layer, Layout, base_layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::registry::Registry;
use isopod_e2e::room::{Room, hello, hello_image};
use isopod_e2e::{programs, succeed};

/// A layer by itself as an image, which must be refused.
#[track_caller]
fn refuses_layer(room: &Room, layer: Vec<u8>, message: &str) -> Result<()> {
    let image = Image::new().layer(layer).entrypoint(&["/hello"]);
    let folder = tempfile::tempdir()?;
    image.write_layout(folder.path())?;
    room.refuses(&format!("oci:{}", folder.path().display()), message)
}

/// A copy of an image that can be damaged.
fn copy(room: &Room, image: &Layout, name: &str) -> Result<Layout> {
    let folder = room.path(name).into();
    succeed(Command::new("cp").arg("-r").arg(&image.folder).arg(&folder))?;
    Ok(Layout { folder })
}

/// The largest blob of a layout, which is a layer.
fn largest_blob(image: &Layout) -> Result<std::path::PathBuf> {
    let blobs = fs::read_dir(image.folder.join("blobs/sha256"))?.flatten().map(|entry| entry.path());
    blobs
        .max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()))
        .context("an image has blobs")
}

#[test]
fn references_that_are_none() -> Result<()> {
    let room = Room::new()?;
    for source in
        ["", "docker.io/UPPER", "oci:", "docker-archive:", "a b", "name@sha256:123", "name:bad tag", "-"]
    {
        room.isopod.run(&["build", "-o", &room.path("app.elf"), "--", source])?.expect_status(125);
    }
    room.refuses("docker.io/UPPER", "docker.io/UPPER")?;
    room.refuses("name@sha256:123", "sha256:123")?;
    Ok(())
}

#[test]
fn sources_that_are_not_there() -> Result<()> {
    let room = Room::new()?;
    for kind in ["oci", "oci-archive", "docker-archive", "rootfs", "elf"] {
        room.refuses(&format!("{kind}:{}", room.path("missing")), "missing")?;
    }
    fs::write(room.path("text"), "only text")?;
    for kind in ["oci-archive", "docker-archive", "elf"] {
        room.refuses(&format!("{kind}:{}", room.path("text")), "text")?;
    }
    room.still_works()
}

#[test]
fn registries_that_do_not_help() -> Result<()> {
    let room = Room::new()?;
    room.refuses("127.0.0.1:1/name:tag", "127.0.0.1:1")?;
    let registry = Registry::start()?;
    let reference = registry.push(&hello_image()?.cached()?, "known:1.0")?;
    let unknown = format!("{}/unknown:latest", registry.address());
    room.refuses(&unknown, "unknown")?;
    // A tag that is not there: the ones that are there are listed.
    let output = room.path("app.elf");
    let wrong_tag = reference.replace(":1.0", ":2.0");
    room.isopod
        .run(&["build", "-o", &output, &wrong_tag])?
        .expect_refusal("2.0")
        .expect_stderr_contains("1.0");
    let arguments = ["build", "-o", &output, "--platform", "linux/arm64", &reference];
    room.isopod.run(&arguments)?.expect_refusal("linux/arm64").expect_stderr_contains("linux/amd64");
    room.still_works()
}

/// The library that speaks with registries panics without certificates, unless it is asked in the right order.
#[test]
fn machine_without_certificates() -> Result<()> {
    let room = Room::new()?;
    let isopod = Isopod::with_home(Path::new(&room.path("home")));
    let isopod = isopod.variable("SSL_CERT_FILE", "/nonexistent").variable("SSL_CERT_DIR", "/nonexistent");
    let refused = isopod.run(&["build", "-o", &room.path("app.elf"), "127.0.0.1:1/name"])?;
    refused.expect_refusal("certificates").expect_stderr_contains("ca-certificates");
    Ok(())
}

#[test]
fn damaged_blobs() -> Result<()> {
    let room = Room::new()?;
    let image = hello_image()?.cached()?;
    let damaged = copy(&room, &image, "changed")?;
    let blob = largest_blob(&damaged)?;
    let mut bytes = fs::read(&blob)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, &bytes)?;
    room.refuses(&damaged.reference(), "digest")?;
    let cut = copy(&room, &image, "cut")?;
    let blob = largest_blob(&cut)?;
    fs::write(&blob, &fs::read(&blob)?[..1000])?;
    room.refuses(&cut.reference(), "1000")?;
    let missing = copy(&room, &image, "missing")?;
    fs::remove_file(largest_blob(&missing)?)?;
    room.refuses(&missing.reference(), "")?;
    room.still_works()
}

#[test]
fn damaged_blobs_of_a_registry() -> Result<()> {
    let room = Room::new()?;
    let registry = Registry::start()?;
    let reference = registry.push(&hello_image()?.cached()?, "damaged:latest")?;
    let inspect = format!("docker://{reference}");
    let manifest =
        succeed(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &inspect]))?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    let digest = manifest["layers"][1]["digest"].as_str().context("a layer")?;
    let mut bytes = fs::read(registry.blob(digest))?;
    let last = bytes.len() - 20;
    bytes[last] ^= 0x55;
    fs::write(registry.blob(digest), &bytes)?;
    room.refuses(&reference, "damaged")?;
    room.still_works()
}

#[test]
fn malicious_archives() -> Result<()> {
    let room = Room::new()?;
    let layer = |make: &dyn Fn(&mut Layer)| {
        let mut layer = Layer::new();
        make(&mut layer);
        layer.finish()
    };
    // The archive's writer refuses such names, so they are put into the header by hand.
    let named = |name: &str| {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        layer(&|layer| {
            layer.raw(&header, b"");
        })
    };
    refuses_layer(&room, named("/outside"), "the name is absolute")?;
    refuses_layer(&room, named("../outside"), "climbs out")?;
    refuses_layer(&room, named("a/../../outside"), "climbs out")?;
    refuses_layer(
        &room,
        layer(&|l| {
            l.file("hello", 0o755, b"x").hard_link("b", "missing");
        }),
        "missing",
    )?;
    let flood = layer(&|l| {
        for index in 0..65_537 {
            l.device(&format!("dev{index}"), tar::EntryType::Char, 0o666, 1, 3);
        }
    });
    refuses_layer(&room, flood, "device")?;
    // A map that says nothing, very often; it compresses a thousandfold.
    let map = format!("400000\n{}", "0\n0\n".repeat(400_000));
    let bomb = layer(&|l| {
        let records =
            [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.size", b"9")];
        l.pax(&records).file("bomb", 0o644, map.as_bytes());
    });
    refuses_layer(&room, bomb, "larger than 1 MiB")?;
    // A size that the archive does not have.
    let mut header = tar::Header::new_ustar();
    header.set_path("liar")?;
    header.set_mode(0o644);
    header.set_size(1 << 40);
    header.set_cksum();
    refuses_layer(&room, header.as_bytes().to_vec(), "claims")?;
    let mut broken = layer(&|l| {
        l.file("hello", 0o755, b"x");
    });
    broken[0] ^= 0xff;
    refuses_layer(&room, broken, "checksum")?;
    room.still_works()
}

/// Links that point out of the root are links of the root: what goes through them stays in it.
#[test]
fn links_out_of_the_root() -> Result<()> {
    let room = Room::new()?;
    let outside = room.path("outside");
    fs::create_dir(&outside)?;
    // As many steps up as it takes from any folder, and a path that is there on this machine.
    for (index, target) in [format!("{}{outside}", "../".repeat(30)), outside.clone()].iter().enumerate() {
        let mut layer = Layer::new();
        layer.symlink("link", target).file("link/escaped", 0o755, &hello()?);
        let image = Image::new().layer(base_layer()).layer(layer.finish());
        let folder = room.path(&format!("image{index}"));
        image.entrypoint(&[&format!("{outside}/escaped")]).write_layout(Path::new(&folder))?;
        let source = format!("oci:{folder}");
        room.isopod.run(&["build", "-o", &room.path("app.elf"), &source])?.expect_status(0);
        // The guest finds the file where the link leads, seen from its own root.
        room.isopod.run(&["run", &room.path("app.elf")])?.expect_stdout("hello\n").expect_status(0);
        room.isopod.run(&["run", &source])?.expect_stdout("hello\n").expect_status(0);
        assert_eq!(fs::read_dir(&outside)?.count(), 0, "a file was written outside");
    }
    Ok(())
}

#[test]
fn programs_that_cannot_run() -> Result<()> {
    let room = Room::new()?;
    let program = |content: &[u8], message: &str| -> Result<()> {
        let image = Image::new().layer(base_layer()).files(&[("program", content)]).entrypoint(&["/program"]);
        let folder = tempfile::tempdir()?;
        image.write_layout(folder.path())?;
        room.refuses(&format!("oci:{}", folder.path().display()), message)
    };
    let elf = hello()?;
    program(b"only text\n", "not a program")?;
    program(&elf[..40], "damaged")?;
    let mut arm = elf.clone();
    arm[18] = 183;
    program(&arm, "program for")?;
    program(b"#!/no/such/shell\n", "/no/such/shell")?;
    let dynamic = programs::bytes(&programs::compile("gcc", "hello.c", &["-O2"])?)?;
    program(&dynamic, "ld-linux")?;
    // With the loader but without the library.
    let loader = isopod_e2e::packages::program("libc6", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")?;
    let loader = programs::bytes(&fs::canonicalize(loader)?)?;
    let image = Image::new().files(&[("program", &dynamic), ("lib64/ld-linux-x86-64.so.2", &loader)]);
    let folder = tempfile::tempdir()?;
    image.entrypoint(&["/program"]).write_layout(folder.path())?;
    room.refuses(&format!("oci:{}", folder.path().display()), "libc.so.6")?;
    room.refuses(&Image::new().layer(base_layer()).cached()?.reference(), "command")?;
    room.still_works()
}

#[test]
fn users_and_folders_that_make_no_sense() -> Result<()> {
    let room = Room::new()?;
    let image = hello_image()?.cached()?.reference();
    let output = room.path("app.elf");
    let refuses = |options: &[&str], message: &str| -> Result<()> {
        room.isopod.run(&[&["build", "-o", &output], options, &[&image]].concat())?.expect_refusal(message);
        Ok(())
    };
    refuses(&["-u", "stranger"], "stranger")?;
    refuses(&["-u", "app:strangers"], "strangers")?;
    refuses(&["-w", "relative"], "relative")?;
    refuses(&["--stop-signal", "SIGNONSENSE"], "SIGNONSENSE")?;
    Ok(())
}

#[test]
fn places_that_cannot_be_written() -> Result<()> {
    let room = Room::new()?;
    let image = hello_image()?.cached()?.reference();
    for output in [room.path("missing/app.elf"), "/proc/app.elf".to_owned(), room.path("")] {
        room.isopod.run(&["build", "-o", &output, &image])?.expect_refusal(&output);
    }
    let file = room.path("file");
    fs::write(&file, "")?;
    Isopod::with_home(Path::new(&file))
        .run(&["build", "-o", &room.path("app.elf"), &image])?
        .expect_refusal(&file);
    Ok(())
}

#[test]
fn machine_without_qemu() -> Result<()> {
    let room = Room::new()?;
    fs::create_dir(room.path("empty"))?;
    let isopod = Isopod::with_home(Path::new(&room.path("home"))).variable("PATH", &room.path("empty"));
    isopod.run(&["run", &hello_image()?.cached()?.reference()])?.expect_refusal("QEMU");
    Ok(())
}

#[test]
fn machine_options_that_make_no_sense() -> Result<()> {
    let room = Room::new()?;
    let image = hello_image()?.cached()?.reference();
    for options in [
        ["-m", "nonsense"],
        ["-m", "1M"],
        ["--cpus", "0"],
        ["--cpus", "65"],
        ["--machine", "pdp11"],
        ["--accel", "magic"],
    ] {
        let outcome = room.isopod.run(&[&["run"], &options[..], &[&image]].concat())?;
        outcome.expect_status(125);
    }
    room.isopod.run(&["nonsense"])?.expect_status(125);
    room.isopod.run(&["run", "--nonsense", &image])?.expect_status(125);
    Ok(())
}
