//! A layer from anywhere: its index, the tree that it makes, and the file system written from that.

use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use isopod::root::{Tree, erofs};
use isopod::source::Layer;
use isopod::store::Digest;

/// One file in memory for all runs.
fn scratch() -> &'static Mutex<std::fs::File> {
    static SCRATCH: OnceLock<Mutex<std::fs::File>> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(path());
        Mutex::new(file.expect("memory can be written"))
    })
}

fn path() -> PathBuf {
    PathBuf::from(format!("/dev/shm/isopod-fuzz-{}", std::process::id()))
}

/// How many nodes were written into a root.
pub fn run(data: &[u8]) -> usize {
    let mut file = scratch().lock().expect("no panic");
    file.set_len(0).expect("memory can be written");
    file.seek(SeekFrom::Start(0)).expect("memory can be written");
    file.write_all(data).expect("memory can be written");
    let diff_id: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    let Ok(tree) = Tree::from_layers(&[Layer { diff_id, tar: path() }]) else { return 0 };
    let out = std::fs::File::options().write(true).open("/dev/null").expect("the null device");
    let written = erofs::Image::plan(&tree).and_then(|image| image.write(&out));
    written.map_or(0, |stats| stats.inodes as usize)
}
