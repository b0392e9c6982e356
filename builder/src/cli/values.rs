//! Values of options.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::disk::{Form, Format, Target};
use crate::engine::{Acceleration, Machine};
use crate::prepare::Pull;

/// The least memory a machine can have, in bytes: the kernel needs some to say that it has too little.
const MEMORY_MIN: u64 = 8 << 20;
/// The most: what the guest kernel maps.
const MEMORY_MAX: u64 = 64 << 30;

/// A size: digits and `b`, `k`, `m` or `g`, as Docker takes it (`512m`, `1G`, `64MiB`).
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("a size is a number and k, m or g: 512m, 1g".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a size is a number and k, m or g: 512m, 1g".to_owned())?;
    Ok(number.saturating_mul(1 << shift))
}

/// A size of memory, rounded up to whole MiB.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes < MEMORY_MIN => {
            Err(format!("a machine needs at least {} MiB (a number alone is in bytes)", MEMORY_MIN >> 20))
        }
        bytes if bytes <= MEMORY_MAX => Ok(bytes.next_multiple_of(1 << 20)),
        _ => Err(format!("a machine has at most {} GiB", MEMORY_MAX >> 30)),
    }
}

/// What boots today: kernels, and disks on machines whose network card the kernel knows.
const FORMS: [Form; 11] = [
    Form::Elf,
    Form::Efi,
    Form::Disk(Format::Raw),
    Form::Disk(Format::Qcow2),
    Form::Disk(Format::Vmdk),
    Form::Disk(Format::VmdkSparse),
    Form::Disk(Format::Vhd),
    Form::Disk(Format::Vhdx),
    Form::Disk(Format::Gce),
    Form::Disk(Format::Iso),
    Form::Disk(Format::ContainerDisk),
];
const TARGETS: [Target; 6] = [
    Target::Qemu,
    Target::Firecracker,
    Target::CloudHypervisor,
    Target::OpenStack,
    Target::Proxmox,
    Target::KubeVirt,
];

/// `--format`
pub(crate) fn forms() -> impl TypedValueParser<Value = Form> {
    let names = FORMS.map(|form| match form {
        Form::Elf => "elf",
        Form::Efi => "efi",
        Form::Disk(format) => format.name(),
    });
    PossibleValuesParser::new(names)
        .map(|name| FORMS.into_iter().find(|form| form.to_string() == name).unwrap_or(Form::Elf))
}

/// `--target`
pub(crate) fn targets() -> impl TypedValueParser<Value = Target> {
    PossibleValuesParser::new(TARGETS.map(Target::name))
        .map(|name| TARGETS.into_iter().find(|target| target.name() == name).unwrap_or(Target::Qemu))
}

/// `--disk-size`: any size, rounded up to whole MiB.
pub(crate) fn disk_size(text: &str) -> Result<u64, String> {
    size(text)?.checked_next_multiple_of(1 << 20).ok_or_else(|| "no disk is so large".to_owned())
}

/// `NAME=VALUE`, or `NAME` for the value it has in our own environment; `None` where it has none.
pub(crate) fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, std::env::var_os(text).map(|value| value.to_string_lossy().into_owned())),
    };
    if name.is_empty() { Err("a variable needs a name".to_owned()) } else { Ok((name.to_owned(), value)) }
}

/// `--machine`
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum MachineName {
    /// The fastest: virtio over MMIO, no PCI, no ACPI
    Microvm,
    /// A PC with PCI Express and ACPI
    Q35,
}

impl From<MachineName> for Machine {
    fn from(name: MachineName) -> Self {
        match name {
            MachineName::Microvm => Self::Microvm,
            MachineName::Q35 => Self::Q35,
        }
    }
}

/// `--accel`
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum AccelName {
    /// KVM where a short probe shows that it works, otherwise emulation
    Auto,
    /// KVM, or an error
    Kvm,
    /// QEMU's emulator
    Tcg,
}

impl From<AccelName> for Acceleration {
    fn from(name: AccelName) -> Self {
        match name {
            AccelName::Auto => Self::Auto,
            AccelName::Kvm => Self::Kvm,
            AccelName::Tcg => Self::Tcg,
        }
    }
}

/// `--pull`
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum PullName {
    /// Ask the registry what the tag stands for now
    Always,
    /// Ask only when the image is not here
    Missing,
    /// Use only what is here
    Never,
}

impl From<PullName> for Pull {
    fn from(name: PullName) -> Self {
        match name {
            PullName::Always => Self::Always,
            PullName::Missing => Self::Missing,
            PullName::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, mib) in
            [("512m", 512), ("512M", 512), ("1g", 1024), ("64MiB", 64), ("16777216", 16), ("8193k", 9)]
        {
            assert_eq!(memory(text), Ok(mib << 20), "{text}");
        }
        for bad in
            ["", "m", "512", "12q", "-5m", "1.5g", "65g", "99999999999999999999g", "18446744073709551615g"]
        {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_without_a_value_take_ours() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(variable("A="), Ok(("A".to_owned(), Some(String::new()))));
        assert_eq!(variable("PATH").unwrap().1, std::env::var("PATH").ok());
        assert_eq!(variable("ISOPOD_TEST_UNSET"), Ok(("ISOPOD_TEST_UNSET".to_owned(), None)));
        assert!(variable("=x").is_err());
    }
}
