// The stage: finds out about memory, loads what its table says to above 1 MiB, and enters the kernel by PVH (Xen, misc/pvh.pandoc).
//
// A BIOS is called in 16-bit mode and reads to below 1 MiB; each piece is then moved up in 32-bit mode.

.set BUFFER, 0x10000
.set BUFFER_SEGMENT, 0x1000
// More than 127 sectors some BIOSes do not read at once; those of a CD are four, and three may come before what is asked for.
.set BUFFER_SECTORS, 124
.set MAP, 0x9000
.set MAP_ENTRY, 24
.set MAP_ENTRIES, 128
.set LOADS, 16
.set LOAD, 24

.set CODE_32, 0x08
.set DATA_32, 0x10
.set CODE_16, 0x18
.set DATA_16, 0x20

// Goes from 16-bit to 32-bit mode, with interrupts off and flat segments; SS stays as it is.
.macro PROTECT
    cli
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0xea
    .word 1f, CODE_32
.code32
1:  mov eax, DATA_32
    mov ds, eax
    mov es, eax
.endm

.pushsection .stage, "ax", @progbits
.code16
stage:
    jmp begin
    .balign 8
// The builder fills in what follows, up to the code.
entry:
    .long 0
// The first address behind all that is loaded.
end:
    .long 0
// First sector (8 bytes), where it goes, its length in bytes, how many bytes behind it are zero, 4 bytes of nothing.
// The first that goes nowhere ends the table.
loads:
    .skip LOADS * LOAD
    .long 0, 0, 0

begin:
    OPEN_A20

    mov di, MAP
    READ_MEMORY_MAP MAP_ENTRY, MAP_ENTRIES
    mov [map_entries], bp
    mov si, offset no_map
    test bp, bp
    jz fail

    // One stretch of RAM must hold all that is loaded.
    mov di, MAP
3:  cmp dword ptr [di + 16], 1
    jne 4f
    cmp dword ptr [di + 4], 0
    jne 4f
    mov eax, [di]
    cmp eax, [loads + 8]
    ja 4f
    mov edx, [di + 12]
    add eax, [di + 8]
    adc edx, 0
    jnz load
    cmp eax, [end]
    jae load
4:  add di, MAP_ENTRY
    dec bp
    jnz 3b
    mov si, offset too_little
    call print
    call print_needed
    mov si, offset mebibytes
    jmp fail

load:
    mov word ptr [buffer], 0
    mov word ptr [buffer + 2], BUFFER_SEGMENT
    mov si, offset loads
next_load:
    mov edi, [si + 8]
    test edi, edi
    jz enter
    mov eax, [si]
    mov [sector], eax
    mov eax, [si + 4]
    mov [sector + 4], eax
    mov ebp, [si + 12]
5:  test ebp, ebp
    jz 8f
    // As many sectors as are left, or as fit.
    mov eax, ebp
    dec eax
    shr eax, 9
    inc eax
    cmp eax, BUFFER_SECTORS
    jbe 6f
    mov eax, BUFFER_SECTORS
6:  mov [sectors], ax
    pushad
    call read
    popad
    add [sector], eax
    adc dword ptr [sector + 4], 0
    // No more than is asked for: what lies behind it may be in use already.
    shl eax, 9
    mov ecx, eax
    cmp ecx, ebp
    jbe 7f
    mov ecx, ebp
7:  sub ebp, ecx
    push si
    movzx esi, word ptr [skip]
    add esi, BUFFER
    xor bl, bl
    call high
    pop si
    jmp 5b
8:  mov ecx, [si + 16]
    mov bl, 1
    call high
    add si, LOAD
    jmp next_load

// Above 1 MiB: moves ecx bytes from esi to edi, or with bl fills them with zeros; edi then points behind them.
high:
    PROTECT
    test bl, bl
    jnz 2f
    mov edx, ecx
    shr ecx, 2
    rep movsd
    mov ecx, edx
    and ecx, 3
    rep movsb
    jmp 3f
2:  xor eax, eax
    mov edx, ecx
    shr ecx, 2
    rep stosd
    mov ecx, edx
    and ecx, 3
    rep stosb
3:  .byte 0xea
    .long 4f
    .word CODE_16
.code16
4:  mov ax, DATA_16
    mov ds, ax
    mov es, ax
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea
    .word 5f, 0
5:  xor ax, ax
    mov ds, ax
    mov es, ax
    sti
    ret

enter:
    PROTECT
    mov ss, eax
    FIND_RSDP
    mov [rsdp], eax
    mov ebx, offset start_info
    jmp dword ptr [entry]

.code16

// Prints how many MiB the machine needs.
print_needed:
    mov eax, [end]
    add eax, 0xfffff
    shr eax, 20
    mov ecx, 10
    mov si, offset number_end
1:  xor edx, edx
    div ecx
    add dl, '0'
    dec si
    mov [si], dl
    test eax, eax
    jnz 1b
    jmp print

number:
    .skip 10
number_end:
    .byte 0
no_map:
    .asciz "isopod: this BIOS does not tell how much memory there is (INT 15h, E820)\r\n"
too_little:
    .asciz "isopod: the machine has too little memory: the image alone takes "
mebibytes:
    .asciz " MiB\r\n"

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00009b000000ffff
    .quad 0x000093000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

// struct hvm_start_info (Xen, public/arch-x86/hvm/start_info.h), version 1: no modules, no command line.
.balign 8
start_info:
    .long 0x336ec578, 1, 0, 0
    .quad 0, 0
rsdp:
    .quad 0
    .quad MAP
map_entries:
    .long 0, 0
.popsection
