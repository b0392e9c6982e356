// Where the program is entered once its first page, the headers, is behind it; and the code that leaves it for the kernel.
//
// Registers on the way there: edi = the plan, ebp = where the program lies, and what the kernel is told: ebx = PVH's start info or zero,
// esi = Linux' zero page.

// Fields of the plan and of its loads (`plan.rs`).
.set PLAN_ENTRY, 0
.set PLAN_DIRECTORY, 4
.set PLAN_ROOT, 8
.set PLAN_COUNT, 44
.set PLAN_LOADS, 48
.set PLAN_LEN, 304
.set LOAD_FROM, 0
.set LOAD_TO, 4
.set LOAD_LEN, 8
.set LOAD_ZERO, 12
.set LOAD_SIZE, 16

// Linux' zero page (Documentation/arch/x86/zero-page.rst).
.set ZERO_PAGE_RSDP, 0x70
.set ZERO_PAGE_SCRATCH, 0x1e4

// How long the headers are.
.set HEADERS, 0x1000
.set MSR_EFER, 0xc0000080

.pushsection .start, "ax", @progbits
// Linux' 32-bit boot protocol (Documentation/arch/x86/boot.rst): flat segments, esi = zero page. No stack.
.code32
.globl start_32
start_32:
    jmp linux_32
    .balign 8
.globl plan
plan:
    .skip PLAN_LEN

    .org start_32 + 0x200
// The 64-bit one: long mode, mapped as it lies, rsi = zero page. No stack.
.code64
start_64:
    jmp linux_64
    .org start_32 + 0x208
// UEFI: a function of the Microsoft convention. What follows here is so fixed that the builder knows it.
start_efi:
    cli
    jmp efi_main

// To where the program lies, and from there.
.set BACK, start_32 - here - HEADERS
.set PLAN, HEADERS + plan - start_32

.code32
linux_32:
    cli
    // A stack of one word, for which the zero page has a place.
    lea esp, [esi + ZERO_PAGE_SCRATCH + 4]
    call here
here:
    pop ebp
    lea ebp, [ebp + BACK]
    lea edi, [ebp + PLAN]
    xor ebx, ebx
    cmp dword ptr [esi + ZERO_PAGE_RSDP], 0
    jne move
    cmp dword ptr [esi + ZERO_PAGE_RSDP + 4], 0
    jne move
    FIND_RSDP
    mov [esi + ZERO_PAGE_RSDP], eax
    jmp move

.code64
linux_64:
    cli
    lea edi, [rip + plan]
    lea ebp, [rip + headers]
    xor ebx, ebx
    jmp leave_64

// What follows goes where it is not overwritten, or is so already. It is called with the plan, where the program lies, and the start info.
.globl mover
mover:
    mov ebp, esi
    mov ebx, edx
leave_64:
    cld
    lea rax, [rip + gdt]
    mov [rip + gdt_pointer + 2], rax
    lgdt [rip + gdt_pointer]
    lea rax, [rip + leave_32]
    mov [rip + leave_pointer], eax
    // jmp far dword ptr [rip + leave_pointer]: the assembler would have it take an offset of 64 bits, which AMD's processors do not.
    .byte 0xff, 0x2d
    .long leave_pointer - 1f
1:
.code32
leave_32:
    // Without paging long mode ends; the firmware's tables may lie where the kernel goes. Nothing of CR4 may stay.
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    xor eax, eax
    mov cr4, eax
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
// Moves what the plan says, the last first, each part from its end: so it may lie lower in the same memory. Without a stack, by words.
move:
    cld
    mov edx, esi
    mov eax, [edi + PLAN_COUNT]
    shl eax, 4
    lea eax, [edi + eax + PLAN_LOADS]
    mov esp, edi
1:  lea edi, [esp + PLAN_LOADS]
    cmp eax, edi
    je 2f
    sub eax, LOAD_SIZE
    mov ecx, [eax + LOAD_LEN]
    mov esi, [eax + LOAD_FROM]
    lea esi, [esi + ebp - 1]
    add esi, ecx
    mov edi, [eax + LOAD_TO]
    lea edi, [edi + ecx - 1]
    std
    and ecx, 3
    rep movsb
    sub esi, 3
    sub edi, 3
    mov ecx, [eax + LOAD_LEN]
    shr ecx, 2
    rep movsd
    cld
    mov esi, eax
    mov edi, [esi + LOAD_TO]
    add edi, [esi + LOAD_LEN]
    xor eax, eax
    mov ecx, [esi + LOAD_ZERO]
    and ecx, 3
    rep stosb
    mov ecx, [esi + LOAD_ZERO]
    shr ecx, 2
    rep stosd
    mov eax, esi
    jmp 1b
    // The kernel finds its root where the boot directory says.
2:  mov edi, [esp + PLAN_DIRECTORY]
    mov eax, [esp + PLAN_ROOT]
    mov [edi], eax
    mov eax, [esp + PLAN_ROOT + 4]
    mov [edi + 4], eax
    mov esi, edx
    jmp dword ptr [esp + PLAN_ENTRY]

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .quad 0
leave_pointer:
    .long 0
    .word 8
.globl mover_end
mover_end:
.code64
.popsection
