// The boot code: loaded to 0x7c00 with the drive's number in dl. It loads the stage by the extensions of INT 13h
// (Phoenix, Enhanced Disk Drive 3.0), which every BIOS has had for decades. A CD starts it too (El Torito 1.0, without emulation), and
// has sectors of 2048 bytes.

.set STAGE_SECTOR, 128
.set STAGE_SECTORS, 8

.pushsection .boot, "ax", @progbits
.code16
.globl boot
boot:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7c00
    // Some firmware comes here as 07c0:0000.
    .byte 0xea
    .word 1f, 0
1:  sti
    cld
    mov [drive], dl
    // COM1: 115200 baud, 8 bits, no parity, one stop bit.
    mov dx, 0x3fb
    mov al, 0x83
    out dx, al
    mov dx, 0x3f8
    mov al, 1
    out dx, al
    inc dx
    xor al, al
    out dx, al
    mov dx, 0x3fb
    mov al, 0x03
    out dx, al

    mov dl, [drive]
    mov ah, 0x41
    mov bx, 0x55aa
    int 0x13
    mov si, offset no_extensions
    jc fail
    cmp bx, 0xaa55
    jne fail
    // The drive's parameters: their 24th byte begins the size of a sector.
    mov si, 0x7e00
    mov word ptr [si], 26
    mov ah, 0x48
    mov dl, [drive]
    int 0x13
    jc 2f
    cmp word ptr [si + 24], 2048
    jne 2f
    mov byte ptr [shift], 2
2:  call read
    jmp stage

// Reads as many sectors of 512 bytes as are asked for. Where the first does not begin one of the drive's, so much of that comes before
// them as `skip` says.
read:
    mov cl, [shift]
    mov eax, [sector]
    mov edx, [sector + 4]
    mov bx, 1
    shl bx, cl
    dec bx
    and bx, ax
    shrd eax, edx, cl
    shr edx, cl
    mov [packet_sector], eax
    mov [packet_sector + 4], edx
    mov ax, bx
    shl bx, 9
    mov [skip], bx
    add ax, [sectors]
    dec ax
    shr ax, cl
    inc ax
    mov [packet_sectors], ax
    mov ah, 0x42
    mov dl, [drive]
    mov si, offset packet
    int 0x13
    mov si, offset unreadable
    jc fail
    ret

// Prints the text at si and stops.
fail:
    call print
1:  cli
    hlt
    jmp 1b

// Prints the text at si to the screen and then to COM1: a BIOS may send one to the other, and characters would alternate.
print:
    push si
1:  lodsb
    test al, al
    jz 2f
    mov ah, 0x0e
    mov bx, 7
    push si
    int 0x10
    pop si
    jmp 1b
2:  pop si
3:  lodsb
    test al, al
    jz 5f
    mov ah, al
    // For as long as the port may take for a character, where there is one.
    mov dx, 0x3fd
    xor cx, cx
4:  in al, dx
    test al, 0x20
    loopz 4b
    mov al, ah
    mov dx, 0x3f8
    out dx, al
    jmp 3b
5:  ret

.balign 4
packet:
    .byte 16, 0
packet_sectors:
    .word 0
buffer:
    .word 0x8000, 0
packet_sector:
    .long 0, 0
sector:
    .long STAGE_SECTOR, 0
sectors:
    .word STAGE_SECTORS
skip:
    .word 0
drive:
    .byte 0
// How often a sector of 512 bytes must be doubled to become one of the drive's.
shift:
    .byte 0
no_extensions:
    .asciz "isopod: this BIOS cannot read large disks (INT 13h extensions)\r\n"
unreadable:
    .asciz "isopod: the disk cannot be read\r\n"
.popsection
