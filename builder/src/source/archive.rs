//! The files of a layout: in a directory, or as the members of a tar file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::Form;
use super::inflate::{Inflate, OpenError};
use super::{Activity, Blob, Content, Origin, SourceError};
use crate::foreign::open_regular;
use crate::store::{Store, StoreError, Temp};

/// Links of links in an archive are followed so far.
const MAX_LINKS: usize = 8;

/// The content of a file.
type Stream = Box<dyn Read + Send>;

/// Archives of images have a few files for each layer; more members than this are a flood.
const MAX_MEMBERS: usize = 100_000;

/// A set of files by their relative paths, with `/` between parts.
#[derive(Debug)]
pub(super) struct Files {
    /// What the user named, for messages.
    path: PathBuf,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Directory,
    Archive {
        members: HashMap<String, Member>,
        /// The inflated archive, where the one the user named is compressed: members are read in any order.
        inflated: Option<Temp>,
    },
}

#[derive(Debug)]
enum Member {
    File { offset: u64, len: u64 },
    Link(String),
}

impl Files {
    /// The files under `dir`.
    pub fn directory(dir: &Path) -> Result<Self, SourceError> {
        fs::read_dir(dir).map_err(SourceError::read(dir))?;
        Ok(Self { path: dir.to_owned(), access: Access::Directory })
    }

    /// The members of the tar file `path`, which may be compressed.
    pub fn archive(path: &Path, store: &Store) -> Result<Self, SourceError> {
        let inflated = inflate(path, store)?;
        let file = File::open(inflated.as_ref().map_or(path.to_owned(), Temp::path))
            .map_err(SourceError::read(path))?;
        let members =
            index(file).map_err(|error| SourceError::malformed(path.display(), Form::Archive, error))?;
        Ok(Self { path: path.to_owned(), access: Access::Archive { members, inflated } })
    }

    /// Whether there is a file called `name`.
    pub fn has(&self, name: &str) -> bool {
        match &self.access {
            Access::Directory => self.path.join(name).is_file(),
            Access::Archive { members, .. } => find(members, name).is_some(),
        }
    }

    /// Opens the file `name` and tells its size in bytes; `None` when there is none.
    pub fn open(&self, name: &str) -> Result<Option<(Stream, u64)>, SourceError> {
        match &self.access {
            Access::Directory => {
                let path = self.path.join(name);
                match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
                    Ok((len, file)) => Ok(Some((Box::new(file), len))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(SourceError::read(&path)(error)),
                }
            }
            Access::Archive { members, inflated } => {
                let Some((offset, len)) = find(members, name) else { return Ok(None) };
                let open = || {
                    let mut file = File::open(inflated.as_ref().map_or(self.path.clone(), Temp::path))?;
                    file.seek(SeekFrom::Start(offset))?;
                    Ok(file.take(len))
                };
                Ok(Some((Box::new(open().map_err(SourceError::read(&self.path))?), len)))
            }
        }
    }

    /// The content of a small file; `None` when there is none.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let Some((stream, len)) = self.open(name)? else { return Ok(None) };
        if len > limit {
            let what = format!("{name} in {}", self.path.display());
            let reason = format!("it has {len} bytes, more than {limit}");
            return Err(SourceError::malformed(what, Form::Config, reason));
        }
        let mut bytes = Vec::new();
        stream.take(limit).read_to_end(&mut bytes).map_err(SourceError::read(&self.path))?;
        Ok(Some(bytes))
    }

    /// For errors: `what` is not here.
    pub fn missing(&self, what: &str) -> SourceError {
        SourceError::Missing { place: self.place(), what: what.to_owned() }
    }
}

impl Origin for Files {
    fn open(&self, blob: &Blob) -> Result<Stream, SourceError> {
        let name = match &blob.content {
            Content::Blob(digest) => super::layout::blob_path(digest),
            Content::Member(name) => name.clone(),
        };
        let (stream, _) = Self::open(self, &name)?.ok_or_else(|| self.missing(&name))?;
        Ok(stream)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn activity(&self) -> Activity {
        Activity::Read
    }
}

/// The inflated archive, where `path` is compressed.
fn inflate(path: &Path, store: &Store) -> Result<Option<Temp>, SourceError> {
    let file = open_regular(path).map_err(SourceError::read(path))?;
    let mut stream = Inflate::open(file).map_err(|error| match error {
        OpenError::Io(error) => SourceError::read(path)(error),
        OpenError::Foreign(method) => SourceError::Compression { what: path.display().to_string(), method },
    })?;
    if !stream.is_compressed() {
        return Ok(None);
    }
    let mut temp = store.temp()?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = stream
            .read(&mut buffer)
            .map_err(|error| SourceError::malformed(path.display(), Form::Archive, error))?;
        if n == 0 {
            return Ok(Some(temp));
        }
        store.check_room(n as u64)?;
        io::Write::write_all(&mut temp, &buffer[..n])
            .map_err(StoreError::io("inflate an archive into", store.cache_dir()))?;
    }
}

