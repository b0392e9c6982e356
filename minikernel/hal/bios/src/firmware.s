// What a BIOS tells, for all that runs before or without a loader that has asked it.

// In 16-bit mode: reads the memory map (ACPI 6.5, section 15.1) to entries of \size bytes at di, and clears the 4 bytes behind the 20 that
// each has. bp counts them, up to \most.
.macro READ_MEMORY_MAP size, most
    xor ebx, ebx
    xor bp, bp
1:  mov eax, 0xe820
    mov ecx, 20
    mov edx, 0x534d4150
    int 0x15
    jc 2f
    cmp eax, 0x534d4150
    jne 2f
    mov dword ptr [di + 20], 0
    add di, \size
    inc bp
    cmp bp, \most
    je 2f
    test ebx, ebx
    jnz 1b
2:
.endm

// In 16-bit mode: opens address line 20, by the BIOS and by the chipset: one of them will do, or it is open anyway.
.macro OPEN_A20
    mov ax, 0x2401
    int 0x15
    in al, 0x92
    or al, 2
    and al, 0xfe
    out 0x92, al
.endm

// In 32-bit mode: eax becomes the place where ACPI begins, in the first KiB of the extended BIOS data area or below 1 MiB (ACPI 6.5,
// section 5.2.5.1), or zero. ecx is lost.
.macro FIND_RSDP
    movzx eax, word ptr [0x40e]
    shl eax, 4
    lea ecx, [eax + 0x400]
1:  cmp dword ptr [eax], 0x20445352
    jne 2f
    cmp dword ptr [eax + 4], 0x20525450
    je 4f
2:  add eax, 16
    cmp eax, ecx
    jb 1b
    cmp ecx, 0x100000
    je 3f
    mov eax, 0xe0000
    mov ecx, 0x100000
    jmp 1b
3:  xor eax, eax
4:
.endm
