//! The operations as a process sees them, over tmpfs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::*;
use crate::credentials::{Capabilities, Credentials};
use crate::file::{FileOps, OpenFile, OpenFlags, OpenRequest, Whence};
use crate::inode::FileSystem;
use crate::metadata::{DeviceId, FileType, RenameFlags, S_ISGID, S_ISUID, XattrFlags};
use crate::tmpfs::{Options, Tmpfs};
use crate::{Buffer, Bytes, Errno, Error, Result};

/// A tree over an empty tmpfs, and views of it.
struct World {
    namespace: Namespace,
    root: Path,
    superuser: Credentials,
    user: Credentials,
}

impl World {
    fn new() -> Self {
        let options = Options { pages: 1000, inodes: 1000, mode: 0o755, ..Options::default() };
        Self::over(Tmpfs::new(&options).unwrap())
    }

    fn over(file_system: Arc<dyn FileSystem>) -> Self {
        let no_fifo =
            |_: &OpenRequest<'_>| -> Result<alloc::boxed::Box<dyn FileOps>> { Err(Errno::ENXIO.into()) };
        let namespace = Namespace::new(file_system, b"none", SpecialFiles::new(Arc::new(no_fifo)));
        let root = namespace.root();
        let user = Credentials {
            uid: 1000,
            gid: 1000,
            groups: Arc::new([4, 27].into()),
            capabilities: Capabilities::empty(),
        };
        Self { namespace, root, superuser: Credentials::root(), user }
    }

    fn view<'a>(&'a self, credentials: &'a Credentials) -> View<'a> {
        let (root, directory) = (&self.root, &self.root);
        View {
            namespace: &self.namespace,
            credentials,
            root,
            directory,
            umask: 0o022,
            process: Process::default(),
        }
    }

    fn root(&self) -> View<'_> {
        self.view(&self.superuser)
    }

    fn user(&self) -> View<'_> {
        self.view(&self.user)
    }
}

impl View<'_> {
    fn at(&self, name: &str) -> Result<Path> {
        self.resolve(self.directory, name.as_bytes(), Resolve::FOLLOW)
    }

    fn link_at(&self, name: &str) -> Result<Path> {
        self.resolve(self.directory, name.as_bytes(), Resolve::empty())
    }

    fn open_at(&self, name: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.open(self.directory, name.as_bytes(), &OpenHow::new(flags, 0o666))
    }

    fn write_file(&self, name: &str, text: &[u8]) {
        let file = self.open_at(name, OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC).unwrap();
        assert_eq!(file.write(self.credentials, &mut Bytes::new(text)).unwrap(), text.len());
    }

    fn read_file(&self, name: &str) -> Vec<u8> {
        let file = self.open_at(name, OpenFlags::empty()).unwrap();
        let mut bytes = alloc::vec![0; file.inode().metadata().unwrap().size as usize];
        let mut sink = Buffer::new(&mut bytes);
        while file.read(&mut sink).unwrap() > 0 {}
        bytes
    }

    fn mkdir_at(&self, name: &str) -> Result<()> {
        self.mkdir(self.directory, name.as_bytes(), 0o777)
    }

    fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let file = self.open_at(name, OpenFlags::DIRECTORY).unwrap();
        let mut names = Vec::new();
        file.read_dir(&mut |entry| {
            names.push(entry.name.to_vec());
            true
        })
        .unwrap();
        names.sort();
        names
    }

    fn rename_at(&self, old: &str, new: &str) -> Result<()> {
        let flags = RenameFlags::empty();
        self.rename(self.directory, old.as_bytes(), self.directory, new.as_bytes(), flags)
    }
}

#[track_caller]
fn fails<T: core::fmt::Debug>(result: Result<T>, errno: Errno) {
    match result {
        Err(Error::Errno(found)) => assert_eq!(found, errno),
        other => panic!("{errno} expected, not {other:?}"),
    }
}

