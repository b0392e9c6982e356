//! Linux's names for the abilities in CPUID (`arch/x86/include/asm/cpufeatures.h`), in the order of their registers.

use super::{cpuid, cpuid_count};

/// Names of a register's bits from bit 0 on, by spaces; `-` for none that programs look for.
type Names = &'static str;

const BASIC_EDX: Names = "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts \
                          acpi mmx fxsr sse sse2 ss ht tm ia64 pbe";
const BASIC_ECX: Names = "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid \
                          dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor";
const EXTENDED_EDX: Names = "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm \
                             3dnowext 3dnow";
const EXTENDED_ECX: Names = "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop \
                             skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext";
const STRUCTURED_EBX: Names = "fsgsbase tsc_adjust - bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f \
                               avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er \
                               avx512cd sha_ni avx512bw avx512vl";
const STRUCTURED_ECX: Names = "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni \
                               avx512_bitalg - avx512_vpopcntdq - - - - - - - rdpid";
const STRUCTURED_EDX: Names = "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - \
                               serialize - - - - - - - amx_bf16 avx512_fp16 amx_tile amx_int8";
const XSAVE_EAX: Names = "xsaveopt xsavec xgetbv1 xsaves";

/// Calls `word` with the name of each ability.
pub(super) fn for_each(mut word: impl FnMut(&'static str)) {
    let (max, max_extended) = (cpuid(0).eax, cpuid(0x8000_0000).eax);
    let basic = cpuid(1);
    let mut register = |bits: u32, names: Names| {
        for (index, name) in names.split_ascii_whitespace().enumerate() {
            if bits >> index & 1 == 1 && name != "-" {
                word(name);
            }
        }
    };
    register(basic.edx, BASIC_EDX);
    if max_extended >= 0x8000_0001 {
        let extended = cpuid(0x8000_0001);
        register(extended.edx, EXTENDED_EDX);
        register(basic.ecx, BASIC_ECX);
        register(extended.ecx, EXTENDED_ECX);
    }
    if max >= 7 {
        let structured = cpuid_count(7, 0);
        register(structured.ebx, STRUCTURED_EBX);
        register(structured.ecx, STRUCTURED_ECX);
        register(structured.edx, STRUCTURED_EDX);
    }
    if max >= 0xd {
        register(cpuid_count(0xd, 1).eax, XSAVE_EAX);
    }
}
