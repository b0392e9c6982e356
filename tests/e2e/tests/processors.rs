//! As many processors as `--cpus` says: all of them start, run what is put on them, and wake each other.

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::programs;

/// Times that each processor passes the number on, as in `processors.c`.
const ROUNDS: u32 = 3;

#[test]
fn one_to_64_processors_run_threads_and_wake_each_other() -> Result<()> {
    let program = programs::compile("gcc", "processors.c", &["-O1", "-static"])?;
    let source = format!("elf:{}", program.display());
    for machine in ["microvm", "q35"] {
        // Beside a power of two and what is none of it: the first and the last that there may be.
        for count in [1, 3, 8, 64] {
            let status = i32::try_from(40 + count % 7)?;
            let passed = count * ROUNDS;
            Isopod::shared()
                .run(&["run", "--machine", machine, "--cpus", &count.to_string(), &source])?
                .expect_stdout(&format!(
                    "allowed {count}, online {count}, configured {count}\n\
                     in place {count}, passed on {passed} times, sum {passed}\n"
                ))
                .expect_status(status);
        }
    }
    Ok(())
}
