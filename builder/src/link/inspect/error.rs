//! Why a program would not start.

use std::io;

use crate::foreign::visible;

/// Why a program would not start. Paths are the root's own.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such program.
    #[error("there is no program `{}`", text(program))]
    NotFound {
        /// As it was asked for.
        program: Vec<u8>,
    },
    /// It is there, but no executable file.
    #[error("{} is not executable", text(path))]
    NotExecutable {
        /// Where.
        path: Vec<u8>,
    },
    /// Neither an ELF nor a script.
    #[error("{} is not a program: neither an ELF nor a script that starts with #!", text(path))]
    NotAProgram {
        /// Where.
        path: Vec<u8>,
    },
    /// An ELF for another machine.
    #[error("{} is a program for {machine}, but the guest runs x86-64", text(path))]
    Machine {
        /// Where.
        path: Vec<u8>,
        /// For what.
        machine: String,
    },
    /// An ELF that no program is.
    #[error("{} is damaged: {what}", text(path))]
    Malformed {
        /// Where.
        path: Vec<u8>,
        /// In which way.
        what: String,
    },
    /// The dynamic loader of a program (its `PT_INTERP`) is not there.
    #[error("{} needs the loader {}, which is not there", text(path), text(loader))]
    MissingLoader {
        /// What needs it.
        path: Vec<u8>,
        /// What is not there.
        loader: Vec<u8>,
    },
    /// The interpreter of a script is not there.
    #[error("{} needs the interpreter {}, which is not there", text(path), text(interpreter))]
    MissingInterpreter {
        /// What needs it.
        path: Vec<u8>,
        /// What is not there.
        interpreter: Vec<u8>,
    },
    /// A shared library is not there.
    #[error("{} needs the library {}, which is not there", text(path), text(library))]
    MissingLibrary {
        /// What needs it.
        path: Vec<u8>,
        /// What is not there.
        library: Vec<u8>,
    },
    /// Scripts that interpret scripts, more than Linux follows.
    #[error("{} is interpreted by a script, which is interpreted by a script, and so on", text(path))]
    TooManyScripts {
        /// The script at which Linux gives up.
        path: Vec<u8>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {error}", text(path))]
    Io {
        /// Where.
        path: Vec<u8>,
        /// Why.
        error: io::Error,
    },
}

impl InspectError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => {
                "the name is looked up in the image's PATH; see what is there: isopod run SOURCE ls /bin"
                    .to_owned()
            }
            Self::NotExecutable { path } => {
                format!("give it the permission where the image is built: chmod +x {}", text(path))
            }
            Self::NotAProgram { .. } => "a shell script starts with a line like #!/bin/sh".to_owned(),
            Self::Machine { .. } => {
                "build it for x86_64-unknown-linux, or choose the image with --platform linux/amd64"
                    .to_owned()
            }
            Self::Malformed { .. } => {
                "the file may have been cut short when it was copied: build or fetch it again".to_owned()
            }
            Self::MissingInterpreter { interpreter, .. } if interpreter.ends_with(b"\r") => {
                "the script has DOS line ends: take them away with sed -i 's/\\r$//'".to_owned()
            }
            Self::MissingInterpreter { interpreter, .. } => {
                format!("add {} to the image, or name another in the script's first line", text(interpreter))
            }
            Self::MissingLoader { .. } => {
                "the image lacks the C library that the program was built for: install it, or link the program \
                 statically (Rust: --target x86_64-unknown-linux-musl)"
                    .to_owned()
            }
            Self::MissingLibrary { .. } => {
                "install the package that has it in the image; LD_LIBRARY_PATH and RUNPATH are looked at too"
                    .to_owned()
            }
            Self::TooManyScripts { .. } => {
                "name a program, not a script, in the first line of one of them".to_owned()
            }
            Self::Io { .. } => "make it readable; if it is in a cache, run or build the source again".to_owned(),
        }
    }

    /// Whether the guest would refuse the program in the same words as any Linux (exit status 126 or 127), so that a run need not be
    /// refused beforehand.
    pub fn is_for_the_guest(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotExecutable { .. } | Self::NotAProgram { .. })
    }
}

/// A path for a message: on one line whatever it holds.
fn text(path: &[u8]) -> String {
    visible(&String::from_utf8_lossy(path))
}
