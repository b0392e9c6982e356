//! Images mounted by Linux itself.

use super::*;
use crate::root::Content;

/// A mount that ends with the test.
struct Mount(TempDir);

impl Mount {
    /// `None` where this machine cannot mount EROFS.
    fn new(image: &NamedTempFile) -> Option<Self> {
        let known = std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("erofs"));
        assert!(rustix::process::geteuid().is_root(), "only root can mount a file: run this test as root");
        if !known {
            eprintln!("skipped: this machine's kernel has no EROFS");
            return None;
        }
        let dir = TempDir::new().unwrap();
        run("mount", &["-t", "erofs", "-o", "ro,loop", image.path().to_str()?, dir.path().to_str()?]);
        Some(Self(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.0.path().to_str().unwrap()]);
    }
}

#[test]
fn linux_reads_what_few_file_systems_can_hold() {
    let mut tree = Tree::new();
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\
        \x10\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
    for (number, len) in [0, 100, 4000, 4096, 65_535].into_iter().enumerate() {
        let mut meta = Meta::with_mode(0o755);
        meta.mtime = Timestamp { seconds: [-1, 0, 1 << 33][number % 3], nanos: number as u32 };
        meta.xattrs.insert(b"user.a"[..].into(), vec![1; len].into());
        meta.xattrs.insert(b"trusted.b"[..].into(), b"\n\0"[..].into());
        meta.xattrs.insert(b"system.posix_acl_access"[..].into(), acl[..].into());
        for entry in 0..number * 300 {
            let path = format!("d{number}/{}{entry}", "n".repeat(entry % 250));
            tree.insert(path.as_bytes(), Meta::with_mode(0), Kind::CharDevice(Device::new(1, 3).unwrap()))
                .unwrap();
        }
        tree.insert(format!("d{number}").as_bytes(), meta.clone(), Kind::directory()).unwrap();
        tree.insert(format!("f{number}").as_bytes(), meta, Kind::File(Content::bytes("f"))).unwrap();
    }
    for len in [1, 4000, 4031, 4032, 4063, 4064, 4065, 4095] {
        let target = Kind::Symlink(vec![b't'; len].into());
        tree.insert(format!("l{len}").as_bytes(), Meta::with_mode(0o777), target).unwrap();
    }
    let Some(mount) = Mount::new(&image(&tree)) else { return };
    assert_same(&listing(&Tree::from_directory(mount.0.path()).unwrap()), &listing(&tree));
}

#[test]
fn attributes_that_linux_lists_and_hides_are_left_out() {
    let mut tree = Tree::new();
    let mut meta = Meta::with_mode(0o644);
    meta.xattrs.insert(b"user.a"[..].into(), b"1"[..].into());
    tree.insert(b"fifo", meta, Kind::Fifo).unwrap();
    let Some(mount) = Mount::new(&image(&tree)) else { return };
    let mounted = Tree::from_directory(mount.0.path()).unwrap();
    assert!(mounted.node(mounted.lookup(b"fifo").unwrap()).meta.xattrs.is_empty());
}

#[test]
fn linux_sees_the_same_tree() {
    let dir = TempDir::new().unwrap();
    let script = "mkdir -p d/e many; echo file > d/file; ln d/file d/e/hard; ln -s ../file d/e/soft; mkfifo d/pipe
        head -c 3000000 /dev/urandom > d/large; truncate -s 50M d/sparse; printf x | dd of=d/sparse bs=1 seek=30000000 conv=notrunc status=none
        for i in $(seq 2000); do echo $i > many/a-rather-long-name-$i; done; chmod 1777 d; chmod 4711 d/file
        touch -d '1960-01-01 00:00:00.5' d/file; truncate -s 9G d/huge; printf end >> d/huge";
    run("env", &["-C", dir.path().to_str().unwrap(), "bash", "-euc", script]);
    if rustix::process::geteuid().is_root() {
        let script = "mknod d/null c 1 3; mknod d/disk b 259 70000; chown 70000:80000 d/file; setcap cap_net_raw+ep d/large";
        run("env", &["-C", dir.path().to_str().unwrap(), "bash", "-euc", script]);
    }
    let tree = Tree::from_directory(dir.path()).unwrap();
    let image = image(&tree);
    assert!(image.as_file().metadata().unwrap().len() < 20_000_000);
    let Some(mount) = Mount::new(&image) else { return };
    let mounted = Tree::from_directory(mount.0.path()).unwrap();
    assert_same(&listing(&mounted), &listing(&tree));
    for (path, skip) in [("d/sparse", 0), ("d/large", 0), ("d/huge", (9_u64 << 30) - 5_000_000)] {
        let [original, mounted] = [dir.path().join(path), mount.0.path().join(path)];
        run("cmp", &["-i", &skip.to_string(), original.to_str().unwrap(), mounted.to_str().unwrap()]);
    }
}