#[test]
fn files_are_created_written_and_read() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/d").unwrap();
    view.write_file("/d/f", b"hello");
    assert_eq!(view.read_file("d/../d/./f"), b"hello");
    let metadata = view.metadata(&view.at("/d/f").unwrap()).unwrap();
    assert_eq!((metadata.size, metadata.mode, metadata.blocks, metadata.links), (5, 0o644, 8, 1));
    assert_eq!(view.metadata(&view.at("/").unwrap()).unwrap().links, 3);
    assert_eq!(view.list("/d"), [&b"."[..], b"..", b"f"]);
    fails(view.open_at("/d/f", OpenFlags::CREAT | OpenFlags::EXCL), Errno::EEXIST);
}

#[test]
fn resolution_follows_path_resolution_7() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/d").unwrap();
    view.write_file("/d/f", b"x");
    view.symlink(b"d", &world.root, b"l").unwrap();
    view.symlink(b"loop", &world.root, b"loop").unwrap();
    view.symlink(b"/nowhere", &world.root, b"dangling").unwrap();
    assert_eq!(view.at("/../../d/f").unwrap(), view.at("l/f").unwrap());
    assert_eq!(view.at("l").unwrap(), view.at("d").unwrap());
    assert_eq!(view.link_at("l/").unwrap(), view.at("d").unwrap());
    assert_eq!(view.link_at("l").unwrap().inode().metadata().unwrap().kind, FileType::Symlink);
    fails(view.at(""), Errno::ENOENT);
    fails(view.at("loop"), Errno::ELOOP);
    fails(view.at("dangling"), Errno::ENOENT);
    fails(view.at("d/f/"), Errno::ENOTDIR);
    fails(view.at("d/f/.."), Errno::ENOTDIR);
    fails(view.at("none/x"), Errno::ENOENT);
    fails(view.at(&"x".repeat(256)), Errno::ENAMETOOLONG);
    fails(view.at(&"/x".repeat(2048)), Errno::ENAMETOOLONG);
    fails(view.mkdir_at("/"), Errno::EEXIST);
    fails(view.mkdir_at("d/."), Errno::EEXIST);
    view.mkdir_at("new/").unwrap();
    fails(view.symlink(b"x", &world.root, b"new2/"), Errno::ENOENT);
    fails(view.rmdir(&world.root, b"new/."), Errno::EINVAL);
    fails(view.rmdir(&world.root, b"new/.."), Errno::ENOTEMPTY);
    fails(view.rmdir(&world.root, b"/"), Errno::EBUSY);
    fails(view.unlink(&world.root, b"new/"), Errno::EISDIR);
    fails(view.unlink(&world.root, b"d/f/"), Errno::ENOTDIR);
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let world = World::new();
    let view = world.root();
    view.write_file("/l0", b"x");
    for n in 1..=41 {
        view.symlink(alloc::format!("l{}", n - 1).as_bytes(), &world.root, alloc::format!("l{n}").as_bytes())
            .unwrap();
    }
    view.at("l40").unwrap();
    fails(view.at("l41"), Errno::ELOOP);
}

