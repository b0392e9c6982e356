//! `isopod run -it` on a pseudo terminal of the host: keys are pressed, and what is on the screen is looked at.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{packages, succeed};
use tempfile::TempDir;
use vt100::{Parser, Screen};

/// How long a guest may take to show what is expected.
const LIMIT: Duration = Duration::from_mins(1);

/// The terminal's size at first: rows and columns.
const SIZE: (u16, u16) = (33, 99);

/// `isopod` on a pseudo terminal, which script(1) makes.
pub struct Session {
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What came and was not waited for yet.
    shown: String,
    /// What a terminal makes of what came since it got its size.
    terminal: Parser,
    /// Holds `tty`, the terminal's name.
    folder: TempDir,
}

impl Session {
    /// Runs busybox with these words.
    pub fn start(words: &str) -> Result<Self> {
        let busybox = packages::program("busybox-static", "bin/busybox")?;
        Self::run(&format!("elf:{} {words}", busybox.display()))
    }

    /// Runs a source with its words on a terminal of [`SIZE`].
    pub fn run(source: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (rows, columns) = SIZE;
        let line = format!(
            "stty rows {rows} cols {columns}; tty > {}/tty; exec {} run -it {source}",
            folder.path().display(),
            Isopod::program().display()
        );
        let isopod = Isopod::shared().command(&[]);
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("script(1) of bsdutils is needed")?;
        let keys = child.stdin.take().context("no standard input")?;
        let mut stream = child.stdout.take().context("no standard output")?;
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let terminal = terminal(rows, columns);
        Ok(Self { child, keys, output, shown: String::new(), terminal, folder })
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Gives the terminal another size and clears it, as if its window had been dragged: only who draws again is seen.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        // What came before belongs to the old size.
        while let Ok(bytes) = self.output.try_recv() {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.terminal = terminal(rows, columns);
        let name = std::fs::read_to_string(self.folder.path().join("tty"))?;
        let (rows, columns) = (rows.to_string(), columns.to_string());
        succeed(Command::new("stty").args(["-F", name.trim(), "rows", &rows, "cols", &columns]))?;
        Ok(())
    }

    /// Waits until there is `text` in the output behind what was waited for before.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return Ok(());
            }
            if !self.receive(end) {
                bail!("the output is not {text:?}, but {:?}", self.shown);
            }
        }
    }

    /// Waits until the screen's rows are as `holds` says, which `what` describes.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&[String]) -> bool) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !holds(&rows(self.terminal.screen())) {
            if !self.receive(end) {
                bail!(
                    "{what} was expected on the screen, which is:\n{}",
                    rows(self.terminal.screen()).join("\n")
                );
            }
        }
        // What is seen was waited for.
        self.shown.clear();
        Ok(())
    }

    /// Takes the next of the output; false when none comes any more.
    fn receive(&mut self, end: Instant) -> bool {
        let Ok(bytes) = self.output.recv_timeout(end.saturating_duration_since(Instant::now())) else {
            return false;
        };
        self.shown.push_str(&String::from_utf8_lossy(&bytes));
        self.terminal.process(&bytes);
        true
    }

    /// The exit status of `isopod`, once it has ended.
    pub fn status(mut self) -> Result<Option<i32>> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the application does not end; the output is {:?}", self.shown)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves a guest; one that has ended is none of this one's business any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty terminal of this size.
fn terminal(rows: u16, columns: u16) -> Parser {
    let at_least_one = |count| NonZero::new(count).unwrap_or(NonZero::<u16>::MIN);
    Parser::new(at_least_one(rows), at_least_one(columns), 0)
}

/// The rows of a screen from the first to the last, without the blanks at their ends.
fn rows(screen: &Screen) -> Vec<String> {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect()
}
