//! `manifest.md`: the manifest's types, with the numbers under which their fields are encoded.

use anyhow::Result;

/// The page.
pub fn page() -> Result<String> {
    let files = ["manifest/src/model.rs", "manifest/src/network.rs"];
    let types = files.map(|file| Ok(types(&super::source(file)?))).into_iter().collect::<Result<String>>()?;
    Ok(format!(
        "# The manifest\n\nWhat a machine runs, and how. The builder writes it, the guest kernel reads it: as a module \
         beside the kernel, or linked behind it. It is encoded as CBOR (RFC 8949), each type as an array whose \
         positions are the numbers below; fields that a reader does not know are skipped. Types without numbers say how they are encoded.\n{types}"
    ))
}

/// A section for each public type.
fn types(source: &str) -> String {
    let (mut page, mut docs, mut number) = (Vec::new(), Vec::new(), String::new());
    let mut inside = false;
    for line in
        source.lines().take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("mod "))
    {
        let code = line.trim();
        if let Some(text) = code.strip_prefix("///") {
            docs.push(text.trim().to_owned());
        } else if let Some(rest) = code.strip_prefix("#[n(").or_else(|| code.strip_prefix("#[cbor(n(")) {
            number = rest.chars().take_while(char::is_ascii_digit).collect();
        } else if code.starts_with("#[") {
            // Other attributes stand between the docs and what they are about.
        } else if let Some(name) = type_name(code) {
            page.push(format!(
                "\n## {name}\n\n{}\n\n| Number | Name | Meaning |\n|---|---|---|\n",
                docs.join(" ")
            ));
            docs.clear();
            inside = true;
        } else if inside && code == "}" {
            inside = false;
        } else if inside && (!number.is_empty() || !docs.is_empty()) {
            let name = code.trim_start_matches("pub ").trim_end_matches([',', ' ', '{']).replace('|', "\\|");
            page.push(format!("| {number} | `{name}` | {} |\n", docs.join(" ")));
            docs.clear();
            number.clear();
        } else {
            docs.clear();
        }
    }
    page.concat()
}

/// The name of a public type whose declaration begins with this line.
fn type_name(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub struct ").or_else(|| code.strip_prefix("pub enum "))?;
    rest.split([' ', '(', '{', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::types;

    #[test]
    fn reads_fields_and_variants() {
        let source = "/// What.\n#[derive(Debug)]\npub struct A {\n    /// A field.\n    #[cbor(n(3), with = \"x\")]\n    pub b: u8,\n}\n";
        let page = types(source);
        assert!(page.contains("## A\n\nWhat.\n"), "{page}");
        assert!(page.contains("| 3 | `b: u8` | A field. |"), "{page}");
    }

    #[test]
    fn what_has_no_number_is_listed_without() {
        let source = "/// Which.\npub enum A {\n    /// One.\n    B {\n        /// A field.\n        c: u8,\n    },\n    /// Other.\n    D,\n}\n";
        let page = types(source);
        assert!(
            page.ends_with("|  | `B` | One. |\n|  | `c: u8` | A field. |\n|  | `D` | Other. |\n"),
            "{page}"
        );
    }
}
