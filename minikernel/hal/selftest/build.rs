//! Links the self test by the kernel's script when it is built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=../../link.ld");
    println!("cargo::rerun-if-changed=../../boot.ld");
    if std::env::var_os("CARGO_CFG_ISOPOD_BARE").is_some() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        println!("cargo::rustc-link-arg-bins=-T{folder}/link.ld");
        // Where the script finds what it includes.
        println!("cargo::rustc-link-arg-bins=-L{folder}");
    }
}
