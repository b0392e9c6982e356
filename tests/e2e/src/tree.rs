//! A folder described line by line, so that two can be compared as text.

use std::collections::BTreeMap;

/// The differences between two descriptions, as `usertest --tree` prints them: one file a line, its path first.
pub fn differences(expected: &str, found: &str) -> Vec<String> {
    let by_path = |text: &str| -> BTreeMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(path, rest)| (path.into(), rest.into()))
            .collect()
    };
    let (expected, found) = (by_path(expected), by_path(found));
    let mut differences = Vec::new();
    for (path, line) in &expected {
        match found.get(path) {
            None => differences.push(format!("{path}: missing")),
            Some(other) if other != line => {
                differences.push(format!("{path}: {line} was expected, {other} found"));
            }
            Some(_) => {}
        }
    }
    differences.extend(
        found.keys().filter(|path| !expected.contains_key(*path)).map(|path| format!("{path}: too many")),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn tells_missing_changed_and_added() {
        let found = differences("/a\tfile 1\n/b\tfile 2\n", "/b\tfile 3\n/c\tfile 4\n");
        assert_eq!(found, ["/a: missing", "/b: file 2 was expected, file 3 found", "/c: too many"]);
        assert!(differences("/a\tfile\n", "/a\tfile\n").is_empty());
    }
}
