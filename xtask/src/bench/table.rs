//! Results as rows of the table in `SPECIFICATION.md`.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One promise and what was measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is measured; the row's identity in the table.
    pub name: &'static str,
    /// The promise, in words.
    pub bound: &'static str,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether the promise is kept; nothing where a figure only stands beside another.
    pub kept: Option<bool>,
}

impl Row {
    /// A figure that must not be above a limit.
    pub fn at_most(
        name: &'static str,
        bound: &'static str,
        value: f64,
        limit: f64,
        measured: String,
    ) -> Self {
        Self { name, bound, measured, kept: Some(value <= limit) }
    }

    /// A figure that must not be below a limit.
    pub fn at_least(
        name: &'static str,
        bound: &'static str,
        value: f64,
        limit: f64,
        measured: String,
    ) -> Self {
        Self { name, bound, measured, kept: Some(value >= limit) }
    }

    /// A figure without a promise.
    pub fn figure(name: &'static str, measured: String) -> Self {
        Self { name, bound: "", measured, kept: None }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = match self.kept {
            None => "",
            Some(true) => "kept",
            Some(false) => "**not kept**",
        };
        write!(f, "| {} | {} | {} | {kept} |", self.name, self.bound, self.measured)
    }
}

/// The line behind which the rows stand, and the one before which they end.
const BEGIN: &str = "<!-- measured by `cargo xtask bench --record` -->";
const END: &str = "<!-- end -->";

/// Replaces the rows of what was measured; those of other parts stay.
pub fn record(file: &Path, rows: &[Row]) -> Result<()> {
    let text = fs::read_to_string(file)?;
    fs::write(
        file,
        replace(&text, rows).with_context(|| format!("{} has no table to fill", file.display()))?,
    )?;
    Ok(())
}

/// The text with the rows put into its table, each where a row of its name stood, else at the end.
fn replace(text: &str, rows: &[Row]) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    let mut lines: Vec<String> = table.trim().lines().map(str::to_owned).collect();
    for row in rows {
        let prefix = format!("| {} |", row.name);
        match lines.iter_mut().find(|line| line.starts_with(&prefix)) {
            Some(line) => *line = row.to_string(),
            None => lines.push(row.to_string()),
        }
    }
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", lines.join("\n")))
}

/// An error if a promise is not kept.
pub fn judge(rows: &[Row]) -> Result<()> {
    let broken: Vec<_> = rows.iter().filter(|row| row.kept == Some(false)).map(|row| row.name).collect();
    if !broken.is_empty() {
        bail!("promises not kept: {}", broken.join("; "));
    }
    Ok(())
}

/// The middle of some figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number with commas between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    Some(head.to_owned())
        .filter(|head| !head.is_empty())
        .into_iter()
        .chain(groups)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::{Row, grouped, median, replace};

    #[test]
    fn groups_digits() {
        assert_eq!(
            ["0", "12", "1,234", "123,456,789"],
            [0, 12, 1234, 123_456_789].map(grouped).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn takes_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn replaces_rows_by_name() {
        let text =
            format!("a\n{}\n\n| x | y | old | |\n| keep | | 1 | |\n\n{}\nb\n", super::BEGIN, super::END);
        let rows = [Row::figure("x", "new".to_owned()), Row::figure("added", "2".to_owned())];
        let replaced = replace(&text, &rows).expect("there is a table");
        assert!(replaced.contains("| x |  | new |  |\n| keep | | 1 | |\n| added |  | 2 |  |"), "{replaced}");
        assert!(replaced.starts_with("a\n") && replaced.ends_with("\nb\n"));
    }
}
