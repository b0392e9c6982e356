//! The description of a virtual machine in an OVA: an OVF 1.0 envelope (DMTF DSP0243).

use std::fmt::{self, Write as _};

/// What an OVA says of the machine that its disk is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The machine's name; the names of the files in the OVA begin with it.
    pub name: String,
    /// Memory in MiB.
    pub memory: u64,
    /// How many processors.
    pub cpus: u32,
    /// Which virtual hardware.
    pub hardware: Hardware,
    /// Which firmware starts it.
    pub firmware: Firmware,
    /// What the disk is attached to.
    pub bus: Bus,
    /// Which network card it has.
    pub card: Card,
    /// Settings that the guest finds, each with its value, for the user to change.
    pub properties: Vec<(String, String)>,
}

/// The virtual hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// VMware's, of this version: 13 is that of ESXi 6.5, 21 that of 8.0.
    Vmware(u8),
    /// VirtualBox's.
    VirtualBox,
}

/// The firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS.
    Bios,
    /// UEFI.
    Efi,
}

/// What a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// VMware's paravirtual SCSI.
    Pvscsi,
    /// NVMe, which VMware has from hardware version 13 on.
    Nvme,
    /// SATA.
    Ahci,
}

/// A network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// VMware's paravirtual one.
    Vmxnet3,
    /// Intel's 82545EM.
    E1000,
    /// Intel's 82574L.
    E1000e,
}

/// What is known of the disk when it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    /// As the machine finds it, in bytes.
    pub capacity: u64,
    /// Bytes of it that are not known to be zero.
    pub populated: u64,
    /// Size of its file.
    pub size: u64,
}

/// The name of the disk's file.
pub(super) fn disk_name(machine: &Machine) -> String {
    format!("{}-disk1.vmdk", machine.name)
}

/// The envelope.
pub(super) fn envelope(machine: &Machine, disk: Disk) -> String {
    let Machine { memory, cpus, .. } = machine;
    let (name, file) = (Escaped(&machine.name), disk_name(machine));
    let system = match machine.hardware {
        Hardware::Vmware(version) => format!("vmx-{version:02}"),
        Hardware::VirtualBox => "virtualbox-2.2".to_owned(),
    };
    let Disk { capacity, populated, size } = disk;
    let items = [
        Item { quantity: Some((u64::from(*cpus), "hertz * 10^6")), ..Item::new(1, 3, "CPU") },
        Item { quantity: Some((*memory, "byte * 2^20")), ..Item::new(2, 4, "Memory") },
        Item {
            kind: Some(machine.bus.subtype(machine.hardware)),
            ..Item::new(3, machine.bus.resource(), "Disk controller")
        },
        Item { on: Some(3), from: Some("ovf:/disk/vmdisk1"), ..Item::new(4, 17, "Disk") },
        Item {
            kind: Some(machine.card.subtype()),
            connection: Some("VM Network"),
            ..Item::new(5, 10, "Network card")
        },
    ];
    let items: String = items.iter().map(Item::to_string).collect();
    let firmware = match machine.firmware {
        Firmware::Bios => "bios",
        Firmware::Efi => "efi",
    };
    let (transport, properties) = properties(machine);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="{file}" ovf:id="file1" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:capacity="{capacity}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" ovf:populatedSize="{populated}"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network that the machine is attached to</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>An application as a virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="100" vmw:osType="other3xLinux64Guest">
      <Info>The system calls that it answers are those of Linux</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection{transport}>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{system}</vssd:VirtualSystemType>
      </System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
    </VirtualHardwareSection>
{properties}  </VirtualSystem>
</Envelope>
"#,
        file = Escaped(&file),
    )
}

/// The attribute by which VMware passes properties to the guest, and the section that has them.
fn properties(machine: &Machine) -> (&'static str, String) {
    if machine.properties.is_empty() {
        return ("", String::new());
    }
    let mut section = "    <ProductSection>\n      <Info>Settings of the application</Info>\n".to_owned();
    for (key, value) in &machine.properties {
        let (key, value) = (Escaped(key), Escaped(value));
        let _ = writeln!(
            section,
            r#"      <Property ovf:key="{key}" ovf:type="string" ovf:userConfigurable="true" ovf:value="{value}"/>"#
        );
    }
    section += "    </ProductSection>\n";
    (r#" ovf:transport="com.vmware.guestInfo""#, section)
}

impl Bus {
    /// `ResourceType` of its controller: a SCSI one, or one of no older kind.
    fn resource(self) -> u32 {
        match self {
            Self::Pvscsi => 6,
            Self::Nvme | Self::Ahci => 20,
        }
    }

    fn subtype(self, hardware: Hardware) -> &'static str {
        match (self, hardware) {
            (Self::Pvscsi, _) => "VirtualSCSI",
            (Self::Nvme, _) => "vmware.nvme.controller",
            (Self::Ahci, Hardware::Vmware(_)) => "vmware.sata.ahci",
            (Self::Ahci, Hardware::VirtualBox) => "AHCI",
        }
    }
}

impl Card {
    fn subtype(self) -> &'static str {
        match self {
            Self::Vmxnet3 => "VmxNet3",
            Self::E1000 => "E1000",
            Self::E1000e => "E1000e",
        }
    }
}

/// A piece of virtual hardware. Its elements come in the order of the alphabet, as the schema of CIM wants them.
struct Item {
    id: u32,
    resource: u32,
    name: &'static str,
    kind: Option<&'static str>,
    on: Option<u32>,
    from: Option<&'static str>,
    connection: Option<&'static str>,
    quantity: Option<(u64, &'static str)>,
}

impl Item {
    fn new(id: u32, resource: u32, name: &'static str) -> Self {
        Self { id, resource, name, kind: None, on: None, from: None, connection: None, quantity: None }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "      <Item>")?;
        let mut put = |element: &str, value: Option<&dyn fmt::Display>| match value {
            None => Ok(()),
            Some(value) => writeln!(f, "        <rasd:{element}>{value}</rasd:{element}>"),
        };
        put("AddressOnParent", self.on.map(|_| &0 as _))?;
        put("AllocationUnits", self.quantity.as_ref().map(|(_, unit)| unit as _))?;
        put("AutomaticAllocation", self.connection.map(|_| &true as _))?;
        put("Connection", self.connection.as_ref().map(|name| name as _))?;
        put("ElementName", Some(&self.name))?;
        put("HostResource", self.from.as_ref().map(|from| from as _))?;
        put("InstanceID", Some(&self.id))?;
        put("Parent", self.on.as_ref().map(|parent| parent as _))?;
        put("ResourceSubType", self.kind.as_ref().map(|kind| kind as _))?;
        put("ResourceType", Some(&self.resource))?;
        put("VirtualQuantity", self.quantity.as_ref().map(|(quantity, _)| quantity as _))?;
        writeln!(f, "      </Item>")
    }
}

/// Text within XML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // Attributes would have spaces in their place.
                '\n' | '\r' | '\t' => write!(f, "&#{};", u32::from(c))?,
                // XML has no other control characters, not even escaped.
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
