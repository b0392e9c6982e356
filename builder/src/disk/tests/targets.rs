//! The table of targets.

use super::*;

#[test]
fn every_target_takes_its_forms_and_refuses_others() {
    let forms: Vec<Form> = Format::ALL.map(Form::Disk).into_iter().chain([Form::Elf]).collect();
    for target in Target::ALL {
        let platform = target.platform();
        assert_eq!(target.form(None), Ok(platform.forms[0]));
        for &form in &forms {
            let taken = platform.forms.contains(&form);
            assert_eq!(target.form(Some(form)).is_ok(), taken, "{target} {form}");
        }
        let disks = platform.forms.iter().any(|form| *form != Form::Elf);
        assert_eq!(disks, !platform.firmware.is_empty(), "{target}: what starts a disk is firmware");
        assert!(platform.rounding.is_multiple_of(ALIGNMENT));
    }
    for form in forms {
        assert!(Target::ALL.iter().any(|target| target.form(Some(form)).is_ok()), "nobody takes {form}");
    }
    let refused = Target::Azure.form(Some(Form::Disk(Format::Vhdx))).unwrap_err();
    assert_eq!(refused.to_string(), "azure takes no vhdx");
    assert_eq!(refused.hint(), "azure takes vhd");
}

#[test]
fn every_form_has_commands_that_a_shell_can_read() {
    for target in Target::ALL {
        for &form in target.platform().forms {
            let image = Image { form, file: "'my file'", name: "web", memory: 256 };
            let commands = target.commands(image);
            assert!(commands.contains("'my file'"), "{target} {form}: {commands}");
            // Hyper-V's are for PowerShell.
            if target != Target::HyperV {
                run("sh", &["-n", "-c", &commands]);
            }
        }
    }
}

#[test]
fn what_an_ova_asks_for_its_target_has() {
    let driver_of_bus = |bus| match bus {
        Bus::Pvscsi => Driver::Pvscsi,
        Bus::Nvme => Driver::Nvme,
        Bus::Ahci => Driver::Ahci,
    };
    for target in [Target::Esxi, Target::VirtualBox] {
        let machine = target.machine("web", 256);
        let platform = target.platform();
        assert!(platform.drivers.contains(&driver_of_bus(machine.bus)));
        let card = if machine.card == Card::Vmxnet3 { Driver::Vmxnet3 } else { Driver::E1000 };
        assert!(platform.drivers.contains(&card));
        assert!(platform.firmware.contains(&machine.firmware));
    }
}
