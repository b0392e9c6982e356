//! A cache that was damaged mends itself: what a disk lost or changed is fetched or made again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use isopod_e2e::isopod::Outcome;
use isopod_e2e::registry::Registry;
use isopod_e2e::room::{Room, hello_image};

/// The files of the cache in a folder, stamps left out.
fn files(room: &Room, folder: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(room.path(&format!("home/cache/{folder}")))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "stamp"));
    assert!(!paths.is_empty(), "nothing in {folder}");
    Ok(paths)
}

/// A byte in the middle changed, with the time of modification that the file had.
fn flip(path: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let about = file.metadata()?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, about.len() / 2)?;
    file.write_all_at(&[byte[0] ^ 0x10], about.len() / 2)?;
    Ok(file.set_modified(about.modified()?)?)
}

/// The second half gone, as after a power cut.
fn cut(path: &Path) -> Result<()> {
    let file = File::options().write(true).open(path)?;
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}

#[test]
fn every_kind_of_file_is_mended() -> Result<()> {
    let registry = Registry::start()?;
    let reference = registry.push(&hello_image()?.cached()?, "hello:1")?;
    let room = Room::new()?;
    let run = || -> Result<Outcome> {
        let outcome = room.isopod.run(&["run", &reference])?;
        outcome.expect_status(0).expect_stdout("hello\n");
        Ok(outcome)
    };
    run()?;
    assert_eq!(run()?.stderr, "", "all is there");
    for damage in [flip, cut] {
        for folder in ["blobs/sha256", "tags", "roots", "kernels"] {
            files(&room, folder)?.iter().try_for_each(|path| damage(path))?;
            run()?;
            assert_eq!(run()?.stderr, "", "{folder} is whole again");
        }
        // A damaged layer shows only when it is needed again.
        for folder in ["roots", "layers/sha256"] {
            files(&room, folder)?.iter().try_for_each(|path| damage(path))?;
        }
        let stderr = run()?.stderr;
        assert!(stderr.contains("root is damaged") && stderr.contains("layer"), "{stderr}");
        assert_eq!(run()?.stderr, "", "the layers are whole again");
    }
    Ok(())
}

#[test]
fn without_its_source_a_damaged_image_is_missing() -> Result<()> {
    let registry = Registry::start()?;
    let reference = registry.push(&hello_image()?.cached()?, "hello:1")?;
    let room = Room::new()?;
    room.isopod.run(&["run", &reference])?.expect_status(0);
    drop(registry);
    for folder in ["roots", "layers/sha256"] {
        files(&room, folder)?.iter().try_for_each(|path| flip(path))?;
    }
    let refused = room.isopod.run(&["run", "--pull", "never", &reference])?;
    refused.expect_refusal("is not in the cache");
    Ok(())
}
