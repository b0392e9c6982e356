//! The open files of a thread: `/proc/PID/fd` and `/proc/PID/fdinfo`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::file::{OpenFlags, Whence};
use isopod_fs::generated::{Attributes, Entry, File, Link};
use isopod_fs::vfs::Process;
use isopod_fs::{Errno, FileType, Result, Target};

use super::subject::{Subject, shown};
use super::table::{Numbers, gather, put};
use super::text::Text;
use crate::ipc::inotify::Inotify;
use crate::process;

pub(super) static LINKS: Numbers = Numbers {
    prefix: "",
    kind: FileType::Symlink,
    all: numbers,
    entry: |subject, number| Ok(Entry::Link(Arc::new(Open::find(subject, number)?))),
};

pub(super) static POSITIONS: Numbers = Numbers {
    prefix: "",
    kind: FileType::Regular,
    all: numbers,
    entry: |subject, number| Ok(Entry::File(Arc::new(Open::find(subject, number)?))),
};

fn numbers(subject: &Subject) -> Result<Vec<u32>> {
    subject.check_access()?;
    gather(&mut subject.thread()?.files().numbers().map(i32::cast_unsigned))
}

/// A descriptor, by its number: what it refers to may change.
struct Open {
    subject: Subject,
    number: i32,
}

impl Open {
    fn find(subject: &Subject, number: u32) -> Result<Self> {
        subject.check_access()?;
        let open = Self { subject: subject.clone(), number: number.cast_signed() };
        open.descriptor()?;
        Ok(open)
    }

    /// ENOENT once it is closed.
    fn descriptor(&self) -> Result<process::Descriptor> {
        self.subject.thread()?.files().descriptor(self.number).map_err(|_| Errno::ENOENT.into())
    }
}

impl Link for Open {
    fn text(&self, _: Process) -> Result<Vec<u8>> {
        self.subject.check_access()?;
        Ok(shown(self.descriptor()?.file.path()))
    }

    fn follow(&self, _: Process) -> Result<Target> {
        self.subject.check_access()?;
        Ok(Target::Path(self.descriptor()?.file.path().clone()))
    }

    /// The owner's rights tell how the file is open.
    fn attributes(&self) -> Attributes {
        let flags = self.descriptor().map_or(OpenFlags::PATH, |descriptor| descriptor.file.flags());
        let (read, write) = (flags.readable(), flags.writable());
        self.subject.attributes(if read { 0o500 } else { 0 } | if write { 0o300 } else { 0 })
    }
}

impl File for Open {
    fn read(&self, _: Process) -> Result<Vec<u8>> {
        let process::Descriptor { file, close_on_exec } = self.descriptor()?;
        let mut flags = file.flags();
        flags.set(OpenFlags::CLOEXEC, close_on_exec);
        // What cannot be sought has no position but 0.
        let position = file.seek(0, Whence::Current).unwrap_or(0);
        let mut text = Text::default();
        put!(&mut text, "pos:\t{position}\nflags:\t0{:o}\n", flags.bits());
        put!(
            &mut text,
            "mnt_id:\t{}\nino:\t{}\n",
            file.path().mount().id(),
            file.inode().metadata().map_or(0, |about| about.inode)
        );
        if let Some(instance) = Inotify::of(&file) {
            for (number, mask, inode) in instance.watches() {
                let (inode, device) = inode
                    .metadata()
                    .map_or((0, 0), |about| (about.inode, about.device.major << 20 | about.device.minor));
                put!(
                    &mut text,
                    "inotify wd:{number:x} ino:{inode:x} sdev:{device:x} mask:{mask:x} ignored_mask:0 \n"
                );
            }
        }
        text.finish()
    }

    fn attributes(&self) -> Attributes {
        self.subject.attributes(0o444)
    }
}
