//! A layer from anywhere: its index, the tree that it makes, and the file system written from that.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
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

/// The largest root that is written, in bytes.
const ROOT_MAX: u64 = 8 << 20;

/// How many nodes were written into a root.
pub fn run(data: &[u8]) -> usize {
    let mut file = scratch().lock().expect("no panic");
    file.set_len(0).expect("memory can be written");
    file.seek(SeekFrom::Start(0)).expect("memory can be written");
    file.write_all(data).expect("memory can be written");
    let diff_id: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    let Ok(tree) = Tree::from_layers(&[Layer { diff_id, tar: path() }]) else { return 0 };
    let Ok(image) = erofs::Image::plan(&tree) else { return 0 };
    // A few bytes of an archive can stand for a large file.
    if image.size() > ROOT_MAX {
        return 0;
    }
    let out = tempfile::tempfile_in("/dev/shm").expect("memory can be written");
    let Ok(stats) = image.write(&out) else { return 0 };
    let mut root = vec![0; stats.bytes as usize];
    out.read_exact_at(&mut root, 0).expect("all of it was written");
    // What the guest's own reader finds is what was written.
    assert_eq!(crate::erofs::nodes(root), stats.inodes as usize);
    stats.inodes as usize
}