fn index(file: File) -> io::Result<HashMap<String, Member>> {
    let size = file.metadata()?.len();
    let mut members = HashMap::new();
    let mut last = None;
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry = entry.map_err(|error| unreadable(error, last.as_deref()))?;
        if members.len() == MAX_MEMBERS {
            return Err(io::Error::other(format!("it has more than {MAX_MEMBERS} members")));
        }
        let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
        last = Some(name.clone());
        let kind = entry.header().entry_type();
        if kind.is_file() || kind.is_contiguous() {
            let (offset, len) = (entry.raw_file_position(), entry.size());
            if offset.checked_add(len).is_none_or(|end| end > size) {
                return Err(io::Error::other(format!(
                    "it is truncated: {name} ends behind the end of the file"
                )));
            }
            members.insert(name, Member::File { offset, len });
        } else if (kind.is_symlink() || kind.is_hard_link())
            && let Some(target) = entry.link_name_bytes()
        {
            // A symbolic link's target starts from the link's directory, a hard link's from the top.
            let base = if kind.is_symlink() { name.rsplit_once('/').map_or("", |(dir, _)| dir) } else { "" };
            let target = normal(&format!("{base}/{}", String::from_utf8_lossy(&target)));
            members.insert(name, Member::Link(target));
        }
    }
    if members.is_empty() {
        return Err(io::Error::other("it has no members"));
    }
    Ok(members)
}

/// What keeps the entry behind `last` from being read, without the bytes of the file that the parser quotes.
fn unreadable(error: io::Error, last: Option<&str>) -> io::Error {
    match (error.raw_os_error(), last) {
        (Some(_), _) => error,
        (None, None) => io::Error::other("it does not begin with a tar header"),
        (None, Some(last)) => io::Error::other(format!("no tar header follows {last}")),
    }
}

fn find(members: &HashMap<String, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = &normal(name);
    for _ in 0..MAX_LINKS {
        match members.get(name)? {
            Member::File { offset, len } => return Some((*offset, *len)),
            Member::Link(target) => name = target,
        }
    }
    None
}

/// A path without `.`, `..` and empty parts. Members are only looked up, so `..` at the top leads nowhere.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::source::testing;

    fn index_bytes(bytes: &[u8]) -> io::Result<HashMap<String, Member>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        index(file)
    }

    #[test]
    fn paths_are_made_plain() {
        for (path, plain) in
            [("./a//b/", "a/b"), ("/a/../b", "b"), ("../../a", "a"), ("a/./b/..", "a"), ("", "")]
        {
            assert_eq!(normal(path), plain);
        }
    }

    #[test]
    fn members_are_found_where_they_lie() {
        let archive = testing::tar(&[("./a", b"one"), ("dir/b", b"two"), (&"long/".repeat(60), b"three")]);
        let members = index_bytes(&archive).unwrap();
        for (name, content) in [("a", "one"), ("/dir/../dir/b", "two"), (&"long/".repeat(60), "three")] {
            let (offset, len) = find(&members, name).unwrap();
            assert_eq!(&archive[offset as usize..][..len as usize], content.as_bytes());
        }
        assert_eq!(find(&members, "c"), None);
    }

    /// The parser quotes the file's first lines, which may be anything.
    #[test]
    fn what_is_no_archive_is_not_quoted() {
        let text = index_bytes("root:x:0:0:root:/root:/bin/bash\n".repeat(40).as_bytes()).unwrap_err();
        assert_eq!(text.to_string(), "it does not begin with a tar header");
        let mut archive = testing::tar(&[("a", b"one")]);
        archive.truncate(1024);
        archive.extend(b"root:x:0:0\n".repeat(60));
        assert_eq!(index_bytes(&archive).unwrap_err().to_string(), "no tar header follows a");
    }

    proptest! {
        #[test]
        fn hostile_archives_never_panic(changes: Vec<(prop::sample::Index, u8)>, end: prop::sample::Index) {
            let long = "long/".repeat(60);
            let mut archive = testing::tar(&[("manifest.json", b"[]"), ("layer.tar", &[7; 700]), (&long, b"x")]);
            for (at, byte) in changes {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            let len = archive.len();
            archive.truncate(end.index(len + 1));
            if let Ok(members) = index_bytes(&archive) {
                for member in members.values() {
                    if let Member::File { offset, len } = member {
                        prop_assert!(offset + len <= archive.len() as u64);
                    }
                }
            }
        }
    }
}