#[test]
fn rename_keeps_the_tree_a_tree() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/a").unwrap();
    view.mkdir_at("/a/b").unwrap();
    view.mkdir_at("/c").unwrap();
    view.write_file("/f", b"f");
    view.write_file("/g", b"g");
    fails(view.rename_at("a", "a/b/a"), Errno::EINVAL);
    fails(view.rename_at("a/b", "a"), Errno::ENOTEMPTY);
    fails(view.rename_at("c", "a"), Errno::ENOTEMPTY);
    fails(view.rename_at("c", "f"), Errno::ENOTDIR);
    fails(view.rename_at("f", "c"), Errno::EISDIR);
    fails(view.rename_at("f", "c/.."), Errno::EBUSY);
    fails(view.rename_at("f/", "h"), Errno::ENOTDIR);
    fails(view.rename_at("none", "h"), Errno::ENOENT);
    view.link(&view.at("f").unwrap(), &world.root, b"f2").unwrap();
    view.rename_at("f", "f2").unwrap();
    assert_eq!(view.metadata(&view.at("f").unwrap()).unwrap().links, 2);
    let held = view.open_at("g", OpenFlags::empty()).unwrap();
    view.rename_at("f", "g").unwrap();
    fails(view.at("f"), Errno::ENOENT);
    assert_eq!(view.read_file("g"), b"f");
    assert_eq!(held.inode().metadata().unwrap().links, 0);
    let inside = view.at("a/b").unwrap();
    view.rename_at("a", "c").unwrap();
    assert_eq!(view.absolute_name(&inside).unwrap(), b"/c/b");
    assert_eq!(view.metadata(&world.root).unwrap().links, 3);
    let exchange = RenameFlags::EXCHANGE;
    view.rename(&world.root, b"g", &world.root, b"c", exchange).unwrap();
    assert_eq!(view.absolute_name(&inside).unwrap(), b"/g/b");
    fails(view.rename(&world.root, b"g", &world.root, b"none", exchange), Errno::ENOENT);
    fails(view.rename(&world.root, b"g", &world.root, b"c", RenameFlags::NOREPLACE), Errno::EEXIST);
}

#[test]
fn of_a_name_of_any_length_the_end_is_told() {
    let world = World::new();
    let view = world.root();
    let (mut place, name) = (world.root.clone(), [b'n'; 200]);
    for _ in 0..100 {
        view.mkdir(&place, &name, 0o755).unwrap();
        place = view.resolve(&place, &name, Resolve::empty()).unwrap();
    }
    let text = view.absolute_name(&place).unwrap();
    assert!((8192..8500).contains(&text.len()));
    assert!(text.ends_with(&[b"/".as_slice(), &name].concat()));
    assert_eq!(view.absolute_name(&world.root).unwrap(), b"/");
}

#[test]
fn removed_files_and_directories_live_while_they_are_open() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/d").unwrap();
    view.write_file("/f", b"hello");
    let (directory, file) = (view.at("/d").unwrap(), view.open_at("/f", OpenFlags::RDWR).unwrap());
    view.unlink(&world.root, b"f").unwrap();
    fails(view.rmdir(&world.root, b"f"), Errno::ENOENT);
    view.rmdir(&world.root, b"d").unwrap();
    assert_eq!(file.seek(0, Whence::End).unwrap(), 5);
    assert_eq!(file.path().text(&world.root).0, b"/f (deleted)");
    fails(view.mkdir(&directory, b"x", 0o777), Errno::ENOENT);
    fails(view.resolve(&directory, b"x", Resolve::FOLLOW), Errno::ENOENT);
    fails(view.absolute_name(&directory), Errno::ENOENT);
    fails(view.link(file.path(), &world.root, b"g"), Errno::ENOENT);
    assert_eq!(view.resolve(&directory, b"..", Resolve::FOLLOW).unwrap(), world.root);
}

