//! Programs of the host serve as samples, damaged in every way for the hostile ones.

use std::collections::HashMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::root::erofs;

/// A tree in memory; every file is executable.
#[derive(Default)]
struct Memory(HashMap<Vec<u8>, Vec<u8>>);

impl Memory {
    fn with(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.as_bytes().to_vec(), bytes.into());
        self
    }
}

impl Files for Memory {
    fn open(&self, path: &[u8]) -> io::Result<Entry> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Entry { path: path.to_vec(), mode: 0o100_755, size: bytes.len() as u64, data: Box::new(bytes) })
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn look(files: &dyn Files, program: &str) -> Result<Needs, InspectError> {
    inspect(files, &[program.into()], &[b"PATH=/bin:/usr/bin".to_vec()], b"/")
}

fn message(files: &dyn Files, program: &str) -> String {
    look(files, program).unwrap_err().to_string()
}

/// The host's shell: small and dynamic.
fn shell() -> Vec<u8> {
    std::fs::read("/bin/sh").unwrap()
}

#[test]
fn the_hosts_shell_needs_its_loader_and_c_library() {
    let needs = look(&Host, "sh").unwrap();
    assert!(needs.loader.is_some());
    assert!(needs.libraries.iter().any(|library| library.name == b"libc.so.6"), "{needs:?}");
    assert!(needs.libraries.iter().all(|library| library.in_default_directory), "{needs:?}");
}

#[test]
fn what_is_missing_is_named_with_who_needs_it() {
    let files = Memory::default().with("/bin/app", shell());
    let loader = "/lib64/ld-linux-x86-64.so.2";
    assert_eq!(message(&files, "app"), format!("/bin/app needs the loader {loader}, which is not there"));
    let files = files.with(loader, std::fs::read(loader).unwrap());
    let text = message(&files, "app");
    assert!(text.starts_with("/bin/app needs the library lib"), "{text}");
    assert_eq!(message(&files, "nothing"), "there is no program `nothing`");
}

#[test]
fn scripts_lead_to_their_interpreter() {
    let files = Memory::default()
        .with("/run", "#! /bin/sh -e\nexit\n")
        .with("/dos", "#!/bin/sh\r\nexit\n")
        .with("/loop", "#!/loop\n")
        .with("/text", "no program\n");
    assert_eq!(message(&files, "/run"), "/run needs the interpreter /bin/sh, which is not there");
    let dos = look(&files, "/dos").unwrap_err();
    assert_eq!(dos.to_string(), "/dos needs the interpreter /bin/sh\\r, which is not there");
    assert!(dos.hint().contains("DOS line ends"));
    assert!(message(&files, "/loop").contains("interpreted by a script"));
    assert!(message(&files, "/text").contains("neither an ELF nor a script"));
}

#[test]
fn other_machines_are_named() {
    let mut bytes = shell();
    bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
    let files = Memory::default().with("/arm", bytes.clone());
    assert_eq!(message(&files, "/arm"), "/arm is a program for aarch64, but the guest runs x86-64");
    bytes[4] = 1;
    assert!(message(&files.with("/32", bytes), "/32").contains("a 32-bit machine"));
}

