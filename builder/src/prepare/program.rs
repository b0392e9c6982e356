//! A program of the host with everything it needs to start: its loader and libraries, as the host's own loader would find them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{PrepareError, Prepared};
use crate::foreign::open_regular;
use crate::link::inspect::{Host, inspect};
use crate::root::{Content, Kind, Meta, Timestamp, Tree};
use crate::source::{ImageConfig, Reference};
use crate::store::{Cached, Digest, Store};

/// Rises when the same program would give another root than before.
const VERSION: u32 = 2;

/// Who there is in a root that has no users of its own.
const PASSWD: &[u8] = b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &[u8] = b"root:x:0:\nnobody:x:65534:\n";

/// The directories that a root has without being asked, and their permissions.
const DIRECTORIES: [(&str, u16); 4] = [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/tmp", 0o1777)];

/// A program and the files that go with it.
#[derive(Debug)]
pub struct Program {
    /// Things of the host by their place in the root.
    items: BTreeMap<Vec<u8>, Item>,
    /// How the program is run.
    pub config: ImageConfig,
}

/// Something of the host that becomes part of a root.
#[derive(Debug)]
struct Item {
    path: PathBuf,
    /// As it was found; what is read of it later must still be that.
    about: Metadata,
    /// What a symbolic link points to, wherever that leads in the root.
    target: Option<Vec<u8>>,
}

impl Item {
    /// What `path` leads to in the end.
    fn behind(path: &Path) -> Result<Self, PrepareError> {
        let found = path.canonicalize().and_then(|real| Ok((real.metadata()?, real)));
        let (about, path) = found.map_err(PrepareError::read(path))?;
        Ok(Self { path, about, target: None })
    }

    fn kind(&self) -> Kind {
        match &self.target {
            Some(target) => Kind::Symlink(target.clone().into()),
            None if self.about.is_dir() => Kind::directory(),
            None => Kind::File(Content::host_file(self.path.clone(), self.about.len())),
        }
    }
}

impl Program {
    /// Finds out what the program in `file` needs to start.
    ///
    /// # Errors
    /// A file that is no program for the guest, or that lacks its loader or a library on this host.
    pub fn find(file: &Path) -> Result<Self, PrepareError> {
        let path = file.canonicalize().map_err(PrepareError::read(file))?;
        open_regular(&path).map_err(PrepareError::read(file))?;
        let argument = path.as_os_str().as_bytes().to_vec();
        // The host's LD_LIBRARY_PATH counts, as it would if the program were started here.
        let env = std::env::var_os("LD_LIBRARY_PATH");
        let env = env.map(|value| [b"LD_LIBRARY_PATH=", value.as_bytes()].concat());
        let needs = inspect(&Host, &[argument], &Vec::from_iter(env), b"/")?;

        let host = |path: &[u8]| PathBuf::from(OsStr::from_bytes(path));
        let mut files = BTreeMap::new();
        for script in needs.scripts.iter().skip(1).chain(&needs.loader).chain([&needs.program]) {
            if *script != path.as_os_str().as_bytes() {
                files.insert(script.clone(), host(script));
            }
        }
        // What a RUNPATH or the host's cache led to goes where the loader looks by itself: beside the loader.
        let beside = needs.loader.as_ref().and_then(|loader| host(loader).canonicalize().ok());
        let beside = beside.as_deref().and_then(Path::parent).unwrap_or(Path::new("/lib"));
        for library in &needs.libraries {
            let place = if library.in_default_directory {
                library.path.clone()
            } else {
                beside.join(host(&library.name)).into_os_string().as_bytes().to_vec()
            };
            files.insert(place, host(&library.path));
        }
        let place = place(&path, &files);
        files.insert(place.clone().into_bytes(), path);
        let items = files.into_iter().map(|(place, path)| Ok((place, Item::behind(&path)?)));
        let items = items.collect::<Result<_, PrepareError>>()?;
        let config = ImageConfig {
            entrypoint: vec![place],
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..ImageConfig::default()
        };
        Ok(Self { items, config })
    }

    /// Adds the file or directory `from` of the host at `to`, an absolute path in the root. What is in a directory keeps its form:
    /// symbolic links stay links, empty directories stay.
    ///
    /// # Errors
    /// When `from` cannot be read, or holds anything but files, directories and links.
    pub fn add(&mut self, from: &Path, to: &Path) -> Result<(), PrepareError> {
        let mut found = vec![(Item::behind(from)?, to.to_owned())];
        while let Some((item, to)) = found.pop() {
            let failed = |error| PrepareError::read(&item.path)(error);
            if item.about.is_dir() {
                for entry in item.path.read_dir().map_err(failed)? {
                    let (path, about) =
                        entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))).map_err(failed)?;
                    let target = about.is_symlink().then(|| path.read_link()).transpose();
                    let target = target.map_err(PrepareError::read(&path))?;
                    let target = target.map(|target| target.into_os_string().into_vec());
                    let to = to.join(path.file_name().unwrap_or_default());
                    found.push((Item { path, about, target }, to));
                }
            } else if !item.about.is_file() && item.target.is_none() {
                let reason = "it is neither a file, a directory nor a symbolic link";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
            }
            self.items.insert(to.into_os_string().into_vec(), item);
        }
        Ok(())
    }

    /// The root. It is made anew only when a file has changed.
    ///
    /// # Errors
    /// When a file cannot be read, or no root can hold it.
    pub fn prepare(self, reference: &Reference, store: &Store) -> Result<Prepared, PrepareError> {
        self.check_places()?;
        let key = self.key();
        if let Cached::Whole(root) = store.root(&key) {
            return Ok(root.into());
        }
        let mut tree = Tree::new();
        for (path, mode) in DIRECTORIES {
            tree.insert(path.as_bytes(), Meta::with_mode(mode), Kind::directory())?;
        }
        for (path, bytes) in [("/etc/passwd", PASSWD), ("/etc/group", GROUP)] {
            tree.insert(path.as_bytes(), Meta::with_mode(0o644), Kind::File(Content::bytes(bytes)))?;
        }
        for (place, item) in self.items {
            let Item { about, .. } = &item;
            let mtime = Timestamp { seconds: about.mtime(), nanos: about.mtime_nsec() as u32 };
            // Owned by root, whoever owns it here.
            let meta = Meta { mtime, ..Meta::with_mode((about.mode() & 0o777) as u16) };
            tree.insert(&place, meta, item.kind())?;
        }
        Prepared::new(tree, Some(key), reference, self.config)
    }

    /// Refuses a file in the place of a directory: one of the two would be missing without a word.
    fn check_places(&self) -> Result<(), PrepareError> {
        for (place, item) in self.items.iter().filter(|(_, item)| item.about.is_file()) {
            let inside = [place, &b"/"[..]].concat();
            let below = self.items.range(inside.clone()..).map(|(place, _)| place);
            let own = DIRECTORIES
                .iter()
                .find(|(path, _)| path.as_bytes() == place)
                .map(|(path, _)| path.as_bytes());
            if let Some(below) =
                own.or(below.take_while(|below| below.starts_with(&inside)).map(Vec::as_slice).next())
            {
                let text = |path: &[u8]| PathBuf::from(OsStr::from_bytes(path));
                return Err(PrepareError::Place {
                    from: item.path.clone(),
                    place: text(place),
                    below: text(below),
                });
            }
        }
        Ok(())
    }

    /// Stands for the files as they are now, as `make` would tell: a change of content changes the time of the last change.
    fn key(&self) -> Digest {
        let mut text = format!("program {VERSION} {:?}\n", self.config);
        for (place, Item { path, about, target }) in &self.items {
            let stamp = (about.dev(), about.ino(), about.size(), about.mode());
            let times = (about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec());
            let (place, path) = (place.escape_ascii(), path.as_os_str().as_bytes().escape_ascii());
            text.push_str(&format_args!("{place} {path} {stamp:?} {times:?} {target:?}\n").to_string());
        }
        Digest::of(text.as_bytes())
    }
}

