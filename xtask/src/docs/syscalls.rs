//! `syscalls.md`: the kernel's table of system calls.

use anyhow::{Result, bail};

/// The page.
pub fn page() -> Result<String> {
    let source = super::source("minikernel/linux/src/syscall/table.rs")?;
    let calls: Vec<_> = source.lines().filter_map(call).collect();
    if calls.is_empty() {
        bail!("the kernel's table of system calls has no line that can be read");
    }
    let rows: Vec<_> = calls
        .iter()
        .map(|(number, name, parameters)| format!("| {number} | `{name}` | {parameters} |\n"))
        .collect();
    Ok(format!(
        "# System calls\n\nThe {} system calls that the guest kernel answers. Every other one ends with `ENOSYS`; \
         `isopod run --trace` names those that a program tried. The man pages of section 2 describe the calls; where \
         the kernel differs from them, that is a bug.\n\n| Number | Name | Parameters |\n|---|---|---|\n{}",
        calls.len(),
        rows.concat()
    ))
}

/// Number, name and parameters of a line of the table: `number name(parameter: Type, ..) => kind handler;`.
fn call(line: &str) -> Option<(u32, &str, String)> {
    let (head, _) = line.trim().split_once(" => ")?;
    let (number, rest) = head.split_once(' ')?;
    let (name, parameters) = rest.strip_suffix(')')?.split_once('(')?;
    let names: Vec<_> = parameters
        .split(',')
        .filter_map(|parameter| parameter.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    Some((number.parse().ok()?, name, names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::call;

    #[test]
    fn reads_a_line_of_the_table() {
        let line = "    0 read(fd: Fd, buf: OutBytes, count: usize) => wait file::read;";
        assert_eq!(call(line), Some((0, "read", "fd, buf, count".to_owned())));
        assert_eq!(call("    39 getpid() => now identity::getpid;"), Some((39, "getpid", String::new())));
        assert_eq!(call("// 0 read => nothing"), None);
    }
}
