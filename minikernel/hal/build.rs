//! Builds the vDSO, an object of its own that programs map, from `vdso/` by the same compiler and the linker it ships.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs run on the same kind of processor as the kernel.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=vdso");
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("vdso");
    let out = PathBuf::from(variable("OUT_DIR"));
    let (object, image) = (out.join("vdso.o"), out.join("vdso.so"));
    let rustc = variable("RUSTC");

    let mut compile = Command::new(&rustc);
    compile.args([
        "--edition=2024",
        "--crate-type=lib",
        "--crate-name=vdso",
        "--emit=obj",
        "--target",
        TARGET,
    ]);
    compile.args(["-Copt-level=3", "-Ccodegen-units=1", "-Cpanic=abort", "-Crelocation-model=pic"]);
    compile.args(["-Cforce-unwind-tables=yes", "-Cdebuginfo=0"]);
    run(compile.arg("-o").arg(&object).arg(source.join("vdso.rs")));

    let mut link = Command::new(linker(&rustc));
    link.args(["-flavor", "gnu", "-shared", "-soname", "linux-vdso.so.1", "--hash-style=both", "-Bsymbolic"]);
    link.args([
        "--no-undefined",
        "--eh-frame-hdr",
        "--build-id=none",
        "--strip-all",
        "-z",
        "max-page-size=4096",
    ]);
    link.arg("--version-script").arg(source.join("vdso.map")).arg("-T").arg(source.join("vdso.ld"));
    run(link.arg("-o").arg(&image).arg(&object));
}

/// The linker that comes with the compiler.
fn linker(rustc: &str) -> PathBuf {
    let output = Command::new(rustc).args(["--print", "target-libdir"]).output().expect("rustc can be run");
    assert!(output.status.success(), "rustc does not say where its libraries are");
    let libraries = String::from_utf8(output.stdout).expect("a path in UTF-8");
    Path::new(libraries.trim()).with_file_name("bin").join("rust-lld")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(status.success(), "failed: {command:?}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
