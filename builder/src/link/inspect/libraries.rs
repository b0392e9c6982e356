//! Where the dynamic loader finds libraries: ld.so(8) for glibc, `ldso/dynlink.c` for musl.

use std::collections::{HashSet, VecDeque};

use super::elf::Object;
use super::{Entry, Files, InspectError, Library, join, parent};

/// Directories that glibc's loader searches by itself: as upstream, Debian and Fedora build it.
const GLIBC: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Directories that musl's loader searches where it has no path file.
const MUSL: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// More libraries than any program needs.
const LIBRARIES_MAX: usize = 4096;

/// The most of `/etc/ld.so.cache` that is read, in bytes.
const CACHE_MAX: usize = 16 << 20;

/// One program's search for its libraries.
pub(super) struct Search<'a> {
    files: &'a dyn Files,
    /// `LD_LIBRARY_PATH`.
    library_path: Vec<Vec<u8>>,
    defaults: Vec<Vec<u8>>,
    /// `/etc/ld.so.cache` of glibc, read when it is first needed.
    cache: Option<Vec<u8>>,
    is_musl: bool,
    /// The loader's own name: it is loaded already when a library asks for it.
    loader: &'a [u8],
}

/// An object whose libraries are looked for, and who asked for it.
struct Asking {
    object: Object,
    /// As the loader calls it, for messages.
    path: Vec<u8>,
    /// The directory that `$ORIGIN` stands for.
    origin: Vec<u8>,
    by: Option<usize>,
}

impl<'a> Search<'a> {
    pub fn new(files: &'a dyn Files, env: &[Vec<u8>], loader: &'a [u8]) -> Self {
        let name = loader.rsplit(|byte| *byte == b'/').next().unwrap_or(loader);
        let is_musl = name.starts_with(b"ld-musl");
        let defaults = if is_musl { musl_defaults(files) } else { directories(&GLIBC) };
        let library_path = env.iter().find_map(|variable| variable.strip_prefix(b"LD_LIBRARY_PATH="));
        let library_path = library_path.map(|path| split(path, b":;")).unwrap_or_default();
        Self { files, library_path, defaults, cache: None, is_musl, loader: name }
    }

    /// All libraries that `program` needs, breadth first as the loader loads them.
    pub fn closure(
        mut self,
        program: Object,
        path: &[u8],
        entry: &Entry,
    ) -> Result<Vec<Library>, InspectError> {
        let program =
            Asking { object: program, path: path.to_vec(), origin: parent(&entry.path).to_vec(), by: None };
        let mut asking = vec![program];
        let mut waiting = VecDeque::from([0]);
        let mut known: HashSet<Vec<u8>> = HashSet::from([self.loader.to_vec()]);
        let mut found = Vec::new();
        while let Some(index) = waiting.pop_front() {
            for name in asking[index].object.needed.clone() {
                // musl's loader is its C library, under whichever name.
                if (self.is_musl && is_libc_of_musl(&name)) || !known.insert(name.clone()) {
                    continue;
                }
                if found.len() == LIBRARIES_MAX {
                    let what = "it needs an absurd number of libraries".to_owned();
                    return Err(InspectError::Malformed { path: path.to_vec(), what });
                }
                let (library, next) = self.find(&asking, index, &name)?;
                found.push(library);
                waiting.push_back(asking.len());
                asking.push(next);
            }
        }
        Ok(found)
    }

