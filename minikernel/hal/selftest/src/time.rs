//! Clocks and the timer.

use core::sync::atomic::{AtomicU64, Ordering};

use isopod_hal::{clock, frame::Frame, irq, timer, user::Trap};

use super::program::{self, Program};

static DEADLINE: AtomicU64 = AtomicU64::new(0);
static FIRED: AtomicU64 = AtomicU64::new(0);

/// As a kernel would: early interrupts arm anew.
fn on_timer() {
    if clock::monotonic_ns() < DEADLINE.load(Ordering::Relaxed) {
        timer::arm(DEADLINE.load(Ordering::Relaxed));
    } else {
        FIRED.fetch_add(1, Ordering::Relaxed);
    }
}

fn arm(ns: u64) -> u64 {
    timer::set_handler(on_timer);
    let deadline = clock::monotonic_ns() + ns;
    DEADLINE.store(deadline, Ordering::Relaxed);
    timer::arm(deadline);
    deadline
}

pub fn clocks_advance() {
    let page = Frame::zeroed().unwrap();
    clock::publish(page.clone(), 0);
    let mut last = clock::monotonic_ns();
    let end = last + 10_000_000;
    while last < end {
        let now = clock::monotonic_ns();
        assert!(now >= last);
        last = now;
    }
    // By now the rate is known, and the vDSO's page says the same as the clock.
    let parameters = clock::vdso_parameters();
    let rate = parameters.rate.expect("after 10 ms the rate is known");
    assert_eq!(page.read_array(24), rate.multiplier.to_le_bytes());
    let by_hand = rate.base_ns
        + ((u128::from(clock::tsc() - rate.base_tsc) * u128::from(rate.multiplier)) >> 32) as u64;
    assert!(clock::monotonic_ns().abs_diff(by_hand) < 5_000_000);
    // 2024 to 2100.
    assert!((1_704_067_200..4_102_444_800).contains(&(clock::realtime_ns() / 1_000_000_000)));
}

pub fn a_loop_is_interrupted() {
    let mut program = Program::load(program::spin());
    for _ in 0..5 {
        let fired = FIRED.load(Ordering::Relaxed);
        let deadline = arm(2_000_000);
        while FIRED.load(Ordering::Relaxed) == fired {
            match program.context.run() {
                Trap::Interrupt(vector) => irq::dispatch(vector),
                trap => panic!("{trap:?}"),
            }
        }
        assert!(clock::monotonic_ns() >= deadline);
    }
    assert!(program.context.regs.rbx > 0);
    // Disarmed, it keeps silent.
    let deadline = loop {
        let deadline = arm(5_000_000);
        timer::disarm();
        // Where the host takes the CPU away meanwhile, the interrupt is on its way already.
        if clock::monotonic_ns() < deadline {
            break deadline;
        }
        while let Some(vector) = irq::pending_interrupt() {
            irq::dispatch(vector);
        }
    };
    let fired = FIRED.load(Ordering::Relaxed);
    while clock::monotonic_ns() < deadline + 5_000_000 {
        if let Some(vector) = irq::pending_interrupt() {
            irq::dispatch(vector);
        }
    }
    assert_eq!(FIRED.load(Ordering::Relaxed), fired);
}

pub fn sleep_ends() {
    for ns in [100_000, 1_000_000, 20_000_000] {
        let fired = FIRED.load(Ordering::Relaxed);
        let deadline = arm(ns);
        while FIRED.load(Ordering::Relaxed) == fired {
            if let Some(vector) = irq::wait_for_interrupt() {
                irq::dispatch(vector);
            }
        }
        assert!(clock::monotonic_ns() >= deadline);
    }
}
