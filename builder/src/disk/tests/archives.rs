//! Formats that are archives around a disk, and the CD.

use std::os::unix::fs::MetadataExt as _;

use super::*;

fn written(formats: &[Format]) -> Written {
    let (root, program) = (root(3_000_000), content(700_000));
    let disk = Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap();
    Written::new(&disk, formats)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_archive_for_google_is_a_sparse_tar() {
    let written = written(&[Format::Gce]);
    let (archive, dir) = (written.path("gce"), written.path("unpacked"));
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(run("tar", &["-tzf", text(&archive)]), "disk.raw\n");
    run("tar", &["-xzf", text(&archive), "-C", text(&dir)]);
    let unpacked = dir.join("disk.raw");
    written.compare(&unpacked, "raw");
    let about = std::fs::metadata(unpacked).unwrap();
    assert!(about.blocks() * 512 + (1 << 20) < about.len(), "holes became holes");
}

#[test]
fn an_archive_for_google_names_any_number_of_stretches() {
    use super::super::content::{Bytes, Piece};
    for count in [4, 5, 25, 26, 47] {
        let piece =
            |number: u64| Piece { offset: number << 20, data: Data::from(vec![number as u8 + 1; 100]) };
        let bytes = Bytes::new(64 << 20, (0..count).map(piece).collect());
        let id = super::super::layout::derived(b"", "disk");
        // Behind the last stretch there are zeros to the end.
        let written = Written::new(&Disk { bytes, id, partitions: Vec::new() }, &[Format::Gce]);
        run("tar", &["-xzf", text(&written.path("gce")), "-C", text(written.dir.path())]);
        written.compare(&written.path("disk.raw"), "raw");
    }
}

#[test]
fn an_ova_unpacks_in_order_and_its_digests_hold() {
    let written = written(&[Format::Ova]);
    let archive = written.path("ova");
    assert_eq!(run("tar", &["-tf", text(&archive)]), "web.ovf\nweb.mf\nweb-disk1.vmdk\n");
    run("tar", &["-xf", text(&archive), "-C", text(written.dir.path())]);
    let digests = std::fs::read_to_string(written.path("web.mf")).unwrap();
    let line = |name: &str| {
        format!("SHA256({name})= {}\n", Digest::of(&std::fs::read(written.path(name)).unwrap()).hex())
    };
    let expected = line("web.ovf") + &line("web-disk1.vmdk");
    assert_eq!(digests, expected);
    written.compare(&written.path("web-disk1.vmdk"), "vmdk");

    let raw = written.bytes(Format::Raw);
    let populated = raw.chunks(64 << 10).filter(|grain| grain.iter().any(|byte| *byte != 0)).count() << 16;
    let envelope = std::fs::read_to_string(written.path("web.ovf")).unwrap();
    let document = roxmltree::Document::parse(&envelope).unwrap();
    let find = |name: &str| document.descendants().find(|node| node.tag_name().name() == name).unwrap();
    let attribute = |name: &str, key: &str| {
        find(name).attribute((find(name).tag_name().namespace().unwrap(), key)).unwrap().to_owned()
    };
    assert_eq!(attribute("File", "href"), "web-disk1.vmdk");
    let size = std::fs::metadata(written.path("web-disk1.vmdk")).unwrap().len();
    assert_eq!(attribute("File", "size"), size.to_string());
    assert_eq!(attribute("Disk", "capacity"), raw.len().to_string());
    assert_eq!(attribute("Disk", "populatedSize"), populated.to_string());
    assert_eq!(attribute("Disk", "fileRef"), attribute("File", "id"));
    assert_eq!(attribute("Property", "value"), "\"a\" < 'b' & c");
    assert_eq!(find("VirtualSystemType").text(), Some("vmx-13"));
}

/// What DSP0243 and the schemas of CIM ask for and the parser of XML does not see.
#[test]
fn every_machine_has_a_description_by_the_rules() {
    let ids = |document: &roxmltree::Document<'_>, name: &str| -> Vec<String> {
        let nodes = document.descendants().filter(|node| node.tag_name().name() == name);
        nodes.map(|node| node.text().unwrap_or_default().to_owned()).collect()
    };
    for bus in [Bus::Pvscsi, Bus::Nvme, Bus::Ahci] {
        for card in [Card::Vmxnet3, Card::E1000, Card::E1000e] {
            for hardware in [Hardware::Vmware(7), Hardware::Vmware(21), Hardware::VirtualBox] {
                let machine = Machine { bus, card, hardware, properties: Vec::new(), ..machine() };
                let disk = super::super::ovf::Disk { capacity: 1 << 30, populated: 1 << 20, size: 12345 };
                let envelope = super::super::ovf::envelope(&machine, disk);
                let document = roxmltree::Document::parse(&envelope).unwrap();
                let sections: Vec<_> =
                    document.root_element().children().filter(roxmltree::Node::is_element).collect();
                let names: Vec<_> = sections.iter().map(|node| node.tag_name().name()).collect();
                assert_eq!(names, ["References", "DiskSection", "NetworkSection", "VirtualSystem"]);
                for item in document
                    .descendants()
                    .filter(|node| node.has_tag_name((sections[0].tag_name().namespace().unwrap(), "Item")))
                {
                    let names: Vec<_> = item
                        .children()
                        .filter(roxmltree::Node::is_element)
                        .map(|node| node.tag_name().name())
                        .collect();
                    assert!(names.is_sorted(), "{names:?}");
                    assert!(
                        ["ElementName", "InstanceID", "ResourceType"].iter().all(|must| names.contains(must)),
                        "{names:?}"
                    );
                }
                let instances = ids(&document, "InstanceID");
                let unique: std::collections::BTreeSet<_> = instances.iter().collect();
                assert_eq!(unique.len(), instances.len());
                assert!(ids(&document, "Parent").iter().all(|parent| instances.contains(parent)));
                assert!(!envelope.contains("transport"));
            }
        }
    }
}

