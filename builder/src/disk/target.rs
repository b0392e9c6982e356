//! What each hypervisor and cloud takes: in which form, started how, with which devices, and what to do with the file.

use std::fmt;

use super::layout::ALIGNMENT;
use super::{Bus, Card, Firmware, Format, Hardware, Machine};

/// Where an image is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// QEMU, with or without firmware.
    Qemu,
    /// Firecracker.
    Firecracker,
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// Xen, as a PVH guest.
    Xen,
    /// VMware ESXi, by vSphere.
    Esxi,
    /// VirtualBox.
    VirtualBox,
    /// Hyper-V, of the second generation.
    HyperV,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// OpenStack.
    OpenStack,
    /// Proxmox VE.
    Proxmox,
    /// KubeVirt.
    KubeVirt,
}

/// The form of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One ELF that a hypervisor loads as a kernel.
    Elf,
    /// One program for UEFI, that loaders of Linux take as a kernel, too.
    Efi,
    /// A disk that firmware starts from.
    Disk(Format),
}

/// What a guest must drive to be of use there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the devices' own names")]
pub enum Driver {
    VirtioBlk,
    VirtioScsi,
    VirtioNet,
    Nvme,
    Ahci,
    Pvscsi,
    Storvsc,
    XenBlock,
    Vmxnet3,
    E1000,
    Netvsc,
    Ena,
    Gvnic,
    XenNet,
}

/// What a target takes.
#[derive(Debug)]
pub struct Platform {
    /// The forms, the usual one first.
    pub forms: &'static [Form],
    /// What starts disks, the usual first; nothing where only kernels are loaded.
    pub firmware: &'static [Firmware],
    /// Disks and cards that its machines usually have.
    pub drivers: &'static [Driver],
    /// What a disk's size is a multiple of.
    pub rounding: u64,
}

/// A form that a target does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{target} takes no {form}")]
pub struct NotTaken {
    /// The target.
    pub target: Target,
    /// The form.
    pub form: Form,
}

impl NotTaken {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let forms: Vec<_> = self.target.platform().forms.iter().map(Form::to_string).collect();
        format!("{} takes {}", self.target, forms.join(", "))
    }
}

