// The first page of the file: Linux' setup header (Documentation/arch/x86/boot.rst), and the code that loaders start in 16-bit mode, as those
// that come with a BIOS do. The rest of the page is the builder's: the headers of a PE image.
//
// It is loaded below 1 MiB, with ds = es = ss = where it begins; what is behind it goes to 1 MiB. Once it runs, this page is the zero page.

.set HEADER, 0x1f1
.set CODE_32_START, 0x214
.set MAP_COUNT, 0x1e8
.set MAP, 0x2d0
.set MAP_ENTRY, 20
.set MAP_ENTRIES, 128
// Behind the memory map.
.set CODE, 0xd00
.set SIZE, 0x1000
.set PLACE, 0x100000

.pushsection .setup, "ax", @progbits
.code16
.globl headers
headers:
    .org HEADER
    .byte SIZE / 512 - 1        // setup_sects: but the first
    .word 0
    .long 0                     // syssize: the builder fills it in
    .word 0, 0xffff, 0
    .word 0xaa55                // boot_flag
    .byte 0xeb, header_end - 1f // jump: it tells how long the header is
1:  .ascii "HdrS"
    .word 0x020f                // version
    .long 0
    .word 0, version - headers - 0x200
    .byte 0
    .byte 1                     // loadflags: LOADED_HIGH
    .word 0
    .long PLACE                 // code32_start
    .long 0, 0, 0
    .word 0
    .byte 0, 0
    .long 0                     // cmd_line_ptr
    .long 0x7fffffff            // initrd_addr_max
    .long 0x1000                // kernel_alignment
    .byte 0, 0                  // relocatable_kernel: the kernel has a place of its own
    .word 1                     // xloadflags: XLF_KERNEL_64
    .long 4095                  // cmdline_size
    .long 0
    .quad 0
    .long 0, 0
    .quad 0
    .quad PLACE                 // pref_address
    .long 0                     // init_size: the builder fills it in
    .long 0, 0
header_end:
    jmp setup

    .org CODE
.set GDT, setup_gdt - headers
.set GDT_POINTER, setup_gdt_pointer - headers
.set CODE_32, setup_32 - headers
.set CODE_32_POINTER, setup_32_pointer - headers
setup:
    OPEN_A20
    mov di, MAP
    READ_MEMORY_MAP MAP_ENTRY, MAP_ENTRIES
    mov ax, bp
    mov [MAP_COUNT], al
    // Protected mode, with the segments that the protocol names; whatever is told by an address is told where it lies.
    cli
    xor esi, esi
    mov si, ds
    shl esi, 4
    lea eax, [esi + GDT]
    mov [GDT_POINTER + 2], eax
    lea eax, [esi + CODE_32]
    mov [CODE_32_POINTER], eax
    lgdt [GDT_POINTER]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    // jmp far dword ptr
    .byte 0x66, 0xff, 0x2e
    .word CODE_32_POINTER
.code32
setup_32:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    xor ebx, ebx
    xor ebp, ebp
    xor edi, edi
    jmp dword ptr [esi + CODE_32_START]

    .balign 8
setup_gdt:
    .quad 0, 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
setup_gdt_pointer:
    .word setup_gdt_pointer - setup_gdt - 1
    .long 0
setup_32_pointer:
    .long 0
    .word 0x10
version:
    .asciz "Isopod"
    .org SIZE
.code64
.popsection
