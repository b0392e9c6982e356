//! `isopod build`

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use isopod_manifest::{Channel, Manifest, Root};

use super::disk::{self, DiskFile, RootPlace};
use super::network::ConfigOptions;
use super::options::{OverrideOptions, SourceOptions};
use super::{Bars, Failure, say, values};
use crate::disk::{Form, Format, Image, Target};
use crate::engine::CommandLine;
use crate::kernel;
use crate::link::{self, EfiProgram, EfiRoot, LinkError, Output, Payload, RootBytes, Session};
use crate::prepare::{self, PrepareError, Prepared, Pull};
use crate::root::{RootInfo, erofs};
use crate::source::Reference;
use crate::store::{Store, StoreError};

/// Write an application as a file that hypervisors boot
///
/// An ELF has the guest kernel, the root and what to run; QEMU, Cloud Hypervisor and Firecracker take it as a kernel. An EFI program has the
/// same; UEFI firmware starts it, and being a bzImage as well, whatever can start Linux: GRUB, kexec, libvirt. A disk has the same in
/// partitions, and starts on machines with UEFI and with a BIOS. What is loaded into the machine's memory takes as much of it as the image
/// has; a root that stays on its disk is read as it is needed. The same source gives the same bytes, and FILE appears whole or not at all: a build that is interrupted dies by
/// the signal (130 in a shell after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP) and leaves nothing half written.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Build {
    /// The file to write; with several formats, what their files are called before .FORMAT
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What to write, several at once with commas between [default: elf, or what the target takes]
    #[arg(short, long, value_name = "FORMAT", value_delimiter = ',', value_parser = values::forms())]
    format: Vec<Form>,
    /// Where the image is to run: chooses the format, and prints the commands that start it there
    #[arg(long, value_name = "TARGET", value_parser = values::targets())]
    target: Option<Target>,
    /// The size of a disk, if it is to be larger than its contents
    #[arg(long, value_name = "SIZE", value_parser = values::disk_size)]
    disk_size: Option<u64>,
    /// Where the guest has the root of a disk [default: memory up to 64 MiB and on CDs, else disk]
    #[arg(long, value_name = "PLACE")]
    root: Option<RootPlace>,
    /// Where the application comes from
    source: String,
    /// The command, in place of the image's or behind its entrypoint
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
    /// Pass what is typed on the console to the application
    #[arg(short, long, help_heading = "Application options")]
    interactive: bool,
    /// The machine's name
    #[arg(long, value_name = "NAME", help_heading = "Application options")]
    hostname: Option<String>,
    /// Start the application as process 2, under an init that passes on signals and reaps orphans
    ///
    /// The kernel is that init itself: the image needs no program for it.
    #[arg(long, help_heading = "Application options")]
    init: bool,
    #[command(flatten)]
    application: OverrideOptions,
    #[command(flatten)]
    network: ConfigOptions,
    #[command(flatten)]
    from: SourceOptions,
}

const EXAMPLES: &str = "\
Examples:
  isopod build -o web.elf localhost:5000/web -- --port 8080
  qemu-system-x86_64 -M microvm -m 512M -nographic -no-reboot -kernel web.elf
  isopod run -e LEVEL=debug web.elf
  isopod build -f efi -o web.efi localhost:5000/web
  isopod build -f qcow2 --target proxmox -o web.qcow2 localhost:5000/web";

