//! How results are printed.

use std::fmt::Display;
use std::io::Write;

use crate::sys::Errno;

/// Prints the results of one group of cases.
#[derive(Debug)]
pub struct Report {
    group: &'static str,
}

impl Report {
    /// A report whose lines begin with the group's name.
    pub fn new(group: &'static str) -> Self {
        Self { group }
    }

    /// Prints a result as it is. It must be the same on every run.
    pub fn show(&mut self, case: &str, result: impl Display) {
        // Unbuffered, so that the last line before a crash is seen.
        let line = format!("{}.{case}: {result}\n", self.group);
        std::io::stdout().write_all(line.as_bytes()).expect("standard output takes a line");
    }

    /// Prints what a system call returned: its number, or the name of the error.
    pub fn call(&mut self, case: &str, result: Result<usize, Errno>) {
        match result {
            Ok(value) => self.show(case, value.cast_signed()),
            Err(errno) => self.show(case, errno),
        }
    }

    /// Prints `ok` where the number returned is not the same on every run, or the name of the error.
    pub fn ok(&mut self, case: &str, result: Result<usize, Errno>) {
        match result {
            Ok(_) => self.show(case, "ok"),
            Err(errno) => self.show(case, errno),
        }
    }

    /// Prints whether something holds.
    pub fn is(&mut self, case: &str, holds: bool) {
        self.show(case, if holds { "yes" } else { "no" });
    }
}
