# A loader, entered by PVH, that starts the bzImage in its first module by Linux' 64-bit boot protocol, as Firecracker and Cloud Hypervisor
# do: the protected-mode code at 1 MiB, long mode with memory mapped as it lies, and the zero page in RSI.
        .set    header, 0x1f1           # of the setup header, in the file and in the zero page
        .set    header_len, 0x7b
        .set    place, 0x100000
        .set    rsdp, 0x70              # in the zero page
        .set    map_count, 0x1e8
        .set    map, 0x2d0

        .globl  _start
        .code32
        .text
_start: cld
        movl    16(%ebx), %eax          # the list of modules
        movl    (%eax), %ebp            # the first, and its length
        movl    8(%eax), %edx
        leal    header(%ebp), %esi
        movl    $zero_page + header, %edi
        movl    $header_len, %ecx
        rep     movsb
        # What lies behind the setup's sectors.
        movzbl  header(%ebp), %eax
        incl    %eax
        shll    $9, %eax
        leal    (%ebp,%eax), %esi
        movl    %edx, %ecx
        subl    %eax, %ecx
        movl    $place, %edi
        rep     movsb
        movl    32(%ebx), %eax
        movl    %eax, zero_page + rsdp
        # The memory map, whose entries are four bytes shorter there.
        movl    40(%ebx), %esi
        movl    48(%ebx), %edx
        movb    %dl, zero_page + map_count
        movl    $zero_page + map, %edi
1:      movl    $5, %ecx
        rep     movsl
        addl    $4, %esi
        decl    %edx
        jnz     1b
        # The first GiB, by pages of 2 MiB.
        movl    $tables + 0x1003, tables
        movl    $tables + 0x2003, tables + 0x1000
        movl    $0x83, %eax
        movl    $tables + 0x2000, %edi
2:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        cmpl    $0x40000083, %eax
        jne     2b
        movl    $0x20, %eax             # CR4.PAE
        movl    %eax, %cr4
        movl    $tables, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER.LME
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    $0x80000011, %eax       # CR0.PG, ET, PE
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $0x10, $long
        .code64
long:   movl    $zero_page, %esi
        movl    $place + 0x200, %eax
        jmp     *%rax

        .balign 8
gdt:    .quad   0, 0
        .quad   0x00af9b000000ffff
        .quad   0x00cf93000000ffff
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

        .bss
        .balign 4096
tables: .skip   3 * 4096
zero_page:
        .skip   4096

        .section .note.Xen, "a", @note
        .long   4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start
