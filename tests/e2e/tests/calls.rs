//! System calls with random arguments: the kernel answers each of them and lives.

use std::time::Duration;

use anyhow::{Context, Result};
use isopod_e2e::image::{Image, base_layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::{longer, programs};

/// Makes random calls for so many milliseconds in a machine of their own.
fn random_calls(seed: u64, milliseconds: u64) -> Result<()> {
    let program = programs::bytes(&programs::usertest()?)?;
    let image = Image::new().layer(base_layer()).files(&[("usertest", &program)]).entrypoint(&["/usertest"]);
    let reference = image.cached()?.reference();
    let (seed, milliseconds_word) = (seed.to_string(), milliseconds.to_string());
    let arguments =
        ["run", "--network", "none", "-m", "128M", &reference, "--fuzz", &seed, &milliseconds_word];
    let limit = Duration::from_mins(3) + Duration::from_millis(milliseconds);
    let outcome = Isopod::shared().limit(limit).run(&arguments)?;
    outcome.expect_status(0);
    let (begin, end) = outcome.stdout.trim_end().split_once('\n').context("two lines")?;
    assert_eq!(begin, format!("seed {seed}"));
    let calls: u64 = end
        .strip_prefix("alive after ")
        .and_then(|rest| rest.strip_suffix(" calls")?.parse().ok())
        .with_context(|| format!("{end:?} is no last word"))?;
    // Waits end after a round of 10 ms at most, so that even a slow machine makes many calls.
    assert!(calls > 100, "only {calls} calls");
    Ok(())
}

#[test]
fn first_process_cannot_forge_a_signal_of_the_host() -> Result<()> {
    let program = programs::bytes(&programs::compile("gcc", "end.c", &["-O1", "-static"])?)?;
    let image = Image::new().files(&[("end", &program)]);
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&["run", &reference, "/end", "forge", "15"])?
        .expect_stdout("still here\n")
        .expect_status(3);
    Ok(())
}

#[test]
fn random_calls_neither_end_nor_stop_the_kernel() -> Result<()> {
    random_calls(1, 5000)?;
    for seed in 2..2 + longer(0, 20) {
        random_calls(seed, 30_000)?;
    }
    Ok(())
}
