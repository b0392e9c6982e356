//! Builds the guest kernel with the same compiler, for the same target, and hands it to the crate to be embedded.
//!
//! The kernel is `no_std` code linked by a script of its own (`minikernel/build.rs` passes it); nothing but rustc and the linker it
//! ships is needed. It has a target directory of its own: the outer cargo holds the lock of the usual one, and builds of every
//! profile share it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

#[path = "build/pack.rs"]
mod pack;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What makes rustc's output a kernel, an option a line: the red zone would be overwritten by interrupts, the code model is for the
/// upper two gigabytes of the address space, and inlining less than "s" does is a tenth of the size for a fiftieth of the time.
const FLAGS: &str = include_str!("../minikernel/rustc-flags");

/// The same for the program that UEFI starts, which runs wherever it is put.
const EFI_FLAGS: &str = include_str!("../minikernel/hal/efi/rustc-flags");

/// What the kernel is made of, seen from the workspace.
const SOURCES: [&str; 5] = ["minikernel", "manifest", "packed", "Cargo.toml", "Cargo.lock"];

/// What makes it the file that hypervisors load, seen from this package.
const LINKING: [&str; 4] =
    ["src/link/directory.rs", "src/link/image.rs", "src/link/kernel.rs", "src/link/symbols.rs"];

fn main() {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    for source in LINKING {
        println!("cargo::rerun-if-changed={source}");
    }
    let target_dir = target_dir();
    let flags: Vec<String> = FLAGS.lines().map(str::to_owned).chain(crates_anywhere()).collect();
    build(&["isopod-kernel", "isopod-bios"], &flags, &workspace, &target_dir);
    let flags: Vec<String> = EFI_FLAGS.lines().map(str::to_owned).collect();
    build(&["isopod-efi"], &flags, &workspace, &target_dir);

    let kernel = target_dir.join(TARGET).join("kernel/isopod-kernel");
    let packed = PathBuf::from(variable("OUT_DIR")).join("isopod-kernel.packed");
    let elf = fs::read(&kernel).expect("cargo has built the kernel");
    fs::write(&packed, pack::pack(&elf)).expect("the build script's own folder can be written");
    println!("cargo::rustc-env=ISOPOD_KERNEL_KEY={}", key(&kernel, &packed));
    println!("cargo::rustc-env=ISOPOD_KERNEL={}", kernel.display());
    println!("cargo::rustc-env=ISOPOD_KERNEL_PACKED={}", packed.display());
    println!("cargo::rustc-env=ISOPOD_BIOS={}", kernel.with_file_name("isopod-bios").display());
    println!("cargo::rustc-env=ISOPOD_EFI={}", kernel.with_file_name("isopod-efi").display());
}

/// Builds programs for the bare machine.
fn build(programs: &[&str], flags: &[String], workspace: &Path, target_dir: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace);
    cargo.args(["build", "--locked", "--quiet", "--profile", "kernel"]);
    for program in programs {
        cargo.args(["--package", program, "--bin", program]);
    }
    cargo.args(["--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir);
    for (name, _) in env::vars_os().filter(|(name, _)| is_for_the_outer_build(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo.status().expect("cargo, which runs this script, can be run");
    assert!(status.success(), "{programs:?}: no build: see cargo's messages above");
}

/// Options that call the sources of other crates the same on every machine: panics name them, and the same kernel has the same bytes.
fn crates_anywhere() -> impl Iterator<Item = String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let folders = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let folders = folders.into_iter().flatten().flatten();
    folders.map(|folder| format!("--remap-path-prefix={}=crates", folder.path().display()))
}

/// Stands for the kernel, its packed code, and the code that links them: another of either gives another file.
fn key(kernel: &Path, packed: &Path) -> String {
    let mut hash = Sha256::new();
    for file in LINKING.map(Path::new).iter().chain([&kernel, &packed]) {
        let bytes =
            fs::read(file).unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
        hash.update(bytes);
    }
    hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The kernel's target directory, beside those of the outer build's profiles: `OUT_DIR` is `TARGET/PROFILE/build/NAME/out`.
fn target_dir() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = out.ancestors().nth(4).map(Path::to_path_buf).unwrap_or(out);
    target.join("kernel-build")
}

/// Settings of the outer build that would change the kernel, or confuse the inner cargo.
fn is_for_the_outer_build(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let exact =
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "MAKEFLAGS"];
    let prefixes = ["CARGO_PROFILE_", "CARGO_CFG_", "CARGO_FEATURE_"];
    exact.contains(&&*name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name} for build scripts"))
}