#[test]
fn a_container_disk_is_an_image_that_skopeo_takes() {
    let written = written(&[Format::ContainerDisk]);
    let archive = format!("oci-archive:{}", text(&written.path("containerdisk")));
    let copied = written.path("copied");
    // Every digest is looked at on the way.
    run("skopeo", &["copy", "--quiet", &archive, &format!("oci:{}:disk", text(&copied))]);
    let about: serde_json::Value =
        serde_json::from_str(&run("skopeo", &["inspect", "--raw", &archive])).unwrap();
    let digest = about["layers"][0]["digest"].as_str().unwrap();
    let layer = copied.join("blobs").join(digest.replace(':', "/"));
    let listing = run("tar", &["--numeric-owner", "-tvzf", text(&layer)]);
    let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][..2].to_vec(), lines[0][5]), (vec!["dr-xr-xr-x", "107/107"], "disk/"));
    assert_eq!((lines[1][..2].to_vec(), lines[1][5]), (vec!["-r--r--r--", "107/107"], "disk/disk.qcow2"));
    assert_eq!(lines.len(), 2);
    let config: serde_json::Value =
        serde_json::from_str(&run("skopeo", &["inspect", "--config", "--raw", &archive])).unwrap();
    run("sh", &["-c", &format!("gunzip -c {} > {}.tar", text(&layer), text(&layer))]);
    let tar = Digest::of(&std::fs::read(format!("{}.tar", text(&layer))).unwrap());
    assert_eq!(config["rootfs"]["diff_ids"][0], tar.to_string());
    run("tar", &["--no-same-owner", "-xzf", text(&layer), "-C", text(written.dir.path()), "disk/disk.qcow2"]);
    let disk = written.path("disk/disk.qcow2");
    run("qemu-img", &["check", "-f", "qcow2", text(&disk)]);
    written.compare(&disk, "qcow2");
}

#[test]
fn a_cd_is_one_that_xorriso_takes() {
    let written = written(&[Format::Iso]);
    let iso = written.path("iso");
    let report = run(
        "xorriso",
        &["-indev", text(&iso), "-report_el_torito", "plain", "-find", "/", "-exec", "report_lba"],
    );
    assert!(report.contains("Volume id    : 'ISOPOD'"), "{report}");
    for boot in ["BIOS  y   none  0x0000  0x00      4", "UEFI  y   none  0x0000  0x00"] {
        assert!(report.contains(boot), "{report}");
    }
    for name in ["EFI.IMG", "ROOT.IMG", "BOOT.CAT"] {
        assert!(report.contains(name), "{report}");
    }
    let out = written.path("out");
    run("xorriso", &["-osirrox", "on", "-indev", text(&iso), "-extract", "/", text(&out)]);
    let raw = written.bytes(Format::Raw);
    let verdict = run("sgdisk", &["-v", text(&iso)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    for name in ["EFI.IMG", "ROOT.IMG"] {
        let file = std::fs::read(out.join(name)).unwrap();
        // Partitions begin at multiples of the alignment.
        let starts = (0..raw.len()).step_by(ALIGNMENT as usize);
        assert!(starts.into_iter().any(|start| raw[start..].starts_with(&file)), "{name}");
    }
    run("fsck.erofs", &[text(&out.join("ROOT.IMG"))]);
}
