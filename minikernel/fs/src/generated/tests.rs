//! A small `/proc`.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::Error;
use crate::credentials::Credentials;
use crate::file::{FileOps, OpenFile, OpenFlags, Whence};
use crate::tmpfs::{Options, Tmpfs};
use crate::vfs::{MountFlags, Namespace, OpenHow, Path, Resolve, SpecialFiles, View};
use crate::{Buffer, Bytes};

/// Processes 1 and 40, after the fixed names.
struct Root(Table);

impl Directory for Root {
    fn lookup(&self, name: &[u8]) -> Result<Entry> {
        match name {
            b"1" | b"40" => Ok(Entry::Directory(Arc::new(Table::new()))),
            name => self.0.lookup(name),
        }
    }

    fn list(&self, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Result<()> {
        let mut more = true;
        self.0.list(from, &mut |listed| {
            more = visit(listed);
            more
        })?;
        for pid in [1_u64, 40] {
            let (key, name) = (256 + pid, pid.to_string());
            more = more
                && (key < from || visit(&Listed { key, name: name.as_bytes(), kind: FileType::Directory }));
        }
        Ok(())
    }
}

/// A file that counts how often its text is made, and what is written to it.
#[derive(Default)]
struct Counter(AtomicU32);

impl File for Arc<Counter> {
    fn read(&self, _process: Process) -> Result<Vec<u8>> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed).to_string().into_bytes())
    }

    fn write(&self, _process: Process, text: &[u8]) -> Result<()> {
        let number = core::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        self.0.store(number.ok_or(Errno::EINVAL)?, Ordering::Relaxed);
        Ok(())
    }

    fn attributes(&self) -> Attributes {
        Attributes::root(0o644)
    }
}

fn with_proc(act: impl FnOnce(&View<'_>)) {
    let no_fifo =
        |_: &OpenRequest<'_>| -> Result<alloc::boxed::Box<dyn FileOps>> { Err(Errno::ENXIO.into()) };
    let root = Tmpfs::new(&Options::default()).unwrap();
    let namespace = Namespace::new(root, b"none", SpecialFiles::new(Arc::new(no_fifo)));
    let table = Table::new()
        .file("version", |_: Process| Ok(b"Isopod".to_vec()))
        .file("counter", Arc::new(Counter::default()))
        .link("self", |process: Process| Ok(process.id.to_string().into_bytes()));
    let root = namespace.root();
    let credentials = Credentials::root();
    let process = Process { id: 40, thread: 41 };
    let view = View {
        namespace: &namespace,
        credentials: &credentials,
        root: &root,
        directory: &root,
        umask: 0,
        process,
    };
    view.mkdir(&root, b"proc", 0o755).unwrap();
    let at = view.resolve(&root, b"proc", Resolve::FOLLOW).unwrap();
    let file_system = Generated::new("proc", PROC_MAGIC, Arc::new(Root(table)));
    namespace.mount(file_system, &at, MountFlags::empty(), b"proc").unwrap();
    act(&view);
}

fn resolve(view: &View<'_>, name: &[u8]) -> Result<Path> {
    view.resolve(view.root, name, Resolve::FOLLOW)
}

fn open(view: &View<'_>, name: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>> {
    view.open(view.root, name, &OpenHow::new(flags, 0o666))
}

fn text(file: &OpenFile) -> Vec<u8> {
    let mut bytes = [0; 100];
    let mut sink = Buffer::new(&mut bytes);
    while file.read(&mut sink).unwrap() > 0 {}
    let filled = sink.filled();
    bytes[..filled].to_vec()
}

#[test]
fn files_are_made_when_read_and_again_from_the_start() {
    with_proc(|view| {
        assert_eq!(text(&open(view, b"/proc/version", OpenFlags::empty()).unwrap()), b"Isopod");
        let counter = open(view, b"/proc/counter", OpenFlags::RDWR | OpenFlags::TRUNC).unwrap();
        assert_eq!(text(&counter), b"0");
        assert_eq!(text(&counter), b"");
        counter.seek(0, Whence::Set).unwrap();
        assert_eq!(text(&counter), b"1");
        counter.write(view.credentials, &mut Bytes::new(b"17\n")).unwrap();
        counter.seek(0, Whence::Set).unwrap();
        assert_eq!(text(&counter), b"17");
        assert!(matches!(
            counter.write(view.credentials, &mut Bytes::new(b"x")),
            Err(Error::Errno(Errno::EINVAL))
        ));
    });
}

#[test]
fn links_depend_on_who_asks() {
    with_proc(|view| {
        let itself = resolve(view, b"/proc/self").unwrap();
        assert_eq!(view.absolute_name(&itself).unwrap(), b"/proc/40");
        let number = |name: &[u8]| resolve(view, name).unwrap().inode().metadata().unwrap().inode;
        assert_eq!(number(b"/proc/self"), number(b"/proc/40"));
        assert_ne!(number(b"/proc/1"), number(b"/proc/40"));
        assert!(matches!(resolve(view, b"/proc/2"), Err(Error::Errno(Errno::ENOENT))));
        assert_eq!(resolve(view, b"/proc/self/..").unwrap(), resolve(view, b"/proc").unwrap());
    });
}

#[test]
fn listings_go_on_where_they_stopped() {
    with_proc(|view| {
        let directory = open(view, b"/proc", OpenFlags::DIRECTORY).unwrap();
        let mut names = Vec::new();
        loop {
            let before = names.len();
            directory
                .read_dir(&mut |entry| {
                    if names.len() > before {
                        return false;
                    }
                    names.push(entry.name.to_vec());
                    true
                })
                .unwrap();
            if names.len() == before {
                break;
            }
        }
        assert_eq!(names, [&b"."[..], b"..", b"version", b"counter", b"self", b"1", b"40"]);
    });
}

#[test]
fn nothing_can_be_changed() {
    with_proc(|view| {
        let fails =
            |result: Result<()>, errno| assert!(matches!(result, Err(Error::Errno(found)) if found == errno));
        fails(view.mkdir(view.root, b"proc/new", 0o777), Errno::ENOENT);
        fails(view.unlink(view.root, b"proc/version"), Errno::EPERM);
        fails(
            view.rename(view.root, b"proc/version", view.root, b"proc/x", crate::RenameFlags::empty()),
            Errno::ENOENT,
        );
        fails(view.chmod(&resolve(view, b"/proc/version").unwrap(), 0o777), Errno::EPERM);
    });
}