    fn find(
        &mut self,
        asking: &[Asking],
        index: usize,
        name: &[u8],
    ) -> Result<(Library, Asking), InspectError> {
        let mut wrong = None;
        for path in self.candidates(asking, index, name) {
            let Ok(entry) = self.files.open(&path) else { continue };
            match Object::read(&entry, &path) {
                Ok(object) => {
                    let in_default_directory = self.defaults.iter().any(|dir| dir == parent(&path));
                    let library = Library { name: name.to_vec(), path: path.clone(), in_default_directory };
                    let origin = parent(&entry.path).to_vec();
                    return Ok((library, Asking { object, path, origin, by: Some(index) }));
                }
                // The loader passes over what is for another machine.
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        let missing =
            || InspectError::MissingLibrary { path: asking[index].path.clone(), library: name.to_vec() };
        Err(wrong.unwrap_or_else(missing))
    }

    /// The paths at which the loader looks for `name`, in its order.
    fn candidates(&mut self, asking: &[Asking], index: usize, name: &[u8]) -> Vec<Vec<u8>> {
        if name.contains(&b'/') {
            return vec![join(b"/", name)];
        }
        let asker = &asking[index].object;
        let own = |object: &Object| object.runpath.clone().or_else(|| object.rpath.clone());
        let dirs = if self.is_musl {
            // musl makes no difference between the two, and both count for what is needed further on.
            [self.library_path.clone(), inherited(asking, index, own)].concat()
        } else {
            let rpaths = match asker.runpath {
                Some(_) => Vec::new(),
                None => inherited(asking, index, |object| object.rpath.clone()),
            };
            let runpath = search_path(asker.runpath.as_deref(), &asking[index].origin);
            [rpaths, self.library_path.clone(), runpath].concat()
        };
        let mut paths: Vec<Vec<u8>> = dirs.iter().map(|dir| join(dir, name)).collect();
        if !self.is_musl {
            paths.extend(self.cached(name));
        }
        paths.extend(self.defaults.iter().map(|dir| join(dir, name)));
        paths
    }

    /// Paths in `/etc/ld.so.cache` that end in `name`. The cache holds them as strings with a NUL behind each, which is all that is
    /// needed of its format.
    fn cached(&mut self, name: &[u8]) -> Vec<Vec<u8>> {
        let read = || {
            let entry = self.files.open(b"/etc/ld.so.cache").ok()?;
            entry.read(0, CACHE_MAX).ok()
        };
        let cache = self.cache.get_or_insert_with(|| read().unwrap_or_default());
        let strings = cache.split(|byte| *byte == 0);
        let named = |path: &&[u8]| {
            path.starts_with(b"/") && path.strip_suffix(name).is_some_and(|d| d.ends_with(b"/"))
        };
        strings.filter(named).map(<[u8]>::to_vec).collect()
    }
}

/// The directories that a path in `index` counts for, with those of who asked for it, up to the program.
fn inherited(asking: &[Asking], index: usize, path: impl Fn(&Object) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let chain = std::iter::successors(Some(index), |index| asking[*index].by).map(|index| &asking[index]);
    chain.flat_map(|asker| search_path(path(&asker.object).as_deref(), &asker.origin)).collect()
}

/// The directories of an `RPATH` or `RUNPATH`, its variables replaced.
fn search_path(path: Option<&[u8]>, origin: &[u8]) -> Vec<Vec<u8>> {
    let mut dirs = Vec::new();
    for dir in split(path.unwrap_or_default(), b":") {
        let dir = replace(&replace(&dir, b"${ORIGIN}", origin), b"$ORIGIN", origin);
        // What `$LIB` and `$PLATFORM` stand for depends on how the loader was built.
        for lib in [&b"lib/x86_64-linux-gnu"[..], b"lib64", b"lib"] {
            let dir = replace(&replace(&dir, b"${LIB}", lib), b"$LIB", lib);
            let dir = replace(&replace(&dir, b"${PLATFORM}", b"x86_64"), b"$PLATFORM", b"x86_64");
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
    }
    dirs
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

fn split(path: &[u8], separators: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| separators.contains(byte));
    parts.filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

fn directories(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|dir| dir.as_bytes().to_vec()).collect()
}

fn musl_defaults(files: &dyn Files) -> Vec<Vec<u8>> {
    let configured =
        files.open(b"/etc/ld-musl-x86_64.path").ok().and_then(|entry| entry.read(0, CACHE_MAX).ok());
    configured.map_or_else(|| directories(&MUSL), |text| split(&text, b":\n"))
}

fn is_libc_of_musl(name: &[u8]) -> bool {
    // `reserved` in ldso/dynlink.c: libraries that musl holds in one.
    let stem = name.strip_prefix(b"lib").unwrap_or_default();
    let stem = stem.split(|byte| *byte == b'.').next().unwrap_or_default();
    name.starts_with(b"libc.musl-")
        || [&b"c"[..], b"pthread", b"rt", b"m", b"dl", b"util", b"xnet"].contains(&stem)
}