#[test]
fn permissions_are_checked_for_the_user() {
    let world = World::new();
    let (root, user) = (world.root(), world.user());
    root.mkdir(&world.root, b"private", 0o700).unwrap();
    root.write_file("/private/f", b"x");
    root.write_file("/f", b"x");
    fails(user.at("private/f"), Errno::EACCES);
    fails(user.open_at("f", OpenFlags::RDWR), Errno::EACCES);
    fails(user.open_at("f", OpenFlags::TRUNC), Errno::EACCES);
    fails(user.open_at("g", OpenFlags::CREAT), Errno::EACCES);
    fails(user.mkdir_at("f"), Errno::EEXIST);
    fails(user.mkdir_at("g"), Errno::EACCES);
    let file = user.at("f").unwrap();
    fails(user.chmod(&file, 0o777), Errno::EPERM);
    fails(user.chown(&file, Some(1000), None), Errno::EPERM);
    fails(user.set_times(&file, SetTime::Now, SetTime::Now), Errno::EACCES);
    fails(user.set_times(&file, SetTime::Now, SetTime::Omit), Errno::EPERM);
    fails(user.access(&file, Access::WRITE), Errno::EACCES);
    user.access(&file, Access::READ).unwrap();
    fails(root.access(&file, Access::EXEC), Errno::EACCES);
    fails(
        user.mknod(&world.root, b"null", FileType::CharacterDevice, 0o666, DeviceId::new(1, 3)),
        Errno::EACCES,
    );

    root.mkdir(&world.root, b"tmp", 0o777).unwrap();
    root.chmod(&root.at("tmp").unwrap(), 0o1777).unwrap();
    root.write_file("/tmp/f", b"x");
    fails(user.unlink(&world.root, b"tmp/f"), Errno::EPERM);
    fails(user.rename_at("tmp/f", "tmp/g"), Errno::EPERM);
    fails(
        user.mknod(&world.root, b"tmp/n", FileType::CharacterDevice, 0o666, DeviceId::new(1, 3)),
        Errno::EPERM,
    );
    user.write_file("/tmp/mine", b"x");
    let mine = user.at("/tmp/mine").unwrap();
    user.chown(&mine, None, Some(27)).unwrap();
    fails(user.chown(&mine, None, Some(28)), Errno::EPERM);
}

#[test]
fn set_id_bits_go_with_changes() {
    let world = World::new();
    let (root, user) = (world.root(), world.user());
    root.write_file("/f", b"x");
    let file = root.at("/f").unwrap();
    let mode = || file.inode().metadata().unwrap().mode;
    root.chown(&file, Some(1000), Some(1000)).unwrap();
    root.chmod(&file, 0o6755).unwrap();
    user.write_file("/f", b"y");
    assert_eq!(mode(), 0o755);
    root.chmod(&file, 0o6755).unwrap();
    root.write_file("/f", b"y");
    assert_eq!(mode(), 0o6755, "CAP_FSETID keeps them");
    root.chown(&file, Some(0), None).unwrap();
    assert_eq!(mode(), 0o755, "but a change of owner never does");
    root.chown(&file, Some(1000), Some(4)).unwrap();
    user.chmod(&file, S_ISUID | S_ISGID | 0o755).unwrap();
    root.chown(&file, Some(1000), Some(99)).unwrap();
    user.chmod(&file, S_ISUID | S_ISGID | 0o755).unwrap();
    assert_eq!(mode(), 0o4755, "not in the group");
    root.mkdir(&world.root, b"shared", 0o777).unwrap();
    root.chown(&root.at("shared").unwrap(), None, Some(4)).unwrap();
    root.chmod(&root.at("shared").unwrap(), 0o2777).unwrap();
    user.mkdir_at("shared/d").unwrap();
    let inherited = user.at("shared/d").unwrap().inode().metadata().unwrap();
    assert_eq!((inherited.mode, inherited.gid), (0o2755, 4));
}

