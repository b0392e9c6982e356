//! `isopod run`

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use isopod_manifest::{Channel, Manifest, Root};

use super::network::{NetworkOptions, Plan};
use super::options::{MachineOptions, OverrideOptions, SessionOptions, SourceOptions};
use super::{Bars, Failure, gdb, say};
use crate::engine::{EngineError, Streams, Vm};
use crate::kernel;
use crate::link::{self, Linked};
use crate::prepare::{self, Pull};
use crate::root::RootInfo;
use crate::source::Reference;
use crate::store::{Digest, Store, StoreError};

/// What a machine needs beyond what is loaded into it, in bytes: page tables, heap, and the program's first pages.
const HEADROOM: u64 = 8 << 20;

/// Run an application in a virtual machine of its own
///
/// SOURCE is an image or one of the other sources listed by `isopod --help`; FILE is what `isopod build` wrote. All that follows it
/// belongs to the application, options included. SIGINT (Ctrl-C), SIGTERM and SIGHUP ask the application to end, with the image's stop
/// signal; a second one ends the machine. SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGURG, SIGIO and SIGWINCH are passed on as
/// they are, others are not. The exit status is the application's.
#[derive(Debug, Args)]
#[command(override_usage = "isopod run [OPTIONS] <SOURCE|FILE> [CMD]...")]
pub(super) struct Run {
    /// Where the application comes from, then its command in place of the image's
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_names = ["SOURCE|FILE", "CMD"])]
    words: Vec<OsString>,
    #[command(flatten)]
    application: OverrideOptions,
    #[command(flatten)]
    session: SessionOptions,
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    from: SourceOptions,
    /// Remove what the run left behind when it ends; no run leaves anything yet
    #[arg(long, help_heading = "Machine options")]
    rm: bool,
}

/// What is to be booted.
pub(crate) struct Application {
    pub info: RootInfo,
    pub boot: Boot,
}

/// Where kernel and root are.
pub(crate) enum Boot {
    /// Our kernel, and an EROFS image on a disk.
    Disk(PathBuf),
    /// One linked file.
    Linked { file: PathBuf, linked: Linked },
}

impl Run {
    pub fn execute(self) -> Result<u8, Failure> {
        let mut words = self.words.into_iter().map(utf8);
        let source = words.next().unwrap_or_else(|| Ok(String::new()))?;
        let overrides = self.application.overrides(words.collect::<Result<_, _>>()?)?;
        let mut session = self.session.session()?;
        let store = Store::open()?;
        let mut application = if let Some((application, built)) = linked(Path::new(&source))? {
            self.from.check(&source, false)?;
            session = session.or(&built);
            application
        } else {
            let reference: Reference = source.parse()?;
            self.from.check(&source, matches!(reference, Reference::Image(_)))?;
            let pull = self.from.pull(Pull::Missing);
            let prepared = prepare::prepare(&reference, &self.from.options(), pull, &store, &Bars::new())?;
            let root = prepared.keep(&store)?;
            Application { info: root.info, boot: Boot::Disk(root.image) }
        };
        overrides.apply(&mut application.info.config)?;
        let manifest = link::manifest(&application.info, &session)?;
        let wishes = Wishes { machine: &self.machine, network: &self.network, memory: None };
        start(&application, manifest, &wishes, &store)
    }
}

/// What is asked of the machine.
pub(crate) struct Wishes<'a> {
    pub machine: &'a MachineOptions,
    pub network: &'a NetworkOptions,
    /// The memory that the application asks for, in bytes.
    pub memory: Option<u64>,
}

