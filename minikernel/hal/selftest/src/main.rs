//! A kernel whose only purpose is to try the machine. `tests/qemu` builds it, boots it in several ways, and reads what
//! it prints. The command line says what to try:
//!
//! - `all`: everything that ends well. The last line is `self test passed`.
//! - `null`: nothing, to measure the way here.
//! - `calls`: system calls, to measure them.
//! - the name of an error: makes it, to see its report.
#![cfg_attr(isopod_bare, no_std, no_main)]

#[cfg(isopod_bare)]
extern crate alloc;

#[cfg(isopod_bare)]
mod copies;
#[cfg(isopod_bare)]
mod devices;
#[cfg(isopod_bare)]
mod errors;
#[cfg(isopod_bare)]
mod memory;
#[cfg(isopod_bare)]
mod program;
#[cfg(isopod_bare)]
mod threads;
#[cfg(isopod_bare)]
mod time;
#[cfg(isopod_bare)]
mod traps;

#[cfg(isopod_bare)]
mod bare {
    use isopod_hal::{boot::BootInfo, clock, log, power};

    use super::{copies, devices, errors, memory, threads, time, traps};

    isopod_hal::entry!(kmain);

    fn kmain(boot: &'static BootInfo) -> ! {
        let reached = clock::tsc();
        let name = boot.command_line.split(|&byte| byte == b' ').next().unwrap_or_default();
        match name {
            b"null" => log!("main after {reached} ticks"),
            b"calls" => threads::measure_calls(),
            b"all" => all(boot),
            name => errors::make(name),
        }
        power::off(0)
    }

    fn all(boot: &'static BootInfo) {
        log!("{boot:?}");
        let tests: &[(&str, &dyn Fn())] = &[
            ("memory: frames and heap", &memory::frames_and_heap),
            ("memory: functions on bytes", &memory::byte_functions),
            ("memory: a large image", &memory::large_image),
            ("memory: exhausted and given back", &memory::exhaustion),
            ("memory: modules", &|| memory::modules(boot)),
            ("traps: system call", &traps::system_call),
            ("traps: exceptions", &traps::exceptions),
            ("traps: page faults", &traps::page_faults),
            ("traps: what user code may not", &traps::privileges),
            ("traps: breakpoints of the processor", &traps::breakpoints),
            ("copies: whole, partial, none", &copies::faults_are_errors),
            ("threads: registers survive", &threads::registers_survive),
            ("threads: segment bases", &threads::segment_bases),
            ("devices: interrupts", &devices::interrupts),
            ("devices: registers", &|| devices::registers(boot)),
            ("time: clocks advance", &time::clocks_advance),
            ("time: a loop is interrupted", &time::a_loop_is_interrupted),
            ("time: sleep ends", &time::sleep_ends),
        ];
        for (name, test) in tests {
            test();
            log!("ok {name}");
        }
        log!("seed {:?}, random {:?}", boot.seed, isopod_hal::random::hardware_random().is_some());
        log!("cpu {:?} {:?}", isopod_hal::cpu::identity(), isopod_hal::cpu::features());
        log!("wall clock {}", clock::realtime_ns() / 1_000_000_000);
        log!("tsc {:?} Hz", clock::tsc_frequency());
        log!("{:?}", isopod_hal::memory_stats());
        log!("self test passed");
    }
}

#[cfg(not(isopod_bare))]
fn main() {}