#[test]
fn open_flags_follow_open_2() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/d").unwrap();
    view.write_file("/f", b"hello");
    view.symlink(b"f", &world.root, b"l").unwrap();
    view.symlink(b"new", &world.root, b"dangling").unwrap();
    fails(view.open_at("d", OpenFlags::WRONLY), Errno::EISDIR);
    fails(view.open_at("d", OpenFlags::CREAT), Errno::EISDIR);
    fails(view.open_at("f", OpenFlags::DIRECTORY), Errno::ENOTDIR);
    fails(view.open_at("l", OpenFlags::NOFOLLOW), Errno::ELOOP);
    fails(view.open_at("l", OpenFlags::NOFOLLOW | OpenFlags::DIRECTORY), Errno::ENOTDIR);
    fails(view.open_at("dangling", OpenFlags::CREAT | OpenFlags::EXCL), Errno::EEXIST);
    fails(view.open_at("x/", OpenFlags::CREAT), Errno::EISDIR);
    fails(view.open_at("d", OpenFlags::CREAT | OpenFlags::DIRECTORY), Errno::EINVAL);
    view.open_at("dangling", OpenFlags::CREAT | OpenFlags::WRONLY).unwrap();
    view.at("new").unwrap();
    let link = view.open_at("l", OpenFlags::NOFOLLOW | OpenFlags::PATH).unwrap();
    assert_eq!(link.kind(), FileType::Symlink);
    fails(link.read(&mut Buffer::new(&mut [0])), Errno::EBADF);
    let end = view.open_at("f", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    end.write_at(0, view.credentials, &mut Bytes::new(b"!")).unwrap();
    fails(end.read(&mut Buffer::new(&mut [0])), Errno::EBADF);
    assert_eq!(view.read_file("f"), b"hello!");
    let unnamed = view.open_at("d", OpenFlags::TMPFILE | OpenFlags::DIRECTORY | OpenFlags::RDWR).unwrap();
    assert_eq!(unnamed.inode().metadata().unwrap().links, 0);
    view.link(unnamed.path(), &world.root, b"named").unwrap();
    assert_eq!(view.at("named").unwrap().inode().metadata().unwrap().links, 1);
    fails(view.open_at("d", OpenFlags::TMPFILE | OpenFlags::DIRECTORY), Errno::EINVAL);
    let program = view.at("f").unwrap();
    fails(view.open_path(program.clone(), &OpenHow::execute()), Errno::EACCES);
    program.inode().state().deny_write().unwrap_err();
    drop(end);
    program.inode().state().deny_write().unwrap();
    fails(view.open_at("f", OpenFlags::RDWR), Errno::ETXTBSY);
    fails(view.truncate(&program, 0), Errno::ETXTBSY);
}

#[test]
fn extended_attributes_follow_xattr_7() {
    let world = World::new();
    let (root, user) = (world.root(), world.user());
    root.write_file("/f", b"x");
    let file = root.at("/f").unwrap();
    let any = XattrFlags::empty();
    root.set_xattr(&file, b"user.a", b"1", XattrFlags::CREATE).unwrap();
    root.set_xattr(&file, b"trusted.b", b"2", any).unwrap();
    fails(root.set_xattr(&file, b"user.a", b"1", XattrFlags::CREATE), Errno::EEXIST);
    fails(root.set_xattr(&file, b"user.c", b"1", XattrFlags::REPLACE), Errno::ENODATA);
    fails(root.set_xattr(&file, b"system.posix_acl_access", b"1", any), Errno::EOPNOTSUPP);
    fails(root.set_xattr(&file, b"", b"1", any), Errno::ERANGE);
    fails(root.set_xattr(&file, b"user.", b"1", any), Errno::EINVAL);
    fails(root.set_xattr(&file, b"user.big", &alloc::vec![0; 65537], any), Errno::E2BIG);
    assert_eq!(root.xattr_names(&file).unwrap(), b"trusted.b\0user.a\0");
    assert_eq!(user.xattr_names(&file).unwrap(), b"user.a\0");
    assert_eq!(user.xattr(&file, b"user.a").unwrap(), b"1");
    fails(user.xattr(&file, b"trusted.b"), Errno::ENODATA);
    fails(user.set_xattr(&file, b"user.a", b"2", any), Errno::EACCES);
    let mut value = [0; 20];
    fails(root.set_xattr(&file, b"security.capability", &value, any), Errno::EINVAL);
    value[3] = 2;
    fails(user.set_xattr(&file, b"security.capability", &value, any), Errno::EPERM);
    root.set_xattr(&file, b"security.capability", &value, any).unwrap();
    root.write_file("/f", b"changed");
    fails(root.xattr(&file, b"security.capability"), Errno::ENODATA);
    root.symlink(b"f", &world.root, b"l").unwrap();
    let link = root.link_at("l").unwrap();
    fails(root.set_xattr(&link, b"user.a", b"1", any), Errno::EPERM);
    fails(root.xattr(&link, b"user.a"), Errno::ENODATA);
}

