//! `isopod run -it`: the application has a terminal, whose lines it edits and whose size it knows.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{image, packages};

/// How long a guest may take to show what is expected.
const LIMIT: Duration = Duration::from_mins(1);

/// `isopod` on a pseudo terminal, which script(1) makes.
struct Session {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Session {
    /// Runs busybox with these words.
    fn start(words: &str) -> Result<Self> {
        let busybox = packages::program("busybox-static", "/bin/busybox")?;
        Self::run(&format!("elf:{} {words}", busybox.display()))
    }

    /// Runs a source with its words on a terminal of 33 rows and 99 columns.
    fn run(source: &str) -> Result<Self> {
        let isopod = Isopod::shared().command(&[]);
        let line = format!("stty rows 33 cols 99; exec {} run -it {source}", Isopod::program().display());
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("script(1) of bsdutils is needed")?;
        let keys = child.stdin.take().context("no standard input")?;
        let mut output = child.stdout.take().context("no standard output")?;
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, keys, screen, shown: String::new() })
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Waits until the screen shows `text` behind what was waited for before.
    fn expect(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => bail!("the screen does not show {text:?}, but {:?}", self.shown),
            }
        }
    }

    fn status(mut self) -> Result<Option<i32>> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the application does not end; the screen shows {:?}", self.shown)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves a guest; one that has ended is none of this one's business any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_has_lines_to_edit_and_ends_with_its_status() -> Result<()> {
    let mut session = Session::start("sh")?;
    session.expect("# ")?;
    // The shell edits its own command line; what it prints says that the terminal edits lines again.
    session.press("echo go; read word; echo \"<$word>\" $((40 + 2))\r")?;
    session.expect("\r\ngo\r\n")?;
    // A character is taken back on the screen and in the line.
    session.press("helx\x7flo\r")?;
    session.expect("helx\x08 \x08lo\r\n")?;
    session.expect("<hello> 42\r\n")?;
    session.press("echo on; read word < /dev/tty\r")?;
    session.expect("\r\non\r\n")?;
    session.press("\x03")?;
    session.expect("^C")?;
    session.expect("# ")?;
    session.press("exit 7\r")?;
    assert_eq!(session.status()?, Some(7));
    Ok(())
}

#[test]
fn the_terminal_has_the_users_size() -> Result<()> {
    let mut session = Session::start("stty -a")?;
    session.expect("rows 33; columns 99;")?;
    session.expect("isig icanon iexten echo echoe echok")?;
    assert_eq!(session.status()?, Some(0));
    Ok(())
}

#[test]
fn bash_controls_its_jobs() -> Result<()> {
    let image = image::debian(&["bash", "coreutils", "libc6", "libtinfo6", "libselinux1", "libpcre2-8-0"])?;
    let image = image
        .entrypoint(&["/bin/bash", "--norc", "--noprofile"])
        .set("Env", ["PS1=ready> ", "TERM=dumb"].as_slice());
    let mut session = Session::run(&image.cached()?.reference())?;
    session.expect("ready> ")?;
    session.press("sleep 100 &\r")?;
    session.expect("[1] ")?;
    session.press("jobs\r")?;
    session.expect("[1]+  Running                 sleep 100 &")?;
    session.press("fg\r")?;
    session.expect("\r\nsleep 100\r\n")?;
    session.press("\x1a")?;
    session.expect("[1]+  Stopped                 sleep 100")?;
    session.press("bg\r")?;
    session.expect("[1]+ sleep 100 &")?;
    // Not `wait`, with which bash says nothing of a job that has ended before it.
    session.press("kill %1; sleep 0.2\r")?;
    session.expect("[1]+  Terminated              sleep 100")?;
    // Ctrl-C reaches the foreground job only. It must be there: a shell that has not given it the terminal yet takes the signal itself.
    session.press("cat; echo \"ended: $?\"\r")?;
    session.expect("ended: $?\"\r\n")?;
    session.press("here\r")?;
    session.expect("here\r\nhere\r\n")?;
    session.press("\x03")?;
    session.expect("^C")?;
    session.expect("ready> ")?;
    // A job in the background that reads is stopped.
    session.press("cat &\r")?;
    session.expect("ready> ")?;
    session.press("sleep 0.2; jobs\r")?;
    session.expect("Stopped                 cat")?;
    session.press("kill -9 %1; sleep 0.2; exit 5\r")?;
    assert_eq!(session.status()?, Some(5));
    Ok(())
}
