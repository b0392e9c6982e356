//! What an image says of how to run it, and what the user says instead, become one manifest. The rules are Docker's.

use std::collections::{BTreeSet, HashMap};
use std::{mem, slice};

use isopod_manifest::{Manifest, Network, Port, Protocol, User};

use super::signal;
use crate::root::RootInfo;
use crate::root::passwd::{self, UserError};
use crate::source::ImageConfig;

/// The longest path that a system call takes, without the NUL behind it.
const PATH_MAX: usize = 4095;

/// The most bytes that one argument or variable takes with its NUL (`MAX_ARG_STRLEN`, `execve(2)`).
const STRING_MAX: usize = 128 << 10;

/// The most bytes that arguments and environment take together, each with its NUL and the pointer to it: a quarter of the stack
/// (`execve(2)`), which is 8 MiB at the start.
const STRINGS_MAX: usize = 2 << 20;

/// The search path of an image that sets none, as Docker sets it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the user says instead of the image. Whatever is `None` or empty is left to the image.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Replaces the image's command, or follows the entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint and drops its command; an empty string drops both.
    pub entrypoint: Option<String>,
    /// Environment: added, or in place of the image's variable of the same name; `None` takes it away.
    pub env: Vec<(String, Option<String>)>,
    /// `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// The working directory, absolute.
    pub working_dir: Option<String>,
    /// The signal that asks the application to end: a name or number.
    pub stop_signal: Option<String>,
}

impl Overrides {
    /// Lets `config` say what the user says.
    ///
    /// # Errors
    /// [`CommandError::WorkingDir`] for a relative directory: only an image may mean the root by it.
    pub fn apply(&self, config: &mut ImageConfig) -> Result<(), CommandError> {
        if let Some(entrypoint) = &self.entrypoint {
            // An entrypoint of one's own starts afresh: the image's command was written for the image's entrypoint.
            config.entrypoint = if entrypoint.is_empty() { Vec::new() } else { vec![entrypoint.clone()] };
            config.cmd.clear();
        }
        if !self.command.is_empty() {
            config.cmd.clone_from(&self.command);
        }
        if !self.env.is_empty() {
            let image = mem::take(&mut config.env);
            let mut variables = Variables::default();
            variables.extend(&image);
            for (name, value) in &self.env {
                variables.set(name, value.as_deref());
            }
            config.env = variables.strings().collect();
        }
        config.user = self.user.clone().unwrap_or_else(|| std::mem::take(&mut config.user));
        config.stop_signal = self.stop_signal.clone().or_else(|| config.stop_signal.take());
        match &self.working_dir {
            Some(dir) if !dir.starts_with('/') => return Err(CommandError::WorkingDir(dir.clone())),
            Some(dir) => config.working_dir.clone_from(dir),
            None => {}
        }
        Ok(())
    }
}

/// Why there is nothing that could be run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Neither the image nor the user names a program.
    #[error("there is no command to run: {0} has neither an entrypoint nor a command")]
    Nothing(String),
    /// The user or group cannot be resolved.
    #[error(transparent)]
    User(#[from] UserError),
    /// Not a signal.
    #[error("`{0}` is not a signal")]
    Signal(String),
    /// Not an absolute path.
    #[error("the working directory `{0}` is not an absolute path")]
    WorkingDir(String),
    /// Not a port.
    #[error("the image exposes `{0}`, which is not a port")]
    Port(String),
    /// A name that `sethostname(2)` would refuse.
    #[error("the host name `{0}` is longer than 64 bytes")]
    Hostname(String),
    /// A NUL byte ends a string for every program (`execve(2)`).
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    /// A path that no system call takes (`PATH_MAX`, `path_resolution(7)`).
    #[error("{0} is longer than 4095 bytes")]
    DirTooLong(&'static str),
    /// A string that `execve(2)` refuses.
    #[error(
        "{list} is too long: {} takes {length} bytes, and no program starts with one of more than {STRING_MAX}",
        cut(string)
    )]
    StringTooLong {
        /// What it is in.
        list: &'static str,
        /// How the string begins.
        string: String,
        /// How many bytes it takes.
        length: usize,
    },
    /// Strings that `execve(2)` refuses together.
    #[error(
        "{list} is too long: command and environment take {size} bytes with their pointers, and no program starts \
         with more than {STRINGS_MAX}"
    )]
    ListTooLong {
        /// What takes the most of it.
        list: &'static str,
        /// What they take.
        size: usize,
    },
    /// More than a manifest may hold.
    #[error("the image's volumes, ports and settings take {0} bytes, {max} at the most", max = isopod_manifest::MAX_SIZE)]
    TooLong(usize),
}

