//! `isopod build`

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use isopod_manifest::{Channel, Manifest, Root};

use super::network::ConfigOptions;
use super::options::{OverrideOptions, SourceOptions};
use super::{Bars, Failure, say};
use crate::kernel;
use crate::link::{self, LinkError, Output, Payload, RootBytes, Session};
use crate::prepare::{self, PrepareError, Prepared, Pull};
use crate::root::erofs;
use crate::source::Reference;
use crate::store::{Store, StoreError};

/// Write an application as one file that hypervisors boot directly
///
/// The file is an ELF with the guest kernel, the root and what to run; QEMU, Cloud Hypervisor and Firecracker take it as a kernel. It
/// is loaded into the machine's memory, so the machine needs more of it than the file has. The same source gives the same bytes, and
/// FILE appears whole or not at all.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Build {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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
  isopod run -e LEVEL=debug web.elf";

impl Build {
    pub fn execute(self) -> Result<(), Failure> {
        let reference: Reference = self.source.parse()?;
        let overrides = self.application.overrides(self.command)?;
        // Before the work, so that a place that cannot be written to is told at once.
        let output = create(&self.output)?;
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
        write(&prepared, &session, output, &self.output)
    }
}

/// Opens the output.
pub(crate) fn create(path: &Path) -> Result<Output, Failure> {
    Output::create(path).map_err(|error| cannot_write(path, &error))
}

/// Links what was prepared and puts the image in place as `path`.
pub(crate) fn write(
    prepared: &Prepared,
    session: &Session,
    output: Output,
    path: &Path,
) -> Result<(), Failure> {
    let manifest = Manifest {
        root: Root::Memory,
        channel: Channel::Console,
        ..link::manifest(&prepared.info, session)?
    };
    let about = serde_json::to_vec(&prepared.info).map_err(|error| {
        Failure::new(format!("cannot describe the image: {error}"), "report this: it is a fault of Isopod")
    })?;
    match &prepared.root {
        prepare::Root::Cached(image) => {
            let image = File::open(image).map_err(StoreError::io("open", image))?;
            link(RootBytes::File(&image), &manifest, &about, &output, path)
        }
        // Straight from the layers: in the cache it would serve only `run`, which writes it when it needs it.
        prepare::Root::Tree { tree, .. } => {
            let image = erofs::Image::plan(tree).map_err(PrepareError::from)?;
            link(RootBytes::Tree(&image), &manifest, &about, &output, path)
        }
    }?;
    let size = output.file().metadata().map_or(0, |about| about.len());
    output.commit().map_err(|error| cannot_write(path, &error))?;
    say(format_args!("wrote {} ({})", path.display(), indicatif::HumanBytes(size)));
    Ok(())
}

/// Writes the image into `output`, and looks whether it will start.
fn link(
    root: RootBytes<'_>,
    manifest: &Manifest,
    about: &[u8],
    output: &Output,
    path: &Path,
) -> Result<(), Failure> {
    let failed = |error| match error {
        LinkError::Io(error) => cannot_write(path, &error),
        other => other.into(),
    };
    let size = root.size().map_err(LinkError::Io).map_err(failed)?;
    output.check_room(size).map_err(LinkError::Io).map_err(failed)?;
    let payload = Payload { manifest: &manifest.encode(), root, about };
    let start = link::write(kernel::ELF, Some(&payload), output.file()).map_err(failed)?;
    let written = output.file().try_clone().map_err(LinkError::Io).map_err(failed)?;
    prepare::check(written, start, manifest)?;
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let hint = match error.kind() {
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
