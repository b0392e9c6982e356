# A kernel, entered by PVH, that prints the time-stamp counter which it finds at its entry on the first serial port: the low half, then
# the high one, each as eight digits from A (0) to P (15), highest first. Then it ends the machine, as pvh-end.S does.
        .globl  _start
        .code32
        .text
_start: rdtsc
        movl    %edx, %ebp
        movl    %eax, %ebx
        movw    $0x3f8, %dx             # COM1
        movl    $2, %edi                # two halves
half:   movl    $8, %ecx
digit:  roll    $4, %ebx
        movb    %bl, %al
        andb    $15, %al
        addb    $'A', %al
        outb    %al, %dx
        loop    digit
        movl    %ebp, %ebx
        decl    %edi
        jnz     half
        ud2

        .section .note.Xen, "a", @note
        .long   4, 4, 18                # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start
