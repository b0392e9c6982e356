//! Directories as tables: what a name stands for, and how its contents are made.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::file::{FileOps, OpenRequest};
use isopod_fs::generated::{Attributes, Directory, Entry, File, Link, Listed};
use isopod_fs::vfs::Process;
use isopod_fs::{Errno, FileType, Result, Target};

use super::subject::Subject;
use super::text::Text;
use crate::tunable::Tunable;

pub(super) use crate::syscall::put;

/// Makes the text of a file about a subject.
type Make = fn(&Subject, &mut Text) -> Result<()>;

/// A name in a directory.
pub(super) struct Row {
    name: &'static str,
    mode: u16,
    kind: Kind,
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Kind {
    /// A text that never changes.
    Constant(&'static str),
    /// A text about the machine.
    Machine(fn(&mut Text)),
    /// A text about the directory's process or thread.
    Thread(Make),
    /// The same, and only for those who may look into the process's memory.
    Guarded(Make),
    /// A text that can be written too.
    Written(Make, fn(&Subject, &[u8]) -> Result<()>),
    /// No text: what reads and writes it.
    Opened(fn(&Subject) -> Result<Box<dyn FileOps>>),
    /// A number that the administrator can change.
    Number(&'static Tunable),
    /// A symbolic link.
    Link(fn(&Subject, Process) -> Result<Target>),
    /// A directory of names and numbers.
    Folder(&'static [Row], Option<&'static Numbers>),
}

/// Names that consist of a number, as they are now.
pub(super) struct Numbers {
    /// What comes before the number.
    pub(super) prefix: &'static str,
    /// Their type.
    pub(super) kind: FileType,
    /// The numbers, rising.
    pub(super) all: fn(&Subject) -> Result<Vec<u32>>,
    /// What a number stands for; ENOENT if it does not exist.
    pub(super) entry: fn(&Subject, u32) -> Result<Entry>,
}

/// What [`Numbers::all`] gives: their number is for programs to decide.
pub(super) fn gather(numbers: &mut dyn Iterator<Item = u32>) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for number in numbers {
        all.try_reserve(1)?;
        all.push(number);
    }
    Ok(all)
}

impl Row {
    const fn new(name: &'static str, mode: u16, kind: Kind) -> Self {
        Self { name, mode, kind }
    }

    /// A file that always says the same.
    pub(super) const fn constant(name: &'static str, text: &'static str) -> Self {
        Self::new(name, 0o444, Kind::Constant(text))
    }

    /// A file about the machine.
    pub(super) const fn machine(name: &'static str, make: fn(&mut Text)) -> Self {
        Self::new(name, 0o444, Kind::Machine(make))
    }

    /// A file about a process or thread.
    pub(super) const fn thread(name: &'static str, make: Make) -> Self {
        Self::new(name, 0o444, Kind::Thread(make))
    }

    /// A file for those who may look into the process's memory.
    pub(super) const fn guarded(name: &'static str, mode: u16, make: Make) -> Self {
        Self::new(name, mode, Kind::Guarded(make))
    }

    /// A file that its owner can write.
    pub(super) const fn written(
        name: &'static str,
        make: Make,
        take: fn(&Subject, &[u8]) -> Result<()>,
    ) -> Self {
        Self::new(name, 0o644, Kind::Written(make, take))
    }

    /// A file that is no text, for its owner.
    pub(super) const fn opened(name: &'static str, open: fn(&Subject) -> Result<Box<dyn FileOps>>) -> Self {
        Self::new(name, 0o600, Kind::Opened(open))
    }

    /// A number that the administrator can change.
    pub(super) const fn number(name: &'static str, number: &'static Tunable) -> Self {
        Self::new(name, 0o644, Kind::Number(number))
    }

    /// A symbolic link.
    pub(super) const fn link(name: &'static str, target: fn(&Subject, Process) -> Result<Target>) -> Self {
        Self::new(name, 0o777, Kind::Link(target))
    }

    /// A directory.
    pub(super) const fn rows(name: &'static str, rows: &'static [Self]) -> Self {
        Self::new(name, 0o555, Kind::Folder(rows, None))
    }

    /// A directory of numbers.
    pub(super) const fn numbers(name: &'static str, mode: u16, numbers: &'static Numbers) -> Self {
        Self::new(name, mode, Kind::Folder(&[], Some(numbers)))
    }

    /// A directory of names and numbers.
    pub(super) const fn mixed(name: &'static str, rows: &'static [Self], numbers: &'static Numbers) -> Self {
        Self::new(name, 0o555, Kind::Folder(rows, Some(numbers)))
    }

    fn file_type(&self) -> FileType {
        match self.kind {
            Kind::Folder(..) => FileType::Directory,
            Kind::Link(_) => FileType::Symlink,
            _ => FileType::Regular,
        }
    }

    fn entry(&'static self, subject: &Subject) -> Entry {
        let subject = subject.clone();
        match self.kind {
            Kind::Folder(rows, numbers) => {
                Entry::Directory(Arc::new(Folder { subject, mode: self.mode, rows, numbers }))
            }
            Kind::Link(_) => Entry::Link(Arc::new(Leaf { subject, row: self })),
            _ => Entry::File(Arc::new(Leaf { subject, row: self })),
        }
    }
}

/// A directory of fixed names, of numbers, or of both.
pub(super) struct Folder {
    /// What it is about.
    pub(super) subject: Subject,
    /// Its mode.
    pub(super) mode: u16,
    /// Its fixed names.
    pub(super) rows: &'static [Row],
    /// Its numbers, listed after them.
    pub(super) numbers: Option<&'static Numbers>,
}

impl Directory for Folder {
    fn lookup(&self, name: &[u8]) -> Result<Entry> {
        if let Some(row) = self.rows.iter().find(|row| row.name.as_bytes() == name) {
            return Ok(row.entry(&self.subject));
        }
        let numbers = self.numbers.ok_or(Errno::ENOENT)?;
        let number = name.strip_prefix(numbers.prefix.as_bytes()).and_then(number).ok_or(Errno::ENOENT)?;
        (numbers.entry)(&self.subject, number)
    }

    fn list(&self, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Result<()> {
        let fixed = self.rows.len() as u64;
        for (key, row) in (0..).zip(self.rows) {
            if key >= from && !visit(&Listed { key, name: row.name.as_bytes(), kind: row.file_type() }) {
                return Ok(());
            }
        }
        let Some(numbers) = self.numbers else { return Ok(()) };
        for number in (numbers.all)(&self.subject)? {
            let key = fixed + u64::from(number);
            let digits = number.to_string();
            let name = [numbers.prefix.as_bytes(), digits.as_bytes()].concat();
            if key >= from && !visit(&Listed { key, name: &name, kind: numbers.kind }) {
                break;
            }
        }
        Ok(())
    }

    fn attributes(&self) -> Attributes {
        self.subject.attributes(self.mode)
    }
}

/// A number as it is listed: without leading zeros.
fn number(name: &[u8]) -> Option<u32> {
    let plain = name == b"0" || name.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    core::str::from_utf8(name).ok().filter(|_| plain)?.parse().ok()
}

/// A file or a link.
struct Leaf {
    subject: Subject,
    row: &'static Row,
}

impl File for Leaf {
    fn read(&self, _: Process) -> Result<Vec<u8>> {
        let mut text = Text::default();
        match self.row.kind {
            Kind::Constant(constant) => text.put(constant.as_bytes()),
            Kind::Machine(make) => make(&mut text),
            Kind::Thread(make) | Kind::Guarded(make) | Kind::Written(make, _) => {
                make(&self.subject, &mut text)?;
            }
            Kind::Number(number) => put!(&mut text, "{}\n", number.get()),
            Kind::Link(_) | Kind::Folder(..) | Kind::Opened(_) => return Err(Errno::EINVAL.into()),
        }
        text.finish()
    }

    fn write(&self, _: Process, text: &[u8]) -> Result<()> {
        match self.row.kind {
            Kind::Written(_, take) => take(&self.subject, text),
            Kind::Number(number) => Ok(number.set_text(text)?),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn check_open(&self, _: &OpenRequest<'_>) -> Result<()> {
        match self.row.kind {
            Kind::Guarded(_) => self.subject.check_access(),
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<Option<Box<dyn FileOps>>> {
        match self.row.kind {
            Kind::Opened(open) => open(&self.subject).map(Some),
            _ => Ok(None),
        }
    }

    fn attributes(&self) -> Attributes {
        self.subject.attributes(self.row.mode)
    }
}

impl Link for Leaf {
    fn text(&self, process: Process) -> Result<Vec<u8>> {
        Ok(match self.follow(process)? {
            Target::Text(text) => text,
            Target::Path(path) => super::subject::shown(&path),
        })
    }

    fn follow(&self, process: Process) -> Result<Target> {
        match self.row.kind {
            Kind::Link(target) => target(&self.subject, process),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn attributes(&self) -> Attributes {
        self.subject.attributes(self.row.mode)
    }
}
