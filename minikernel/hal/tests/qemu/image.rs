//! The self test as an ELF image, and changes to it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Where the kernel's image is linked, and where it is loaded.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Builds the self test, once.
pub fn self_test() -> Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(build).clone()
}

fn build() -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A target directory of its own: the cargo that runs the tests may hold the lock of the usual one.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kernel-build");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&workspace);
    cargo.args(["build", "--locked", "--quiet", "--profile", "kernel", "--package", "isopod-hal-selftest"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
    for (name, _) in env::vars() {
        let foreign = ["CARGO_PROFILE_", "CARGO_CFG_", "CARGO_FEATURE_", "RUSTFLAGS", "RUSTC_W", "MAKEFLAGS"];
        if foreign.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    let flags: Vec<&str> = include_str!("../../../rustc-flags").lines().collect();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    assert!(cargo.status().unwrap().success(), "the self test does not build");
    fs::read(target.join(TARGET).join("kernel/isopod-hal-selftest")).unwrap()
}

/// Little-endian numbers in an ELF file.
pub fn u16_at(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(image[at..at + 2].try_into().unwrap())
}

pub fn u32_at(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

pub fn u64_at(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
}

pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Adds a segment with `bytes` at the physical address `at`. The table of segments goes to the end of the file, where there is room for one more.
pub fn add_segment(image: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    const HEADER: usize = 56;
    let (table, count) = (u64_at(image, 32) as usize, u16_at(image, 56));
    let mut headers = image[table..table + usize::from(count) * HEADER].to_vec();
    image.resize(image.len().next_multiple_of(4096), 0);
    let (offset, len) = (image.len() as u64, bytes.len() as u64);
    // PT_LOAD, readable; offset, both addresses, both lengths, alignment.
    headers.extend([1u32.to_le_bytes(), 4u32.to_le_bytes()].concat());
    headers.extend([offset, at, at, len, len, 4096].into_iter().flat_map(u64::to_le_bytes));
    image.extend(bytes);
    image.resize(image.len().next_multiple_of(8), 0);
    let table = image.len() as u64;
    put(image, 32, &table.to_le_bytes());
    put(image, 56, &(count + 1).to_le_bytes());
    image.extend(headers);
}

/// The image with its own symbols linked to it, as the builder does.
pub fn with_symbols(image: &[u8]) -> Vec<u8> {
    const AT: u64 = 0x80_0000;
    let mut image = image.to_vec();
    let table = symbol_table(&image);
    let directory = section(&image, ".isopod.link").0;
    put(&mut image, directory + 48, &AT.to_le_bytes());
    put(&mut image, directory + 56, &(table.len() as u64).to_le_bytes());
    add_segment(&mut image, AT, &table);
    image
}

/// Place in the file, and length, of a section.
fn section(image: &[u8], name: &str) -> (usize, usize) {
    let headers = u64_at(image, 40) as usize;
    let header = |index: u16| headers + usize::from(index) * 64;
    let names = u64_at(image, header(u16_at(image, 62)) + 24) as usize;
    let found = (0..u16_at(image, 60)).map(header).find(|&at| {
        let text = &image[names + u32_at(image, at) as usize..];
        text.starts_with(name.as_bytes()) && text[name.len()] == 0
    });
    let at = found.unwrap();
    (u64_at(image, at + 24) as usize, u64_at(image, at + 32) as usize)
}

/// The functions in the ELF symbol table, in the kernel's form.
fn symbol_table(image: &[u8]) -> Vec<u8> {
    let ((start, len), (names, _)) = (section(image, ".symtab"), section(image, ".strtab"));
    let mut functions: Vec<(u32, &[u8])> = image[start..start + len]
        .chunks(24)
        .filter_map(|symbol| {
            let offset = u32::try_from(u64_at(symbol, 8).checked_sub(KERNEL_BASE)?).ok()?;
            let name = &image[names + u32_at(symbol, 0) as usize..];
            let end = name.iter().position(|&byte| byte == 0)?;
            (symbol[4] & 0xf == 2).then_some((offset, &name[..end]))
        })
        .collect();
    functions.sort();
    let mut table = (functions.len() as u32).to_le_bytes().to_vec();
    let mut texts = Vec::new();
    for (offset, name) in functions {
        table.extend(offset.to_le_bytes());
        table.extend((texts.len() as u32).to_le_bytes());
        texts.extend(name);
        texts.push(0);
    }
    table.extend(texts);
    table
}