impl CommandError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Nothing(_) => "name a program behind the source: isopod run SOURCE /bin/sh".to_owned(),
            Self::User(error) => error.hint(),
            Self::Signal(_) => {
                "signals are named as in signal(7), SIGTERM for example, or numbered 1 to 64".to_owned()
            }
            Self::WorkingDir(dir) => format!("say where it starts: -w /{dir}"),
            Self::Port(_) => "a port is NUMBER, NUMBER/tcp, NUMBER/udp or a range FIRST-LAST".to_owned(),
            Self::Hostname(_) => "choose a shorter one with --hostname".to_owned(),
            Self::Nul(_) => "take it out of the image's configuration".to_owned(),
            Self::DirTooLong(_) => "choose a shorter one, or a symbolic link to it, with -w".to_owned(),
            Self::StringTooLong { .. } | Self::ListTooLong { .. } => {
                "put what is long into a file of the image".to_owned()
            }
            Self::TooLong(_) => "take what is not needed out of the image's configuration".to_owned(),
        }
    }
}

/// What of a run no image says.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// The machine's name, if it is to have another than the default.
    pub hostname: Option<String>,
    /// Standard input is passed.
    pub stdin: bool,
    /// The standard streams are one terminal.
    pub terminal: bool,
    /// Each system call is printed.
    pub trace: bool,
    /// Process 1 is the kernel's own.
    pub init: bool,
    /// How the machine reaches others.
    pub network: Network,
}

impl Session {
    /// This session, with what `built` was linked with where nothing else is said.
    #[must_use]
    pub fn or(self, built: &Manifest) -> Self {
        let hostname = self.hostname.or_else(|| Some(built.hostname.clone()));
        let network = built.network.clone();
        Self { hostname, stdin: self.stdin || built.stdin, init: self.init || built.init, network, ..self }
    }
}

/// The manifest for a root. Where the root lies and how the guest talks to its host stay as in [`Manifest::default`].
///
/// # Errors
/// A [`CommandError`]: nothing to run, or a setting that cannot be obeyed.
pub fn manifest(root: &RootInfo, session: &Session) -> Result<Manifest, CommandError> {
    let config = &root.config;
    let default = Manifest::default();
    let identity = passwd::resolve(&config.user, &root.passwd, &root.group)?;
    let hostname = session.hostname.clone().unwrap_or(default.hostname);
    if hostname.len() > 64 {
        return Err(CommandError::Hostname(hostname));
    }
    let stop_signal = match &config.stop_signal {
        Some(name) => signal::number(name).ok_or_else(|| CommandError::Signal(name.clone()))?,
        None => default.stop_signal,
    };
    let args: Vec<Vec<u8>> =
        config.entrypoint.iter().chain(&config.cmd).cloned().map(String::into_bytes).collect();
    if args.first().is_none_or(Vec::is_empty) {
        return Err(CommandError::Nothing(root.source.clone()));
    }
    let manifest = Manifest {
        args,
        env: environment(&config.env, &hostname, &identity.home, session.terminal),
        // An image's relative directory is meant from the root, where it was built.
        working_dir: format!("/{}", config.working_dir.trim_start_matches('/')).into_bytes(),
        user: User { uid: identity.uid, gid: identity.gid, groups: identity.groups },
        stop_signal,
        hostname,
        volumes: volumes(&config.volumes),
        ports: ports(&config.exposed_ports)?,
        trace: session.trace,
        init: session.init,
        terminal: session.terminal,
        stdin: session.stdin,
        network: session.network.clone(),
        ..Manifest::default()
    };
    check(&manifest)?;
    Ok(manifest)
}