/// Where the program goes: to the top of the root, or, where its name is that of a directory there, to `/bin`.
fn place(program: &Path, others: &BTreeMap<Vec<u8>, PathBuf>) -> String {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let top = format!("/{name}");
    let inside = format!("{top}/");
    let is_directory = ["/etc", "/bin"].contains(&&*top)
        || DIRECTORIES.iter().any(|(path, _)| *path == top)
        || others.keys().any(|place| place.starts_with(inside.as_bytes()));
    if is_directory { format!("/bin/{name}") } else { top }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Root;

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let program = Program::find(Path::new("/bin/sh")).unwrap();
        let places: Vec<_> = program.items.keys().map(|place| String::from_utf8_lossy(place)).collect();
        assert!(places.iter().any(|place| place.ends_with("/libc.so.6")), "{places:?}");
        assert!(places.iter().any(|place| place.contains("/ld-linux")), "{places:?}");
        assert!(program.items.contains_key(program.config.entrypoint[0].as_bytes()));
    }

    #[test]
    fn a_root_is_made_anew_only_when_a_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path()).unwrap();
        let extra = dir.path().join("extra");
        std::fs::write(&extra, "one").unwrap();
        let root = || {
            let mut program = Program::find(Path::new("/bin/sh")).unwrap();
            program.add(&extra, Path::new("/etc/extra")).unwrap();
            let prepared = program.prepare(&Reference::Elf("/bin/sh".into()), &store).unwrap();
            prepared.keep(&store).unwrap().image
        };
        let first = root();
        assert_eq!(root(), first);
        std::fs::write(&extra, "two").unwrap();
        assert_ne!(root(), first);
    }

    #[test]
    fn directories_keep_links_cycles_and_empty_directories() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("home")).unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("empty/deep")).unwrap();
        std::fs::write(from.join("file"), "content").unwrap();
        for (name, target) in [("link", "file"), ("up", ".."), ("self", "self"), ("away", "/nonexistent")] {
            std::os::unix::fs::symlink(target, from.join(name)).unwrap();
        }
        let mut program = Program::find(Path::new("/bin/sh")).unwrap();
        program.add(&from, Path::new("/srv")).unwrap();
        let prepared = program.prepare(&Reference::Elf("/bin/sh".into()), &store).unwrap();
        let Root::Tree { tree, .. } = prepared.root else { panic!("it is new") };
        let kind = |path: &str| &tree.node(tree.lookup_nofollow(path.as_bytes()).unwrap()).kind;
        assert!(matches!(kind("/srv/empty/deep"), Kind::Directory(_)));
        assert!(matches!(kind("/srv/up"), Kind::Symlink(target) if **target == *b".."));
        assert!(
            matches!(kind("/srv/self"), Kind::Symlink(_)) && matches!(kind("/srv/away"), Kind::Symlink(_))
        );
        assert_eq!(tree.read_path(b"/srv/link", 100).unwrap().unwrap(), b"content");
    }

    #[test]
    fn a_program_may_have_the_name_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("home")).unwrap();
        for name in ["lib", "lib64", "dev", "proc", "tmp", "etc", "bin", "usr", "plain"] {
            let file = dir.path().join(name);
            std::fs::copy("/bin/sh", &file).unwrap();
            let program = Program::find(&file).unwrap();
            let entry = program.config.entrypoint[0].clone();
            let loader = program.items.keys().find(|place| place.starts_with(b"/lib")).unwrap().clone();
            let root = program.prepare(&Reference::Elf(file), &store).unwrap().root;
            let Root::Tree { tree, .. } = root else { panic!("it is new") };
            for path in [entry.as_bytes(), &loader, b"/etc/passwd"] {
                let id = tree.lookup(path).unwrap_or_else(|_| panic!("{name}: {}", path.escape_ascii()));
                assert!(matches!(tree.node(id).kind, Kind::File(_)), "{name}: {}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("home")).unwrap();
        for (first, second) in [("/a", "/a/b"), ("/dev", "/c"), ("/sh/x", "/sh/y")] {
            let mut program = Program::find(Path::new("/bin/sh")).unwrap();
            program.config.entrypoint.clear();
            program.items.insert(b"/sh".to_vec(), Item::behind(Path::new("/bin/sh")).unwrap());
            program.add(Path::new("/etc/passwd"), Path::new(first)).unwrap();
            program.add(Path::new("/etc/passwd"), Path::new(second)).unwrap();
            let error = program.prepare(&Reference::Elf("/bin/sh".into()), &store).unwrap_err();
            assert!(matches!(error, PrepareError::Place { .. }), "{error}");
        }
    }
}