#[test]
fn mounts_cover_what_lies_below() {
    let world = World::new();
    let view = world.root();
    view.mkdir_at("/mnt").unwrap();
    view.write_file("/mnt/below", b"x");
    let below = view.at("/mnt").unwrap();
    let other = Tmpfs::new(&Options { pages: 2, inodes: 10, mode: 0o755, ..Options::default() }).unwrap();
    world.namespace.mount(other, &below, MountFlags::NODEV, b"tmpfs").unwrap();
    fails(view.at("/mnt/below"), Errno::ENOENT);
    view.mkdir_at("/mnt/in").unwrap();
    assert_eq!(view.at("/mnt/in/..").unwrap(), view.at("/mnt").unwrap());
    assert_eq!(view.at("/mnt/..").unwrap(), world.root);
    assert_eq!(view.absolute_name(&view.at("/mnt/in").unwrap()).unwrap(), b"/mnt/in");
    fails(view.rmdir(&world.root, b"mnt"), Errno::EBUSY);
    fails(view.rename_at("mnt", "other"), Errno::EBUSY);
    fails(view.rename_at("mnt/in", "in"), Errno::EXDEV);
    view.mknod(&world.root, b"mnt/null", FileType::CharacterDevice, 0o666, DeviceId::new(1, 3)).unwrap();
    fails(view.open_at("mnt/null", OpenFlags::empty()), Errno::EACCES);
    let scoped = |name: &[u8], flags| view.resolve(&world.root, name, flags);
    fails(scoped(b"mnt/in", Resolve::NO_XDEV), Errno::EXDEV);
    fails(scoped(b"mnt/../..", Resolve::BENEATH), Errno::EXDEV);
    let file = view.open_at("/mnt/f", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(file.write(view.credentials, &mut Bytes::new(&[1; 3 * 4096])).unwrap(), 8192);
    fails(file.write(view.credentials, &mut Bytes::new(&[1; 4096])), Errno::ENOSPC);
    world.namespace.remount(&view.at("/mnt").unwrap(), MountFlags::RDONLY, None).unwrap();
    fails(view.mkdir_at("/mnt/x"), Errno::EROFS);
    fails(view.mkdir_at("/mnt/in"), Errno::EEXIST);
    fails(view.open_at("/mnt/f", OpenFlags::RDWR), Errno::EROFS);
    fails(view.chmod(&view.at("/mnt/f").unwrap(), 0), Errno::EROFS);
    fails(world.namespace.unmount(&view.at("/mnt").unwrap(), Unmounting::Idle), Errno::EBUSY);
    drop(file);
    view.mkdir_at("/other").unwrap();
    let moved = |from, to| world.namespace.move_mount(&view.at(from).unwrap(), &view.at(to).unwrap());
    fails(moved("/other", "/mnt"), Errno::EINVAL);
    fails(moved("/", "/other"), Errno::EINVAL);
    fails(moved("/mnt", "/mnt/in"), Errno::ELOOP);
    fails(moved("/mnt", "/other/../mnt/f"), Errno::ENOTDIR);
    moved("/mnt", "/other").unwrap();
    assert_eq!(view.read_file("/mnt/below"), b"x");
    fails(view.mkdir_at("/other/in"), Errno::EEXIST);
    world.namespace.unmount(&view.at("/other").unwrap(), Unmounting::Idle).unwrap();
    view.mkdir_at("/other/in").unwrap();
}

#[test]
fn names_are_forgotten_when_memory_is_short() {
    let world = World::new();
    let view = world.root();
    for n in 0..100 {
        view.mkdir_at(&alloc::format!("/d{n}")).unwrap();
    }
    let held = view.at("/d7").unwrap();
    // The first look at a name only forgets that it was used.
    world.namespace.shrink(1000);
    assert!(world.namespace.shrink(1000) >= 99);
    assert_eq!(view.at("/d7").unwrap(), held);
    view.at("/d99").unwrap();
}
