//! Network cards other than virtio's, which hypervisors have for guests that know no better.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{host, image, run_limited};

/// A machine with this card in place of its own sends a megabyte to this host, and gets it back.
fn carries(card: &str, options: &[&str]) -> Result<()> {
    let content: Vec<u8> =
        (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let image = image::debian(&["busybox-static"])?.files(&[("content", &content)]);
    let port = host::streams("127.0.0.1")?;
    let line = format!(
        "busybox nc 10.0.2.2 {port} </content >/dev/shm/back && busybox cmp /content /dev/shm/back && echo same"
    );
    let reference = image.cached()?.reference();
    let run = [&["run", "--machine", "q35", "--accel", "tcg", "--print-cmd"], options].concat();
    let command = [&run[..], &[&reference, "/bin/busybox", "sh", "-c", &line]].concat();
    let printed = Isopod::shared().run(&command)?;
    printed.expect_status(0);
    let other = printed.stdout.replace("virtio-net-pci,disable-legacy=on", card);
    assert_ne!(other, printed.stdout);
    let finished = run_limited(Command::new("sh").arg("-c").arg(&other), b"", Duration::from_mins(2))?;
    let text = String::from_utf8_lossy(&finished.stdout);
    assert!(text.lines().any(|line| line.trim_end() == "same"), "{card}: {text}");
    Ok(())
}

#[test]
fn e1000_with_a_pin() -> Result<()> {
    carries("e1000", &[])
}

#[test]
fn e1000_of_other_kinds() -> Result<()> {
    carries("e1000-82544gc", &[])?;
    carries("e1000-82545em", &["--cpus", "2"])
}

#[test]
fn e1000e_with_messages() -> Result<()> {
    carries("e1000e", &[])?;
    carries("e1000e", &["--cpus", "4"])
}
