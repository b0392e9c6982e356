//! `isopod run -it`: the application has a terminal, whose lines it edits and whose size it knows.

use anyhow::Result;
use isopod_e2e::image;

use session::Session;

mod programs;
mod session;

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
