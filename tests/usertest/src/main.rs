//! tests/usertest
fn main() {}