/// Boots `application`, or prints how.
pub(crate) fn start(
    application: &Application,
    manifest: Manifest,
    wishes: &Wishes<'_>,
    store: &Store,
) -> Result<u8, Failure> {
    let options = wishes.machine;
    let (image, offset, root) = match &application.boot {
        Boot::Disk(image) => (image, 0, Root::Disk),
        Boot::Linked { file, linked } => (file, linked.root.0, Root::Memory),
    };
    let file = File::open(image).map_err(StoreError::io("open", image))?;
    let needs = match prepare::check(file, offset, &manifest) {
        Ok(needs) => Some(needs),
        Err(error) if error.is_for_the_guest() => None,
        Err(error) => return Err(error.into()),
    };
    // Claims are kept until the machine has ended: QEMU has the ports, and nobody else is to get them.
    let Plan { nics, network, claims: _claims, proxies } = wishes.network.plan(&manifest)?;
    let manifest = Manifest { network, ..manifest };
    let vm = Vm { nics, proxies, ..machine(application, wishes, store)? };
    let streams =
        Streams { stdin: manifest.stdin, terminal: manifest.terminal, stop_signal: manifest.stop_signal };
    if options.print_cmd {
        for proxy in &vm.proxies {
            say(format_args!(
                "isopod itself leads {}/{} to {}; QEMU does not",
                proxy.host, proxy.transport, proxy.to
            ));
        }
        let manifest = keep(&Manifest { root, channel: Channel::Console, ..manifest }, store)?;
        let line = vm.command_line(&manifest, store.state_dir())?;
        let written = writeln!(std::io::stdout(), "{line}");
        written.map_err(|error| {
            Failure::new(format!("cannot print the command: {error}"), "see where standard output leads")
        })?;
        return Ok(0);
    }
    let debug = options.gdb.is_some();
    let manifest = Manifest { root, channel: Channel::Framed, debug, ..manifest };
    let source = &application.info.source;
    let debugger = options.gdb.map(|port| gdb::debugger(port, &vm.kernel, source, needs)).transpose()?;
    Ok(vm.run(&manifest.encode(), streams, store.state_dir(), debugger)?)
}

/// The machine without a network.
fn machine(application: &Application, wishes: &Wishes<'_>, store: &Store) -> Result<Vm, Failure> {
    let options = wishes.machine;
    let memory = options.memory(wishes.memory);
    let (kernel, root) = match &application.boot {
        Boot::Disk(image) => (kernel::file(store)?, Some(image.clone())),
        Boot::Linked { file, linked } => {
            let need = linked.end.saturating_add(HEADROOM);
            if need > memory {
                return Err(EngineError::Memory { need, have: memory }.into());
            }
            (file.clone(), None)
        }
    };
    Ok(Vm {
        machine: options.machine(),
        acceleration: options.acceleration(),
        memory,
        cpus: options.cpus(),
        kernel,
        root,
        nics: Vec::new(),
        proxies: Vec::new(),
    })
}

/// The image at `path`, if `isopod build` wrote one there, and what it was linked with. A name without a slash may as well be an image in a registry.
fn linked(path: &Path) -> Result<Option<(Application, Manifest)>, Failure> {
    let starts_as_a_path = ["/", "./", "../"].iter().any(|start| path.to_string_lossy().starts_with(start));
    if starts_as_a_path && !path.exists() {
        return Err(Failure::new(
            format!("there is no file {}", path.display()),
            "isopod build -o FILE SOURCE writes one; isopod --help lists what else can be run".to_owned(),
        ));
    }
    // Nothing but a regular file is opened: a pipe could wait for ever.
    if !path.is_file() {
        return Ok(None);
    }
    let found = link::open(path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        Failure::new(what, "make it readable for you, or build it again")
    })?;
    let Some(linked) = found else {
        // A word without a slash may be the name of an image, but not if an ELF file of that name is here.
        if !path.to_string_lossy().contains('/') && !is_elf(path) {
            return Ok(None);
        }
        return Err(Failure::new(
            format!("{} is not an image that isopod build wrote", path.display()),
            format!("to run a program of this host: isopod run elf:{}", path.display()),
        ));
    };
    let strange = |error: &dyn std::error::Error| {
        Failure::new(
            format!("{} cannot be understood: {error}", path.display()),
            "it was built by another version of Isopod: build it again",
        )
    };
    let info = serde_json::from_slice(&linked.about).map_err(|error| strange(&error))?;
    let manifest = Manifest::decode(&linked.manifest).map_err(|error| strange(&error))?;
    // A command line that is printed must work in any directory.
    let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Some((Application { info, boot: Boot::Linked { file, linked } }, manifest)))
}

/// Writes the manifest where a command line can name it for a week. It may hold secrets: only its owner may read it.
fn keep(manifest: &Manifest, store: &Store) -> Result<PathBuf, Failure> {
    let bytes = manifest.encode();
    let dir = store.manifests_dir();
    let path = dir.join(Digest::of(&bytes).hex());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(StoreError::io("create the directory", &dir))?;
    let mut file = std::fs::File::options();
    let file = file.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(&bytes));
    written.map_err(StoreError::io("write", &path))?;
    Ok(path)
}

fn utf8(word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| {
        Failure::new(format!("the argument {} is not UTF-8", word.display()), "write it in UTF-8")
    })
}
/// Whether the file begins as an ELF file does.
fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}
