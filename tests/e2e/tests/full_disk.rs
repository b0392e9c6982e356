//! Disks that are too small: one clear error, nothing half written, and a cache that works as soon as there is room.

use std::fs;
use std::path::Path;

use anyhow::Result;
use isopod_e2e::disk;
use isopod_e2e::isopod::{Isopod, Outcome};
use isopod_e2e::room::{Room, hello_image, large_image};

/// Runs a script with a disk of `size` at the folder `disk` of the room, and the image as `$IMAGE`.
fn on_disk(room: &Room, size: &str, image: &str, script: &str) -> Result<Outcome> {
    let folder = room.path("disk");
    fs::create_dir_all(&folder)?;
    let mut command = disk::small(Path::new(&folder), size, script)?;
    command.env("ISOPOD", Isopod::program()).env("IMAGE", image).env("ISOPOD_HOME", room.path("home"));
    room.isopod.finish(&mut command)
}

#[test]
fn output() -> Result<()> {
    let room = Room::new()?;
    let image = hello_image()?.cached()?.reference();
    // Too small for the kernel, for the root, and, by then, for anything at all.
    let script = r#""$ISOPOD" build -o "$DISK/app.elf" "$IMAGE"; status=$?; ls -A "$DISK"; exit $status"#;
    for size in ["4k", "256k", "1m"] {
        on_disk(&room, size, &image, script)?.expect_refusal("app.elf").expect_stdout("");
    }
    on_disk(&room, "64m", &image, script)?.expect_status(0).expect_stdout("app.elf\n");
    let large = large_image(40)?.cached()?.reference();
    on_disk(&room, "30m", &large, script)?.expect_refusal("MiB are needed").expect_stdout("");
    // What was there stays.
    let script = r#"echo old >"$DISK/app.elf"; "$ISOPOD" build -o "$DISK/app.elf" "$IMAGE"; status=$?
        cat "$DISK"/*; exit $status"#;
    on_disk(&room, "30m", &large, script)?.expect_refusal("app.elf").expect_stdout("old\n");
    room.still_works()
}

/// Runs `isopod` with its cache on a disk of `size`, which must be too small, and again when the disk has grown.
fn cache(size: &str, verb: &str) -> Result<Outcome> {
    let room = Room::new()?;
    let image = large_image(40)?.cached()?.reference();
    let script = format!(
        r#"ISOPOD_HOME=$DISK/home; export ISOPOD_HOME; again() {{ "$ISOPOD" {verb}; }}
        again; status=$?; find "$DISK/home/cache/tmp" -type f
        mount -o remount,size=600m "$DISK"; again 2>/dev/null || echo "it fails with more room, too"
        exit $status"#
    );
    let outcome = on_disk(&room, size, &image, &script)?;
    assert_eq!(room.names()?, ["disk".into()].into(), "what it left: {outcome:?}");
    Ok(outcome)
}

#[test]
fn cache_for_a_layer() -> Result<()> {
    let outcome = cache("90m", r#"build -o "$DISK/app.elf" "$IMAGE""#)?;
    outcome.expect_refusal("no room left for the cache").expect_stdout("");
    Ok(())
}

#[test]
fn cache_for_a_root() -> Result<()> {
    // The layers fit, their root does not.
    let outcome = cache("125m", r#"run "$IMAGE""#)?;
    outcome.expect_refusal("no room left for the cache").expect_stdout("hello\n");
    Ok(())
}