impl Build {
    pub fn execute(self) -> Result<(), Failure> {
        let reference: Reference = self.source.parse()?;
        self.from.check(&self.source, matches!(reference, Reference::Image(_)))?;
        let overrides = self.application.overrides(self.command)?;
        let forms = forms(self.target, &self.format)?;
        let asked = [("--disk-size", self.disk_size.is_some()), ("--root", self.root.is_some())];
        let asked = asked.into_iter().find(|(_, given)| *given);
        if let Some((option, _)) = asked.filter(|_| !forms.iter().any(|form| matches!(form, Form::Disk(_)))) {
            return Err(Failure::new(
                format!("{option} is for disks, and none is written"),
                "add -f raw or another disk format",
            ));
        }
        if self.root == Some(RootPlace::Disk) && forms.contains(&Form::Disk(Format::Iso)) {
            return Err(Failure::new(
                "the guest does not read CDs, so its root cannot stay on one",
                "leave out --root disk: the root is loaded into memory",
            ));
        }
        // Before the work, so that a place that cannot be written to is told at once.
        let several = forms.len() > 1;
        let files = forms
            .iter()
            .map(|&form| {
                let path = path(&self.output, form, several);
                Ok((form, create(&path)?, path))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let store = Store::open()?;
        let pull = self.from.pull(Pull::Always);
        let mut prepared = prepare::prepare(&reference, &self.from.options(), pull, &store, &Bars::new())?;
        overrides.apply(&mut prepared.info.config)?;
        let session = Session {
            hostname: self.hostname,
            stdin: self.interactive,
            init: self.init,
            network: self.network.network()?,
            ..Session::default()
        };
        let (mut kernels, mut disks) = (Vec::new(), Vec::new());
        for (form, output, path) in files {
            match form {
                Form::Elf | Form::Efi => kernels.push((form, output, path)),
                Form::Disk(format) => disks.push(DiskFile { format, path, output }),
            }
        }
        let paths: Vec<PathBuf> = forms.iter().map(|&form| path(&self.output, form, several)).collect();
        if !disks.is_empty() {
            // Every format is written from the same bytes, so they are made first.
            let root = prepared.keep(&store)?;
            disk::write(&root, &session, self.target, self.disk_size, self.root, &disks, &store)?;
            prepared = root.into();
        }
        for (form, output, path) in kernels {
            write(&prepared, &session, form, output, &path, &store)?;
        }
        for DiskFile { path, output, .. } in disks {
            commit(output, &path)?;
        }
        self.target.map_or(Ok(()), |target| print_commands(target, &forms, &paths))
    }
}

/// The forms that are written, each once: those that were asked for, which the target must take, or its usual one.
fn forms(target: Option<Target>, asked: &[Form]) -> Result<Vec<Form>, Failure> {
    if asked.is_empty() {
        return Ok(vec![target.map_or(Ok(Form::Elf), |target| target.form(None))?]);
    }
    let mut forms = Vec::new();
    for &form in asked {
        if let Some(target) = target {
            target.form(Some(form))?;
        }
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    Ok(forms)
}

/// Where a form is written.
fn path(output: &Path, form: Form, several: bool) -> PathBuf {
    if !several {
        return output.to_owned();
    }
    let extension = match form {
        Form::Elf => "elf",
        Form::Efi => "efi",
        Form::Disk(format) => format.extension(),
    };
    let mut path = output.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}

/// Prints, on standard output, how the images are started.
fn print_commands(target: Target, forms: &[Form], paths: &[PathBuf]) -> Result<(), Failure> {
    for (&form, path) in forms.iter().zip(paths) {
        let file = CommandLine::word(path.as_os_str());
        let size = path.metadata().map_or(0, |about| about.len());
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        // What is loaded, and some to work with.
        let memory = ((size >> 20) + 128).next_multiple_of(64).max(256);
        let image = Image { form, file: &file, name: &name, memory };
        match writeln!(std::io::stdout(), "{}", target.commands(image)) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(Failure::new(
                    format!("cannot print the commands: {error}"),
                    "the image is written",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Opens the output.
pub(crate) fn create(path: &Path) -> Result<Output, Failure> {
    Output::create(path).map_err(|error| cannot_write(path, &error))
}

/// Links what was prepared and puts the image, an ELF or an EFI program, in place as `path`.
pub(crate) fn write(
    prepared: &Prepared,
    session: &Session,
    form: Form,
    output: Output,
    path: &Path,
    store: &Store,
) -> Result<(), Failure> {
    let manifest = Manifest {
        root: Root::Memory,
        channel: Channel::Console,
        ..link::manifest(&prepared.info, session)?
    };
    let write = |root: RootBytes<'_>| {
        let failed = |error| failed(error, path);
        let size = root.size().map_err(LinkError::Io).map_err(failed)?;
        output.check_room(size).map_err(LinkError::Io).map_err(failed)?;
        let start = if form == Form::Efi {
            let (linked, loading) = disk::without_root(&manifest, size, &prepared.info, store)?;
            // No more than 4 GiB, since it has been linked.
            let program = EfiProgram::new(&linked, &loading, EfiRoot::Inside(size as u32))?;
            let mut file = output.file();
            file.write_all(&program.bytes).map_err(LinkError::Io).map_err(failed)?;
            root.write(file, size).map_err(failed)?;
            program.bytes.len() as u64
        } else {
            let about = describe(&prepared.info)?;
            let payload = Payload { manifest: &manifest.encode(), root, about: &about };
            link::write(kernel::FILE, Some(&payload), output.file()).map_err(failed)?
        };
        // Looks whether it will start.
        let written = output.file().try_clone().map_err(LinkError::Io).map_err(failed)?;
        prepare::check(written, start, &manifest).map_err(Failure::from)
    };
    match &prepared.root {
        prepare::Root::Cached { image, .. } => {
            let image = File::open(image).map_err(StoreError::io("open", image))?;
            write(RootBytes::File(&image))
        }
        // Straight from the layers: in the cache it would serve only `run`, which writes it when it needs it.
        prepare::Root::Tree { tree, .. } => {
            write(RootBytes::Tree(&erofs::Image::plan(tree).map_err(PrepareError::from)?))
        }
    }?;
    commit(output, path)
}

/// What a failure to write `path` is called.
fn failed(error: LinkError, path: &Path) -> Failure {
    match error {
        LinkError::Io(error) => cannot_write(path, &error),
        other => other.into(),
    }
}

/// Puts a whole image in place.
fn commit(output: Output, path: &Path) -> Result<(), Failure> {
    let size = output.file().metadata().map_or(0, |about| about.len());
    output.commit().map_err(|error| cannot_write(path, &error))?;
    say(format_args!("wrote {} ({})", path.display(), indicatif::HumanBytes(size)));
    Ok(())
}

/// What an image says of itself to Isopod.
pub(super) fn describe(info: &RootInfo) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(info).map_err(|error| {
        Failure::new(format!("cannot describe the image: {error}"), "report this: it is a fault of Isopod")
    })
}

pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let hint = match error.kind() {
        // In /proc, for one, nothing can be made.
        ErrorKind::NotFound if path.parent().is_some_and(Path::is_dir) => "choose another place with -o",
        ErrorKind::NotFound => "its directory does not exist: make it first",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there, or choose another place with -o"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "choose a place you may write to with -o"
        }
        _ => "choose another place with -o",
    };
    Failure::new(format!("cannot write {}: {error}", path.display()), hint.to_owned())
}
