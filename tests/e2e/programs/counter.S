# Prints the time-stamp counter that it finds at its first instruction. Where QEMU counts instructions
# (-icount shift=0), that is the number of instructions since the machine was reset.
        .globl  _start
        .text
_start:
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        leaq    end(%rip), %rsi         # digits are written from the last to the first
        movl    $10, %ecx
1:      xorl    %edx, %edx
        divq    %rcx
        addb    $'0', %dl
        decq    %rsi
        movb    %dl, (%rsi)
        testq   %rax, %rax
        jnz     1b
        leaq    word(%rip), %rdi        # the word stands before the digits
        movl    $(word_end - word), %ecx
2:      decl    %ecx
        js      3f
        decq    %rsi
        movb    (%rdi,%rcx), %al
        movb    %al, (%rsi)
        jmp     2b
3:      movl    $1, %eax                # write(1, text, length)
        movl    $1, %edi
        leaq    end + 1(%rip), %rdx
        subq    %rsi, %rdx
        syscall
        movl    $60, %eax               # exit(0)
        xorl    %edi, %edi
        syscall

        .section .rodata
word:   .ascii  "instructions "
word_end:
        .data
        .fill   40, 1, 0
end:    .byte   '\n'
        .section .note.GNU-stack, "", @progbits