/// A small ELF with the strings of its dynamic section.
fn object(interpreter: Option<&str>, entries: &[(u64, &str)]) -> Vec<u8> {
    use goblin::elf::dynamic::DT_STRTAB;
    const HEADERS: u64 = 64 + 3 * 56;
    let mut strings = vec![0];
    let mut tags: Vec<u64> = Vec::new();
    for (tag, text) in entries {
        tags.extend([*tag, strings.len() as u64]);
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
    }
    let dynamic = (tags.len() as u64 + 4) * 8;
    tags.extend([DT_STRTAB, HEADERS + dynamic, 0, 0]);
    let interpreter_at = HEADERS + dynamic + strings.len() as u64;
    let interpreter = interpreter.map(|path| [path.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let size = interpreter_at + interpreter.len() as u64;

    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    for half in [3u16, 62] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 3, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    let kind = if interpreter.is_empty() { 0u32 } else { 3 };
    for (kind, start, length) in
        [(1u32, 0, size), (2, HEADERS, dynamic), (kind, interpreter_at, interpreter.len() as u64)]
    {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(4u32.to_le_bytes());
        for word in [start, start, start, length, length, 8] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.extend(tags.iter().flat_map(|word| word.to_le_bytes()));
    [bytes, strings, interpreter].concat()
}

/// The paths of the libraries of `/opt/app/bin/app`, in the loader's order.
fn libraries(files: &Memory, env: &[&str]) -> Result<Vec<String>, String> {
    let env: Vec<Vec<u8>> = env.iter().map(|variable| variable.as_bytes().to_vec()).collect();
    let needs =
        inspect(files, &[b"/opt/app/bin/app".to_vec()], &env, b"/").map_err(|error| error.to_string())?;
    Ok(needs.libraries.into_iter().map(|library| String::from_utf8(library.path).unwrap()).collect())
}

#[test]
fn libraries_are_found_as_glibcs_loader_finds_them() {
    use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH};
    let loader = "/lib64/ld-linux-x86-64.so.2";
    let library = |entries: &[(u64, &str)]| object(None, entries);
    let tree = |program: &[(u64, &str)]| {
        Memory::default().with("/opt/app/bin/app", object(Some(loader), program)).with(loader, library(&[]))
    };
    // Its own name for the loader, and itself: neither is looked for twice.
    let needs = [(DT_NEEDED, "liba.so"), (DT_NEEDED, "ld-linux-x86-64.so.2"), (DT_NEEDED, "liba.so")];
    let missing = Err("/opt/app/bin/app needs the library liba.so, which is not there".to_owned());
    assert_eq!(libraries(&tree(&needs), &[]), missing);
    let files = tree(&needs).with("/usr/lib/liba.so", library(&[]));
    assert_eq!(libraries(&files, &[]).unwrap(), ["/usr/lib/liba.so"]);

    // The cache comes before the default directories, LD_LIBRARY_PATH before the cache.
    let cache = b"glibc-ld.so.cache1.1\0liba.so\0/opt/else/liba.so\0/opt/xliba.so\0";
    let files = files.with("/etc/ld.so.cache", cache.to_vec()).with("/opt/else/liba.so", library(&[]));
    assert_eq!(libraries(&files, &[]).unwrap(), ["/opt/else/liba.so"]);
    let files = files.with("/env/liba.so", library(&[]));
    assert_eq!(libraries(&files, &["LD_LIBRARY_PATH=/none:/env"]).unwrap(), ["/env/liba.so"]);

    // A RUNPATH is for the object's own needs; an RPATH is for the needs of what it needs too.
    let a = library(&[(DT_NEEDED, "libb.so")]);
    let with = |tag, path| {
        tree(&[(DT_NEEDED, "liba.so"), (tag, path)])
            .with("/opt/app/lib/liba.so", a.clone())
            .with("/opt/app/lib/libb.so", library(&[]))
    };
    let both = ["/opt/app/bin/../lib/liba.so", "/opt/app/bin/../lib/libb.so"];
    let plain = |files: Memory| {
        let renamed = files.0.into_iter().map(|(path, bytes)| {
            let path = String::from_utf8(path).unwrap().replace("/opt/app/lib", "/opt/app/bin/../lib");
            (path.into_bytes(), bytes)
        });
        Memory(renamed.collect())
    };
    assert_eq!(libraries(&plain(with(DT_RPATH, "$ORIGIN/../lib")), &[]).unwrap(), both);
    let error = libraries(&plain(with(DT_RUNPATH, "${ORIGIN}/../lib")), &[]).unwrap_err();
    assert_eq!(error, "/opt/app/bin/../lib/liba.so needs the library libb.so, which is not there");
}

#[test]
fn libraries_are_found_as_musls_loader_finds_them() {
    use goblin::elf::dynamic::{DT_NEEDED, DT_RUNPATH};
    let loader = "/lib/ld-musl-x86_64.so.1";
    let needs = [(DT_NEEDED, "libc.musl-x86_64.so.1"), (DT_NEEDED, "liba.so"), (DT_RUNPATH, "/own")];
    let files = Memory::default()
        .with("/opt/app/bin/app", object(Some(loader), &needs))
        .with(loader, object(None, &[]))
        .with("/usr/local/lib/liba.so", object(None, &[(DT_NEEDED, "libb.so"), (DT_NEEDED, "libc.so")]))
        .with("/own/libb.so", object(None, &[]));
    assert_eq!(libraries(&files, &[]).unwrap(), ["/usr/local/lib/liba.so", "/own/libb.so"]);
    let files = files.with("/etc/ld-musl-x86_64.path", "/lib\n/nowhere\n");
    let error = libraries(&files, &[]).unwrap_err();
    assert_eq!(error, "/opt/app/bin/app needs the library liba.so, which is not there");
}

/// The root room writes the image, and the host's own file system says what must be found in it.
#[test]
fn a_finished_root_is_read_as_the_directory_it_was_made_of() {
    use std::os::unix::fs::{FileExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("a/b")).unwrap();
    std::fs::create_dir(path("many")).unwrap();
    for index in 0..500 {
        std::fs::write(path(&format!("many/a-rather-long-name-{index}")), format!("{index}")).unwrap();
    }
    std::fs::write(path("a/b/file"), vec![7; 10_000]).unwrap();
    std::fs::write(path("a/empty"), "").unwrap();
    let sparse = std::fs::File::create(path("sparse")).unwrap();
    sparse.write_all_at(b"end", 5 << 20).unwrap();
    sparse.write_all_at(b"middle", 2 << 20).unwrap();
    for (link, target) in
        [("up", "a/../a/b"), ("absolute", "/up/file"), ("out", "../../../a/b/file"), ("loop", "loop")]
    {
        symlink(target, path(link)).unwrap();
    }
    let image = tempfile::NamedTempFile::new().unwrap();
    let tree = crate::root::Tree::from_directory(dir.path()).unwrap();
    erofs::Image::plan(&tree).unwrap().write(image.as_file()).unwrap();

    let root = erofs::RootImage::open(image.reopen().unwrap(), 0).unwrap();
    let mut names = vec!["/a/b/file".to_owned(), "/a/empty".to_owned(), "/sparse".to_owned()];
    names.extend((0..500).map(|index| format!("/many/a-rather-long-name-{index}")));
    for name in names {
        let entry = root.open(name.as_bytes()).unwrap();
        assert_eq!(entry.path, name.as_bytes());
        let host = std::fs::read(dir.path().join(&name[1..])).unwrap();
        assert!(entry.read(0, usize::MAX).unwrap() == host, "{name} differs");
    }
    for link in ["/up/file", "/absolute", "/out", "//a/./b/../b/file"] {
        assert_eq!(root.open(link.as_bytes()).unwrap().path, b"/a/b/file", "{link}");
    }
    for (none, kind) in [
        ("/nothing", io::ErrorKind::NotFound),
        ("/a/b", io::ErrorKind::InvalidInput),
        ("/a/b/file/x", io::ErrorKind::NotADirectory),
    ] {
        assert_eq!(root.open(none.as_bytes()).unwrap_err().kind(), kind, "{none}");
    }
    assert!(root.open(b"/loop").is_err());
}

proptest! {
    #[test]
    fn damaged_programs_never_panic(
        flips in prop::collection::vec((0usize..4096, any::<u8>()), 1..20),
        cut in prop::option::of(0usize..8192),
    ) {
        let mut bytes = shell();
        bytes.truncate(64 << 10);
        for (at, value) in flips {
            bytes[at] = value;
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let _ = look(&Memory::default().with("/app", bytes), "/app");
    }

    #[test]
    fn random_images_never_panic(bytes: Vec<u8>, path: Vec<u8>) {
        let mut image = tempfile::NamedTempFile::new().unwrap();
        let mut block = vec![0; 1024];
        block.extend_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0]);
        block.resize(1024 + 128, 0);
        let mut all = bytes;
        all.splice(0..0, block);
        io::Write::write_all(&mut image, &all).unwrap();
        if let Ok(root) = erofs::RootImage::open(image.reopen().unwrap(), 0) {
            let _ = root.open(&path);
            let _ = root.open(b"/bin/sh");
        }
    }
}
