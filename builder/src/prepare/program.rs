//! A program of the host with everything it needs to start: its loader and libraries, as the host's own loader would find them.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{PrepareError, Prepared};
use crate::link::inspect::{Host, inspect};
use crate::root::{Content, Kind, Meta, Timestamp, Tree};
use crate::source::{ImageConfig, Reference};
use crate::store::{Cached, Digest, Store};

/// Rises when the same program would give another root than before.
const VERSION: u32 = 1;

/// Who there is in a root that has no users of its own.
const PASSWD: &[u8] = b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &[u8] = b"root:x:0:\nnobody:x:65534:\n";

/// A program and the files that go with it.
#[derive(Debug)]
pub struct Program {
    /// Files of the host by their place in the root.
    files: BTreeMap<Vec<u8>, PathBuf>,
    /// How the program is run.
    pub config: ImageConfig,
}

impl Program {
    /// Finds out what the program in `file` needs to start.
    ///
    /// # Errors
    /// A file that is no program for the guest, or that lacks its loader or a library on this host.
    pub fn find(file: &Path) -> Result<Self, PrepareError> {
        let path = file.canonicalize();
        let path = path.map_err(|source| PrepareError::Read { path: file.to_owned(), source })?;
        let argument = path.as_os_str().as_bytes().to_vec();
        // The host's LD_LIBRARY_PATH counts, as it would if the program were started here.
        let env = std::env::var_os("LD_LIBRARY_PATH");
        let env = env.map(|value| [b"LD_LIBRARY_PATH=", value.as_bytes()].concat());
        let needs = inspect(&Host, &[argument], &Vec::from_iter(env), b"/")?;

        let host = |path: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(path));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let place = format!("/{name}");
        let mut files = BTreeMap::from([(place.clone().into_bytes(), path.clone())]);
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
        let config = ImageConfig {
            entrypoint: vec![place],
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..ImageConfig::default()
        };
        Ok(Self { files, config })
    }

    /// Adds the file or directory `from` of the host at `to`, an absolute path in the root.
    ///
    /// # Errors
    /// When `from` cannot be read.
    pub fn add(&mut self, from: &Path, to: &Path) -> Result<(), PrepareError> {
        let failed = |source| PrepareError::Read { path: from.to_owned(), source };
        let about = from.metadata().map_err(failed)?;
        if !about.is_dir() {
            self.files.insert(to.as_os_str().as_bytes().to_vec(), from.to_owned());
            return Ok(());
        }
        for entry in from.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.add(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// The root. It is made anew only when a file has changed.
    ///
    /// # Errors
    /// When a file cannot be read, or no root can hold it.
    pub fn prepare(self, reference: &Reference, store: &Store) -> Result<Prepared, PrepareError> {
        let mut found = Vec::new();
        for (place, path) in self.files {
            let real = path.canonicalize().and_then(|real| real.metadata().map(|about| (real, about)));
            let (real, about) = real.map_err(|source| PrepareError::Read { path, source })?;
            found.push((place, real, about));
        }
        let key = key(&found, &self.config);
        if let Cached::Whole(root) = store.root(&key) {
            return Ok(root.into());
        }
        let mut tree = Tree::new();
        for (path, mode) in [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/tmp", 0o1777)] {
            tree.insert(path.as_bytes(), Meta::with_mode(mode), Kind::directory())?;
        }
        for (path, bytes) in [("/etc/passwd", PASSWD), ("/etc/group", GROUP)] {
            tree.insert(path.as_bytes(), Meta::with_mode(0o644), Kind::File(Content::bytes(bytes)))?;
        }
        for (place, path, about) in found {
            let mtime = Timestamp { seconds: about.mtime(), nanos: about.mtime_nsec() as u32 };
            let meta = Meta { mtime, ..Meta::with_mode((about.mode() & 0o777) as u16) };
            tree.insert(&place, meta, Kind::File(Content::host_file(path, about.len())))?;
        }
        Prepared::new(tree, Some(key), reference, self.config)
    }
}

/// Stands for the files as they are now, as `make` would tell: a change of content changes the time of the last change.
fn key(files: &[(Vec<u8>, PathBuf, Metadata)], config: &ImageConfig) -> Digest {
    let mut text = format!("program {VERSION} {config:?}\n");
    for (place, path, about) in files {
        let stamp = (about.dev(), about.ino(), about.size(), about.mode());
        let times = (about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec());
        let (place, path) = (place.escape_ascii(), path.as_os_str().as_bytes().escape_ascii());
        text.push_str(&format_args!("{place} {path} {stamp:?} {times:?}\n").to_string());
    }
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let program = Program::find(Path::new("/bin/sh")).unwrap();
        let places: Vec<_> = program.files.keys().map(|place| String::from_utf8_lossy(place)).collect();
        assert!(places.iter().any(|place| place.ends_with("/libc.so.6")), "{places:?}");
        assert!(places.iter().any(|place| place.contains("/ld-linux")), "{places:?}");
        assert!(program.files.contains_key(program.config.entrypoint[0].as_bytes()));
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
}