/// What the next commands speak of.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Its form.
    pub form: Form,
    /// The file, as a word for a POSIX shell.
    pub file: &'a str,
    /// The machine's name, of letters, digits and hyphens.
    pub name: &'a str,
    /// The machine's memory in MiB.
    pub memory: u64,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Qemu,
        Self::Firecracker,
        Self::CloudHypervisor,
        Self::Xen,
        Self::Esxi,
        Self::VirtualBox,
        Self::HyperV,
        Self::Aws,
        Self::Gcp,
        Self::Azure,
        Self::OpenStack,
        Self::Proxmox,
        Self::KubeVirt,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::Xen => "xen",
            Self::Esxi => "esxi",
            Self::VirtualBox => "virtualbox",
            Self::HyperV => "hyperv",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::OpenStack => "openstack",
            Self::Proxmox => "proxmox",
            Self::KubeVirt => "kubevirt",
        }
    }

    /// What it takes.
    pub fn platform(self) -> Platform {
        use Driver::{
            Ahci, E1000, Ena, Gvnic, Netvsc, Nvme, Pvscsi, Storvsc, VirtioBlk, VirtioNet, VirtioScsi,
            Vmxnet3, XenBlock, XenNet,
        };
        use Firmware::{Bios, Efi};
        use Form::{Disk, Efi as Program, Elf};
        use Format::{ContainerDisk, Gce, Iso, Ova, Qcow2, Raw, Vhd, Vhdx, Vmdk, VmdkSparse};
        let (forms, firmware, drivers): (&[Form], &[Firmware], &[Driver]) = match self {
            Self::Qemu => (
                &[
                    Elf,
                    Program,
                    Disk(Qcow2),
                    Disk(Raw),
                    Disk(VmdkSparse),
                    Disk(Vmdk),
                    Disk(Vhdx),
                    Disk(Vhd),
                    Disk(Iso),
                ],
                &[Efi, Bios],
                &[VirtioBlk, VirtioScsi, VirtioNet],
            ),
            Self::Firecracker => (&[Elf], &[], &[VirtioBlk, VirtioNet]),
            Self::CloudHypervisor => {
                (&[Elf, Program, Disk(Raw), Disk(Qcow2)], &[Efi], &[VirtioBlk, VirtioNet])
            }
            Self::Xen => (&[Elf, Disk(Raw), Disk(Qcow2)], &[Efi, Bios], &[XenBlock, XenNet]),
            Self::Esxi => (&[Disk(Ova), Disk(Vmdk), Disk(Iso)], &[Efi, Bios], &[Pvscsi, Nvme, Vmxnet3]),
            Self::VirtualBox => (
                &[Disk(Ova), Disk(VmdkSparse), Disk(Vhd), Disk(Iso)],
                &[Bios, Efi],
                &[Ahci, Nvme, E1000, VirtioNet],
            ),
            Self::HyperV => (&[Disk(Vhdx), Disk(Vhd), Disk(Iso)], &[Efi, Bios], &[Storvsc, Netvsc]),
            // Volumes have whole GiB there, but an import takes any size.
            Self::Aws => (&[Disk(Raw), Disk(Vmdk), Disk(Vhd), Disk(Ova)], &[Efi, Bios], &[Nvme, Ena]),
            Self::Gcp => (&[Disk(Gce)], &[Efi, Bios], &[VirtioScsi, Nvme, VirtioNet, Gvnic]),
            Self::Azure => (&[Disk(Vhd)], &[Efi, Bios], &[Storvsc, Nvme, Netvsc]),
            Self::OpenStack | Self::Proxmox => (
                &[Disk(Qcow2), Disk(Raw), Disk(Vmdk), Disk(Iso)],
                &[Efi, Bios],
                &[VirtioBlk, VirtioScsi, VirtioNet],
            ),
            Self::KubeVirt => (
                &[Disk(ContainerDisk), Disk(Qcow2), Disk(Raw)],
                &[Efi, Bios],
                &[VirtioBlk, VirtioScsi, VirtioNet],
            ),
        };
        let rounding = if self == Self::Gcp { 1 << 30 } else { ALIGNMENT };
        Platform { forms, firmware, drivers, rounding }
    }

    /// The form that is written: the one that was asked for, or the target's usual one.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn form(self, asked: Option<Form>) -> Result<Form, NotTaken> {
        let forms = self.platform().forms;
        match asked {
            None => Ok(forms[0]),
            Some(form) if forms.contains(&form) => Ok(form),
            Some(form) => Err(NotTaken { target: self, form }),
        }
    }

    /// What an OVA for it says of its machine.
    pub fn machine(self, name: &str, memory: u64) -> Machine {
        let virtual_box = self == Self::VirtualBox;
        Machine {
            name: name.to_owned(),
            memory,
            cpus: 1,
            hardware: if virtual_box { Hardware::VirtualBox } else { Hardware::Vmware(13) },
            firmware: if virtual_box { Firmware::Bios } else { Firmware::Efi },
            bus: if virtual_box { Bus::Ahci } else { Bus::Pvscsi },
            card: if virtual_box { Card::E1000 } else { Card::Vmxnet3 },
            properties: Vec::new(),
        }
    }

    /// What to do with the file there, in commands of the platform's own tools.
    pub fn commands(self, image: Image<'_>) -> String {
        let Image { form, file, name, memory } = image;
        let format = qemu_name(form);
        match (self, form) {
            (Self::Qemu, Form::Elf) => {
                format!("qemu-system-x86_64 -M microvm -m {memory}M -nographic -no-reboot -kernel {file}")
            }
            (Self::Qemu, Form::Efi) => {
                format!("qemu-system-x86_64 -M q35 -m {memory}M -nographic -no-reboot -kernel {file}")
            }
            (Self::Qemu, Form::Disk(Format::Iso)) => {
                format!("qemu-system-x86_64 -M q35 -m {memory}M -nographic -no-reboot -cdrom {file}")
            }
            (Self::Qemu, _) => format!(
                "qemu-system-x86_64 -M q35 -m {memory}M -nographic -no-reboot -drive file={file},format={format},if=virtio"
            ),
            (Self::Firecracker, _) => format!(
                "printf '{{\"boot-source\":{{\"kernel_image_path\":\"%s\"}},\"drives\":[],\
                 \"machine-config\":{{\"vcpu_count\":1,\"mem_size_mib\":{memory}}}}}' {file} > {name}.json\n\
                 firecracker --no-api --config-file {name}.json"
            ),
            (Self::CloudHypervisor, Form::Elf | Form::Efi) => {
                format!("cloud-hypervisor --kernel {file} --memory size={memory}M --serial tty --console off")
            }
            (Self::CloudHypervisor, _) => format!(
                "cloud-hypervisor --firmware CLOUDHV.fd --disk path={file} --memory size={memory}M --serial tty --console off"
            ),
            (Self::Xen, Form::Elf) => format!(
                "printf 'name=\"{name}\"\\ntype=\"pvh\"\\nmemory={memory}\\nkernel=\"%s\"\\n' {file} > {name}.cfg\n\
                 xl create -c {name}.cfg"
            ),
            (Self::Xen, _) => format!(
                "printf 'name=\"{name}\"\\ntype=\"hvm\"\\nmemory={memory}\\nserial=\"pty\"\\ndisk=[\"%s,{format},xvda,rw\"]\\n' {file} > {name}.cfg\n\
                 xl create -c {name}.cfg"
            ),
            (Self::Esxi, Form::Disk(Format::Ova)) => {
                format!("govc import.ova -name {name} {file}\ngovc vm.power -on {name}")
            }
            (Self::Esxi, _) => format!("govc import.vmdk {file} {name}"),
            (Self::VirtualBox, Form::Disk(Format::Ova)) => {
                format!("VBoxManage import {file}\nVBoxManage startvm {name}")
            }
            (Self::VirtualBox, _) => format!(
                "VBoxManage createvm --name {name} --ostype Linux_64 --register\n\
                 VBoxManage modifyvm {name} --memory {memory} --nic1 nat\n\
                 VBoxManage storagectl {name} --name sata --add sata\n\
                 VBoxManage storageattach {name} --storagectl sata --port 0 --type hdd --medium {file}\n\
                 VBoxManage startvm {name}"
            ),
            (Self::HyperV, _) => format!(
                "New-VM -Name {name} -Generation 2 -MemoryStartupBytes {memory}MB -VHDPath {file}\n\
                 Set-VMFirmware -VMName {name} -EnableSecureBoot Off\n\
                 Start-VM {name}"
            ),
            (Self::Aws, _) => format!(
                "coldsnap upload --wait {file}\n\
                 aws ec2 register-image --name {name} --architecture x86_64 --virtualization-type hvm --ena-support \
                 --root-device-name /dev/xvda --block-device-mappings 'DeviceName=/dev/xvda,Ebs={{SnapshotId=SNAPSHOT}}'"
            ),
            (Self::Gcp, _) => format!(
                "gcloud storage cp {file} gs://BUCKET/{name}.tar.gz\n\
                 gcloud compute images create {name} --source-uri=gs://BUCKET/{name}.tar.gz \
                 --guest-os-features=UEFI_COMPATIBLE,VIRTIO_SCSI_MULTIQUEUE"
            ),
            (Self::Azure, _) => format!(
                "az storage blob upload --account-name ACCOUNT --container-name CONTAINER --type page --file {file} --name {name}.vhd\n\
                 az disk create --resource-group GROUP --name {name} --os-type Linux --hyper-v-generation V2 \
                 --source https://ACCOUNT.blob.core.windows.net/CONTAINER/{name}.vhd\n\
                 az vm create --resource-group GROUP --name {name} --attach-os-disk {name} --os-type Linux"
            ),
            (Self::OpenStack, _) => format!(
                "openstack image create --disk-format {format} --container-format bare --property hw_disk_bus=virtio \
                 --property hw_vif_model=virtio --file {file} {name}"
            ),
            (Self::Proxmox, _) => format!(
                "qm create 9000 --name {name} --memory {memory} --net0 virtio,bridge=vmbr0 --serial0 socket\n\
                 qm set 9000 --virtio0 local-lvm:0,import-from=$(realpath {file}) --boot order=virtio0\n\
                 qm start 9000"
            ),
            (Self::KubeVirt, Form::Disk(Format::ContainerDisk)) => {
                format!("skopeo copy oci-archive:{file} docker://REGISTRY/{name}:latest")
            }
            (Self::KubeVirt, _) => {
                format!("virtctl image-upload dv {name} --size=1Gi --image-path={file}")
            }
        }
    }
}

/// QEMU's name of a form, which others use as well.
fn qemu_name(form: Form) -> &'static str {
    match form {
        Form::Disk(Format::Vmdk | Format::VmdkSparse) => "vmdk",
        Form::Disk(Format::Vhd) => "vpc",
        Form::Disk(other) => other.name(),
        Form::Elf | Form::Efi => "raw",
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf => f.write_str("elf"),
            Self::Efi => f.write_str("efi"),
            Self::Disk(format) => f.write_str(format.name()),
        }
    }
}
