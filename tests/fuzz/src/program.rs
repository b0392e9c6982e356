//! A program that the guest executes: scripts, headers, segments and interpreters, up to its first instruction.

use isopod_linux::fuzzing::Loader;

thread_local! {
    static LOADER: Loader = Loader::default();
}

/// 1 if the program would begin to run.
pub fn run(data: &[u8]) -> usize {
    LOADER.with(|loader| {
        let put =
            |path: &[u8], bytes: &[u8]| loader.put(path, bytes).expect("a file in memory can be written");
        put(b"/program", data);
        // The interpreter that the seeds name is the same file, which is loaded twice then; that of a script is a program.
        put(b"/interpreter", if data.starts_with(b"#!") { &SOUND } else { data });
        usize::from(loader.load(b"/program").is_ok())
    })
}

/// A program of one header and nothing else: `Elf64_Ehdr` and one `Elf64_Phdr`, elf(5).
const SOUND: [u8; 120] = {
    let mut bytes = [0; 120];
    let fields: [(usize, &[u8]); 10] = [
        (0, b"\x7fELF\x02\x01\x01"),
        (16, &[2, 0, 62, 0, 1]),
        (24, &[0x78, 0, 0x40]),
        (32, &[64]),
        (52, &[64, 0, 56, 0, 1]),
        (64, &[1, 0, 0, 0, 5]),
        (82, &[0x40]),
        (96, &[120]),
        (104, &[120]),
        (113, &[0x10]),
    ];
    let mut field = 0;
    while field < fields.len() {
        let (at, value) = fields[field];
        let mut byte = 0;
        while byte < value.len() {
            bytes[at + byte] = value[byte];
            byte += 1;
        }
        field += 1;
    }
    bytes
};
