//! Roots that are cut, damaged or made to do harm: an error for whoever meets the damage, and a machine that ends by itself.

use std::ops::Range;

use anyhow::Result;
use isopod_e2e::longer;
use isopod_e2e::random::Random;
use isopod_e2e::root::{Root, SUPERBLOCK};

/// A name, and what is done to a root.
type Damage = (&'static str, fn(&Root, &mut Vec<u8>) -> Result<()>);

/// Overwrites bytes.
fn put(root: &mut [u8], at: usize, bytes: &[u8]) {
    root[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Overwrites bytes in the inode of a file.
fn put_inode(disk: &Root, root: &mut [u8], path: &str, at: usize, bytes: &[u8]) -> Result<()> {
    put(root, disk.inode(path)? + at, bytes);
    Ok(())
}

/// Gives a file's inode, made an extended one, a size.
fn put_size(disk: &Root, root: &mut [u8], path: &str, size: [u8; 8]) -> Result<()> {
    root[disk.inode(path)?] |= 1;
    put_inode(disk, root, path, 8, &size)
}

/// Overwrites bytes in the entry of a file in the root or in a folder that it has.
fn put_entry(disk: &Root, root: &mut [u8], folder: &str, name: &str, at: usize, bytes: &[u8]) -> Result<()> {
    put(root, disk.entry(disk.inode(folder)?, name)? + at, bytes);
    Ok(())
}

/// Nothing can be run from such a root. Offsets are those of `struct erofs_super_block` and `struct erofs_inode_extended`.
#[rustfmt::skip]
const FATAL: [Damage; 24] = [
    ("nothing", |_, root| { root.clear(); Ok(()) }),
    ("cut before the superblock", |_, root| { root.truncate(SUPERBLOCK); Ok(()) }),
    ("cut in the superblock", |_, root| { root.truncate(SUPERBLOCK + 100); Ok(()) }),
    ("cut behind the superblock", |_, root| { root.truncate(SUPERBLOCK + 128); Ok(()) }),
    ("cut in the first directory", |disk, root| { root.truncate(disk.inode("/")? + 70); Ok(()) }),
    ("cut before the program", |disk, root| { root.truncate(disk.data_start()); Ok(()) }),
    ("zeros", |_, root| { root.fill(0); Ok(()) }),
    ("other magic", |_, root| { put(root, SUPERBLOCK, b"EROF"); Ok(()) }),
    ("blocks of a byte", |_, root| { put(root, SUPERBLOCK + 12, &[0]); Ok(()) }),
    ("blocks of half a page", |_, root| { put(root, SUPERBLOCK + 12, &[11]); Ok(()) }),
    ("blocks of all memory", |_, root| { put(root, SUPERBLOCK + 12, &[63]); Ok(()) }),
    ("blocks without a size", |_, root| { put(root, SUPERBLOCK + 12, &[255]); Ok(()) }),
    ("root inode beyond the disk", |_, root| { put(root, SUPERBLOCK + 14, &[0xff; 2]); Ok(()) }),
    ("inodes beyond the disk", |_, root| { put(root, SUPERBLOCK + 40, &[0xff; 4]); Ok(()) }),
    ("root inode is a file", |disk, root| put_inode(disk, root, "/", 4, &0o100_755_u16.to_le_bytes())),
    ("root inode is a link", |disk, root| put_inode(disk, root, "/", 4, &0o120_755_u16.to_le_bytes())),
    ("root inode is nothing", |disk, root| put_inode(disk, root, "/", 4, &[0; 2])),
    ("root inode of an unknown layout", |disk, root| put_inode(disk, root, "/", 0, &[0xff, 0xff])),
    ("root inode is compressed", |disk, root| { let at = disk.inode("/")?; root[at] = root[at] & 1 | 1 << 1; Ok(()) }),
    ("root inode with attributes beyond everything", |disk, root| put_inode(disk, root, "/", 2, &[0xff; 2])),
    ("root directory without bytes", |disk, root| put_inode(disk, root, "/", 8, &[0; 4])),
    ("root directory without names", |disk, root| put_entry(disk, root, "/", ".", 8, &[0; 2])),
    ("program is a directory", |disk, root| put_inode(disk, root, "/walk", 4, &0o040_755_u16.to_le_bytes())),
    ("program beyond the disk", |disk, root| put_inode(disk, root, "/walk", 16, &[0xfe, 0xff, 0xff, 0xff])),
];

/// Whoever walks the tree of such a root meets an error.
#[rustfmt::skip]
const PARTIAL: [Damage; 30] = [
    ("inode beyond the disk", |disk, root| put_entry(disk, root, "/tree", "plain", 0, &[0xff; 8])),
    ("inode at no number", |disk, root| put_entry(disk, root, "/tree", "plain", 0, &(1_u64 << 59).to_le_bytes())),
    ("inode in a file", |disk, root| put_entry(disk, root, "/tree", "plain", 0, &(disk.data_start() as u64 / 32 + 1).to_le_bytes())),
    ("kind that is none", |disk, root| put_entry(disk, root, "/tree", "plain", 10, &[9])),
    ("kind 0", |disk, root| put_entry(disk, root, "/tree", "plain", 10, &[0])),
    ("name before the entries", |disk, root| put_entry(disk, root, "/tree", "plain", 8, &[0; 2])),
    ("name in the entries", |disk, root| put_entry(disk, root, "/tree", "plain", 8, &12_u16.to_le_bytes())),
    ("name beyond the block", |disk, root| put_entry(disk, root, "/tree", "plain", 8, &[0xff; 2])),
    ("first name beyond the block", |disk, root| put_entry(disk, root, "/tree", ".", 8, &[0xff; 2])),
    ("no entries", |disk, root| put_entry(disk, root, "/tree/many", ".", 8, &[0; 2])),
    ("entries without names", |disk, root| put_entry(disk, root, "/tree/many", ".", 8, &4095_u16.to_le_bytes())),
    ("name with a slash", |disk, root| { let (at, length) = disk.blocks(disk.inode("/tree")?)[0]; put(root, at + length - 2, b"/"); Ok(()) }),
    ("name of NUL", |disk, root| { let (at, length) = disk.blocks(disk.inode("/tree")?)[0]; root[at + length - 10..at + length].fill(0); Ok(()) }),
    ("names in the wrong order", |disk, root| {
        let (at, _) = disk.blocks(disk.inode("/tree/many")?)[1];
        let names = at + usize::from(u16::from_le_bytes([root[at + 8], root[at + 9]]));
        root[names..names + 2000].rotate_left(26 * 20);
        Ok(())
    }),
    ("directory of 2^60 bytes", |disk, root| put_size(disk, root, "/tree/many", (1_u64 << 60).to_le_bytes())),
    ("directory of negative size", |disk, root| put_size(disk, root, "/tree/many", [0xff; 8])),
    ("directory of chunks", |disk, root| put_inode(disk, root, "/tree/many", 0, &[4 << 1])),
    ("directory beyond the disk", |disk, root| put_inode(disk, root, "/tree/many", 16, &[0xf0, 0xff, 0xff, 0xff])),
    ("directory that holds itself", |disk, root| put_entry(disk, root, "/tree/deep", "deep", 0, &(disk.inode("/tree")? as u64 / 32).to_le_bytes())),
    ("file of 2^60 bytes", |disk, root| put_size(disk, root, "/tree/plain", (1_u64 << 60).to_le_bytes())),
    ("file beyond the disk", |disk, root| put_inode(disk, root, "/tree/plain", 16, &[0xfe, 0xff, 0xff, 0xff])),
    ("file at the end of the disk", |disk, root| put_inode(disk, root, "/tree/plain", 16, &(disk.good.len() as u32 / 4096 - 1).to_le_bytes())),
    ("file with its data inline", |disk, root| { let at = disk.inode("/tree/plain")?; root[at] |= 2 << 1; Ok(()) }),
    ("file of an unknown layout", |disk, root| put_inode(disk, root, "/tree/plain", 0, &[0xff; 2])),
    ("attributes beyond the inode", |disk, root| put_inode(disk, root, "/tree/attributes", 2, &[0xff; 2])),
    ("attribute names without end", |disk, root| { let at = disk.inode("/tree/attributes")?; root[at + 64 + 12..at + 64 + 80].fill(0xff); Ok(()) }),
    ("shared attributes that are not there", |disk, root| put_inode(disk, root, "/tree/attributes", 64 + 4, &[0xff])),
    ("chunks of an unknown kind", |disk, root| put_inode(disk, root, "/tree/sparse", 16, &[0xff; 4])),
    ("link without end", |disk, root| put_inode(disk, root, "/tree/link", 8, &[0xff, 0xff, 0xff, 0x7f])),
    ("cut in the files", |disk, root| { root.truncate(disk.data_start() + 800_000); Ok(()) }),
];

/// The walk through a sound root: no errors.
const SOUND: &str = "walked 417 files, 0 errors\n";

/// Neither a panic nor a bug of the kernel shows in what a machine said.
#[track_caller]
fn expect_no_panic(text: &str, name: &str) {
    for word in ["the kernel has an error", "in the kernel (", "panicked", "backtrace"] {
        assert!(!text.contains(word), "{name}: {text}");
    }
}

#[test]
fn sound_roots_are_walked_without_errors() -> Result<()> {
    let disk = Root::new()?;
    disk.run(&disk.good)?.expect_stdout(SOUND).expect_status(0);
    assert_eq!(disk.boot(&disk.good)?, SOUND);
    for options in OTHERS {
        disk.run(&disk.by_mkfs(options)?)?.expect_stdout(&SOUND.replace("417", "416")).expect_status(0);
    }
    Ok(())
}

#[test]
fn nothing_runs_from_a_root_without_sense() -> Result<()> {
    let disk = Root::new()?;
    for (name, damage) in FATAL {
        let mut root = disk.good.clone();
        damage(&disk, &mut root)?;
        println!("{name}");
        disk.run(&root)?.expect_failure(&[125, 126, 127], "").expect_stdout("");
        // Isopod finds some of them out beforehand; the kernel finds all of them out by itself.
        let said = disk.boot(&root)?;
        assert!(said.starts_with("isopod: cannot ") && said.contains("\nhint: "), "{name}: {said}");
        assert_eq!(said.lines().count(), 2, "{name}: {said}");
    }
    Ok(())
}

#[test]
fn damage_in_the_tree_is_an_error_for_who_meets_it() -> Result<()> {
    let disk = Root::new()?;
    for (name, damage) in PARTIAL {
        let mut root = disk.good.clone();
        damage(&disk, &mut root)?;
        let outcome = disk.run(&root)?;
        println!("{name}: {}", outcome.stdout);
        expect_no_panic(&outcome.stderr, name);
        outcome.expect_status(0);
        assert_ne!(outcome.stdout, SOUND, "{name}");
        assert!(outcome.stdout.starts_with("walked "), "{name}: {}", outcome.stdout);
    }
    Ok(())
}

/// Changes a root in a few places, most of them in what describes the files, and none in the program: that would do what it likes.
fn spoil(root: &mut Vec<u8>, program: &Range<usize>, random: &mut Random) {
    let near = |random: &mut Random| {
        let limit = [program.start, 64 << 10, root.len()][random.below(3)].clamp(2 * 4096, root.len() - 8);
        SUPERBLOCK + random.below(limit - SUPERBLOCK)
    };
    let places: Vec<_> = (0..=random.below(12)).map(|_| near(random)).collect();
    for at in places.into_iter().filter(|at| !program.contains(at)) {
        let length = [1, 1, 2, 4, 8][random.below(5)];
        let value = match random.below(4) {
            0 => u64::MAX,
            1 => 0,
            2 => 1 << random.below(64),
            _ => random.below(usize::MAX) as u64,
        };
        put(root, at & !(length - 1), &value.to_le_bytes()[..length]);
    }
    // A block in the place of another.
    if random.below(4) == 0 {
        let (from, to) = (random.below(16) * 4096, random.below(16) * 4096);
        if !program.contains(&to) {
            root.copy_within(from..from + 4096, to);
        }
    }
    if random.below(8) == 0 {
        root.truncate(random.below(root.len()));
    }
}

#[test]
fn roots_damaged_at_random_end_by_themselves() -> Result<()> {
    let disk = Root::new()?;
    let mut roots = vec![disk.good.clone()];
    for options in OTHERS {
        roots.push(disk.by_mkfs(options)?);
    }
    for seed in 0..longer(24, 2000) {
        println!("seed {seed}");
        let random = &mut Random(seed);
        let mut root = roots[random.below(roots.len())].clone();
        let program = disk.program(&root);
        spoil(&mut root, &program, random);
        let outcome = disk.run(&root)?;
        expect_no_panic(&outcome.stderr, "random");
        assert!(!outcome.stderr.contains("written again"), "the damage was mended");
        // Either the walk came to its end, or the program could not be started, or it fell over damage of its own.
        let ended = outcome.stdout.starts_with("walked ") && outcome.status == Some(0);
        let died =
            outcome.status.is_some_and(|status| status > 128) && outcome.stderr.contains("ends with SIG");
        if !ended && !died {
            outcome.expect_failure(&[125, 126, 127], "");
        }
    }
    Ok(())
}

/// Options of `mkfs.erofs` for layouts that our own writer does not use: data behind inodes, chunks, compact and extended inodes, shared
/// attributes.
const OTHERS: [&[&str]; 3] = [&[], &["--chunksize=4096", "-x1"], &["-Eforce-inode-extended", "-x1", "-T1"]];