/// The image's variables, and `PATH`, `HOSTNAME`, `TERM` and `HOME` as Docker sets them where the image does not; each once, and of
/// several of one name the last.
fn environment(image: &[String], hostname: &str, home: &str, terminal: bool) -> Vec<Vec<u8>> {
    let mut variables = Variables::default();
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOSTNAME", hostname), ("HOME", home)] {
        variables.set(name, Some(value));
    }
    variables.set("TERM", terminal.then_some("xterm"));
    variables.extend(image);
    variables.strings().map(String::into_bytes).collect()
}

/// Variables in the order in which they were first set, and where each name is among them: an image may have tens of thousands.
#[derive(Debug, Default)]
struct Variables<'a> {
    /// Name and value; `None` where one was taken away.
    list: Vec<Option<(&'a str, &'a str)>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Variables<'a> {
    /// Gives the variable this value, or takes it away.
    fn set(&mut self, name: &'a str, value: Option<&'a str>) {
        let variable = value.map(|value| (name, value));
        match (self.places.get(name), value) {
            (Some(&place), Some(_)) => self.list[place] = variable,
            (None, Some(_)) => {
                self.places.insert(name, self.list.len());
                self.list.push(variable);
            }
            (_, None) => {
                if let Some(place) = self.places.remove(name) {
                    self.list[place] = None;
                }
            }
        }
    }

    /// Sets the variables of an image. One without `=` is empty.
    fn extend(&mut self, image: &'a [String]) {
        for variable in image {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.set(name, Some(value));
        }
    }

    fn strings(self) -> impl Iterator<Item = String> {
        self.list.into_iter().flatten().map(|(name, value)| format!("{name}={value}"))
    }
}

/// The beginning of a long string, for a message.
fn cut(string: &str) -> String {
    format!("`{}..`", string.chars().take(20).collect::<String>())
}

fn volumes(image: &[String]) -> Vec<Vec<u8>> {
    let mut volumes: Vec<Vec<u8>> =
        image.iter().map(|path| format!("/{}", path.trim_matches('/')).into_bytes()).collect();
    volumes.sort();
    volumes.dedup();
    volumes
}

fn ports(exposed: &[String]) -> Result<Vec<Port>, CommandError> {
    // A set: however often a range is repeated, there are only so many ports.
    let mut ports = BTreeSet::new();
    for text in exposed {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "sctp" => Some(Protocol::Sctp),
            _ => None,
        };
        let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        match (protocol, range) {
            (Some(protocol), Some((first, last))) if first > 0 && first <= last => {
                ports.extend((first..=last).map(|number| Port { number, protocol }));
            }
            _ => return Err(CommandError::Port(text.clone())),
        }
    }
    Ok(ports.into_iter().collect())
}

/// Refuses what the guest would refuse, while the user can still be told in their own words.
fn check(manifest: &Manifest) -> Result<(), CommandError> {
    let lists = [("the command", &manifest.args), ("the environment", &manifest.env)];
    let mut sizes = [0; 2];
    for ((what, list), size) in lists.into_iter().zip(&mut sizes) {
        for item in list {
            if item.contains(&0) {
                return Err(CommandError::Nul(what));
            }
            let length = item.len() + 1;
            if length > STRING_MAX {
                let string = String::from_utf8_lossy(item).into_owned();
                return Err(CommandError::StringTooLong { list: what, string, length });
            }
            *size += length + size_of::<u64>();
        }
    }
    let [args, env] = sizes;
    if args + env > STRINGS_MAX {
        let (list, _) = lists[usize::from(env > args)];
        return Err(CommandError::ListTooLong { list, size: args + env });
    }
    let dirs =
        [("the working directory", slice::from_ref(&manifest.working_dir)), ("a volume", &manifest.volumes)];
    for (what, dirs) in dirs {
        if dirs.iter().any(|dir| dir.contains(&0)) {
            return Err(CommandError::Nul(what));
        }
        if dirs.iter().any(|dir| dir.len() > PATH_MAX) {
            return Err(CommandError::DirTooLong(what));
        }
    }
    let size = manifest.encode().len();
    if size > isopod_manifest::MAX_SIZE { Err(CommandError::TooLong(size)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
