# The smallest program that says something: no library, no stack, two system calls.
        .globl  _start
        .text
_start:
        movl    $1, %eax                # write(1, text, length)
        movl    $1, %edi
        leaq    text(%rip), %rsi
        movl    $(end - text), %edx
        syscall
        movl    $60, %eax               # exit(0)
        xorl    %edi, %edi
        syscall

        .section .rodata
text:   .ascii  "hello\n"
end:
        .section .note.GNU-stack, "", @progbits
