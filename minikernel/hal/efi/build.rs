//! Links the program as plain bytes when it is built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    println!("cargo::rerun-if-changed=src");
    if std::env::var_os("CARGO_CFG_ISOPOD_BARE").is_some() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/link.ld");
        println!("cargo::rustc-link-arg-bins=-T{script}");
        println!("cargo::rustc-link-arg-bins=--oformat=binary");
    }
}
