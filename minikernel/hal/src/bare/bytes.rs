//! The functions on bytes that compiled code expects of a C library, and the two symbols of unwinding that the
//! precompiled `core` and `alloc` refer to.
//!
//! Short copies use overlapping loads, long ones string instructions by words: processors move cache lines for these as
//! they do for bytes, and an emulator, which counts each step, needs an eighth of the steps.

use core::arch::naked_asm;

/// # Safety
/// As in C: `len` bytes at each, which do not overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(into: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, 128",
        "ja 6f",
        // 16 to 128 bytes: blocks of 16 from the start, and one that ends at the end.
        "movups xmm0, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 16]",
        "2: movups xmm1, [rsi]",
        "movups [rdi], xmm1",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, r8",
        "jb 2b",
        "movups [r8], xmm0",
        "ret",
        // Below 16: two words, half words, or bytes, which overlap.
        "3: cmp edx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4: cmp edx, 4",
        "jb 5f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "5: test edx, edx",
        "jz 8f",
        "movzx ecx, byte ptr [rsi]",
        "mov r9d, edx",
        "shr r9d, 1",
        "movzx r8d, byte ptr [rsi + r9]",
        "mov r10b, [rsi + rdx - 1]",
        "mov [rdi], cl",
        "mov [rdi + r9], r8b",
        "mov [rdi + rdx - 1], r10b",
        "ret",
        // By words, the last of which overlaps.
        "6: mov rcx, rdx",
        "mov r8, [rsi + rdx - 8]",
        "lea r9, [rdi + rdx - 8]",
        "shr rcx, 3",
        "rep movsq",
        "mov [r9], r8",
        "8: ret",
    )
}

/// # Safety
/// As in C: `len` bytes at each, which may overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(into: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        // Forwards, unless the target begins within the source. Then `memcpy` would read what it has overwritten.
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, rdx",
        "jae 5f",
        // Backwards: the rest of the words by bytes, from the end, then the words.
        "mov rax, rdi",
        "lea rsi, [rsi + rdx]",
        "lea rdi, [rdi + rdx]",
        "2: test edx, 7",
        "jz 3f",
        "dec rsi",
        "dec rdi",
        "mov cl, [rsi]",
        "mov [rdi], cl",
        "dec rdx",
        "jmp 2b",
        "3: test rdx, rdx",
        "jz 4f",
        "sub rsi, 8",
        "sub rdi, 8",
        "mov rcx, [rsi]",
        "mov [rdi], rcx",
        "sub rdx, 8",
        "jmp 3b",
        "4: ret",
        "5: cmp rdi, rsi",
        "ja {memcpy}",
        // The target may still begin shortly before the source: no overlapping blocks, so strings.
        "mov rax, rdi",
        "add rax, rdx",
        "cmp rax, rsi",
        "jbe {memcpy}",
        "mov rax, rdi",
        "mov rcx, rdx",
        "shr rcx, 3",
        "and edx, 7",
        "rep movsq",
        "mov ecx, edx",
        "rep movsb",
        "ret",
        memcpy = sym memcpy,
    )
}

/// # Safety
/// As in C: `len` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(into: *mut u8, byte: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov r9, rdi",
        "movzx eax, sil",
        "mov r8, 0x0101010101010101",
        "imul rax, r8",
        "cmp rdx, 16",
        "jb 3f",
        "cmp rdx, 128",
        "ja 5f",
        "movq xmm0, rax",
        "punpcklqdq xmm0, xmm0",
        "lea r8, [rdi + rdx - 16]",
        "2: movups [rdi], xmm0",
        "add rdi, 16",
        "cmp rdi, r8",
        "jb 2b",
        "movups [r8], xmm0",
        "mov rax, r9",
        "ret",
        "3: test edx, edx",
        "jz 4f",
        "mov [rdi], al",
        "inc rdi",
        "dec edx",
        "jmp 3b",
        "4: mov rax, r9",
        "ret",
        "5: mov rcx, rdx",
        "mov [rdi + rdx - 8], rax",
        "shr rcx, 3",
        "rep stosq",
        "mov rax, r9",
        "ret",
    )
}

/// # Safety
/// As in C: `len` bytes at each.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        // Words as long as they are equal, then bytes.
        "2: cmp rdx, 8",
        "jb 3f",
        "mov rax, [rdi]",
        "cmp rax, [rsi]",
        "jne 3f",
        "add rdi, 8",
        "add rsi, 8",
        "sub rdx, 8",
        "jmp 2b",
        "3: test rdx, rdx",
        "jz 4f",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "sub eax, ecx",
        "jz 3b",
        "ret",
        "4: xor eax, eax",
        "ret",
    )
}

/// # Safety
/// As in C: `len` bytes at each.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// # Safety
/// As in C: a text that ends with a zero.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!("mov rax, -1", "2: inc rax", "cmp byte ptr [rdi + rax], 0", "jne 2b", "ret")
}

/// Named by the precompiled libraries. Panics abort, so it is never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    super::power::triple_fault()
}
