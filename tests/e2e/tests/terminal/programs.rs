//! Programs that draw on the whole screen, and draw again when the terminal's size changes.

use anyhow::Result;
use isopod_e2e::image;

use crate::session::Session;

/// A shell beside these programs, with the name that Debian's scripts give the small vi, and a text of 300 lines.
fn bash() -> Result<Session> {
    let dots = ".".repeat(60);
    let text = (1..=300).map(|number| format!("line {number:>3} {dots}end\n")).collect::<Vec<_>>().concat();
    let image = image::complete(&["bash", "less", "ncurses-base", "ncurses-bin", "procps", "vim-tiny"])?
        .files(&[("root/text", text.as_bytes())])
        .layer({
            let mut layer = image::Layer::new();
            layer.symlink("usr/bin/vi", "vim.tiny");
            layer.finish()
        })
        .set("WorkingDir", "/root")
        .set("Env", ["PS1=ready> ", "TERM=xterm"].as_slice())
        .entrypoint(&["/bin/bash", "--norc", "--noprofile"]);
    let mut session = Session::run(&image.cached()?.reference())?;
    session.until("a prompt", |rows| rows[0] == "ready>")?;
    Ok(session)
}

/// True if the last line that is not empty is the shell's prompt.
fn prompt(rows: &[String]) -> bool {
    rows.iter().rfind(|row| !row.is_empty()).is_some_and(|row| row == "ready>")
}

#[test]
fn less_shows_pages_of_the_terminals_size() -> Result<()> {
    let mut session = bash()?;
    // The file's name in the last row is highlighted until a key is pressed.
    session.press("less text\r")?;
    session.until("the first page", |rows| {
        rows[0].starts_with("line   1 .") && rows[31].starts_with("line  32 .") && rows[32] == "text"
    })?;
    session.press(" ")?;
    session.until("the second page", |rows| rows[0].starts_with("line  33 .") && rows[32] == ":")?;
    session.press("/line 150\r")?;
    session.until("what was sought", |rows| rows[0].starts_with("line 150 .") && rows[32] == ":")?;
    // Lines of 72 characters take two rows now, and 19 rows are left above the prompt.
    session.resize(20, 50)?;
    session.until("the same in fewer and shorter rows", |rows| {
        rows[0].starts_with("line 150 .")
            && rows[1].starts_with('.')
            && rows[1].ends_with("end")
            && rows[18].starts_with("line 159 .")
            && rows[19] == ":"
    })?;
    session.resize(40, 99)?;
    session.until("the same in more and longer rows", |rows| {
        rows[0].starts_with("line 150 .")
            && rows[0].ends_with("end")
            && rows[38].starts_with("line 188 .")
            && rows[39] == ":"
    })?;
    session.press("G")?;
    session.until("the end", |rows| rows[38].starts_with("line 300 .") && rows[39] == "(END)")?;
    session.press("q")?;
    session.expect("ready> ")?;
    session.press("exit 4\r")?;
    assert_eq!(session.status()?, Some(4));
    Ok(())
}

#[test]
fn vi_edits_stops_and_fills_the_terminal() -> Result<()> {
    let mut session = bash()?;
    session.press("vi note\r")?;
    session.until("an empty file", |rows| {
        rows[1..32].iter().all(|row| row == "~") && rows[32] == "\"note\" [New File]"
    })?;
    session.press("ione\rtwo\rthree\x1b")?;
    session.until("what was typed", |rows| rows[..4] == ["one", "two", "three", "~"])?;
    // Moves the first line below the second.
    session.press("1Gddp")?;
    session.until("the lines in another order", |rows| rows[..4] == ["two", "one", "three", "~"])?;
    session.resize(45, 120)?;
    session.until("more rows", |rows| {
        rows[..3] == ["two", "one", "three"]
            && rows[3..44].iter().all(|row| row == "~")
            && rows[44].is_empty()
    })?;
    session.resize(12, 50)?;
    session.until("fewer rows", |rows| {
        rows[..3] == ["two", "one", "three"]
            && rows[3..11].iter().all(|row| row == "~")
            && rows[11].is_empty()
    })?;
    session.press(":set columns?\r")?;
    session.until("the width", |rows| rows[11] == "  columns=50")?;
    // Stopped, it leaves the screen to the shell, and gets it back.
    session.press("\x1a")?;
    session.expect("[1]+  Stopped                 vi note\r\n")?;
    session.expect("ready> ")?;
    // Meanwhile the size changes, of which only the shell in the foreground is told.
    session.resize(16, 60)?;
    session.press("fg\r")?;
    session.until("the text again", |rows| {
        rows[..4] == ["two", "one", "three", "~"] && rows[14] == "~" && rows[15] != "~"
    })?;
    session.press(":wq\r")?;
    session.until("the shell", prompt)?;
    session.press("clear; cat note\r")?;
    session.until("what was written", |rows| rows[..4] == ["two", "one", "three", "ready>"])?;
    session.press("exit 5\r")?;
    assert_eq!(session.status()?, Some(5));
    Ok(())
}

#[test]
fn top_lists_as_many_processes_as_there_are_rows() -> Result<()> {
    let mut session = bash()?;
    session.press("(for process in {1..60}; do sleep 1000 & done); clear; top\r")?;
    let fills = |rows: &[String]| {
        let last = rows.len() - 1;
        rows[0].starts_with("top - ")
            && rows[1].starts_with("Tasks:")
            && rows[1].contains("total")
            && rows[6].trim_start().starts_with("PID USER")
            && rows[7..=last].iter().all(|row| row.contains("root"))
    };
    session.until("a screen of processes", fills)?;
    session.resize(50, 120)?;
    session.until("more processes", fills)?;
    session.resize(14, 80)?;
    session.until("fewer processes", fills)?;
    // By number, the highest first: the last of the shell's, and top itself, which was started after them.
    session.press("N")?;
    session
        .until("an order", |rows| fills(rows) && rows[7].ends_with("top") && rows[8].ends_with("sleep"))?;
    session.press("q")?;
    session.until("the shell", prompt)?;
    session.press("exit 6\r")?;
    assert_eq!(session.status()?, Some(6));
    Ok(())
}

#[test]
fn bash_learns_of_another_size() -> Result<()> {
    let mut session = bash()?;
    session.press("stty size\r")?;
    session.until("the first size", |rows| rows[1] == "33 99" && rows[2] == "ready>")?;
    // A line that is being edited is drawn again: of its 72 characters and the prompt, a row takes 50.
    let line = format!("echo {} end", "x".repeat(63));
    session.press(&line)?;
    session.until("the line", |rows| rows[2].ends_with("x end"))?;
    session.resize(20, 50)?;
    session.until("the line in two rows", |rows| {
        let at = rows.iter().position(|row| row.starts_with("ready> echo xxx"));
        at.is_some_and(|at| rows[at].len() == 50 && rows[at + 1].ends_with("xx end"))
    })?;
    session.press("\x15clear; stty size; echo $LINES $COLUMNS\r")?;
    session.until("the second size", |rows| rows[..3] == ["20 50", "20 50", "ready>"])?;
    // The signal ends what waits for another process: see "SIGNALS" in bash(1).
    session.press(
        "clear; trap 'stty size' WINCH; sleep 1000 & echo waits; wait; echo \"woken by $(($? - 128))\"\r",
    )?;
    session.until("a wait", |rows| rows.iter().any(|row| row == "waits"))?;
    session.resize(25, 70)?;
    session.expect("25 70\r\n")?;
    session.expect("woken by 28\r\n")?;
    session.press("exit 7\r")?;
    assert_eq!(session.status()?, Some(7));
    Ok(())
}
