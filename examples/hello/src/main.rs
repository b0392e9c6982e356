//! Says hello, with what its package asks `cargo isopod` for: an environment variable, a file, arguments.
//!
//! ```sh
//! cargo isopod run -p hello
//! cargo isopod run -p hello -- Ada Grace
//! ```

use std::{env, fs};

fn main() {
    let greeting = env::var("GREETING").unwrap_or_else(|_| "Hi".to_owned());
    let mut names: Vec<String> = env::args().skip(1).collect();
    if names.is_empty() {
        names.extend(fs::read_to_string("/etc/hello/name").map(|name| name.trim().to_owned()));
    }
    println!("{greeting}, {}!", names.join(" and "));
}
