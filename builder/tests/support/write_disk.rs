//! Writes a root as a disk, for measurements: `write-disk ROOT PROGRAM FORMAT=FILE...`, where PROGRAM stands for what firmware loads.

use std::fs::File;
use std::io;

use isopod::disk::{
    ALIGNMENT, Bus, Card, Contents, Data, Disk, EfiFile, Firmware, Format, Hardware, Machine, write,
};
use isopod::store::Digest;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [root, program, outputs @ ..] = &words[..] else { return Err("ROOT PROGRAM FORMAT=FILE...".into()) };
    let (root, program) = (File::open(root)?, File::open(program)?);
    let data = Data::File { file: &program, start: 0, len: program.metadata()?.len() };
    let contents = Contents {
        identity: Digest::of(b"measured"),
        root: &root,
        manifest: b"",
        efi: vec![EfiFile { path: "EFI/BOOT/BOOTX64.EFI", data }],
        bios: None,
    };
    let disk = Disk::plan(contents, None, ALIGNMENT)?;
    let machine = Machine {
        name: "measured".to_owned(),
        memory: 256,
        cpus: 1,
        hardware: Hardware::Vmware(13),
        firmware: Firmware::Efi,
        bus: Bus::Pvscsi,
        card: Card::Vmxnet3,
        properties: Vec::new(),
    };
    let open = |word: &String| -> io::Result<(Format, File)> {
        let (name, path) = word.split_once('=').ok_or(io::ErrorKind::InvalidInput)?;
        let format = Format::ALL.into_iter().find(|format| format.name() == name);
        Ok((format.ok_or(io::ErrorKind::InvalidInput)?, File::create_new(path)?))
    };
    let files = outputs.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let files: Vec<(Format, &File)> = files.iter().map(|(format, file)| (*format, file)).collect();
    write(&disk, &machine, &files)?;
    Ok(())
}
