# The smallest kernel that a hypervisor can enter by PVH. It ends the machine at its first instruction: ud2 without an interrupt table
# is a triple fault, and QEMU started with -no-reboot ends at that.
        .globl  _start
        .code32
        .text
_start: ud2

        .section .note.Xen, "a", @note
        .long   4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY: name and value have four bytes each
        .asciz  "Xen"
        .long   _start
