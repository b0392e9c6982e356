//! Sockets between a guest and its host (`AF_VSOCK`).

use std::fs;

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, image};

const WITHIN: &str = "\
address True
bound True True
errors 104 19 99 98 107 107
peer True True
echo True
end b''
later 115
ready [4] 0
left [8192] b'last words' b''
broken 32
messages b'a me' 100000
buffer 262144
";

#[test]
fn sockets_within_a_machine_need_no_device() -> Result<()> {
    let script = fs::read(cache::workspace().join("tests/e2e/programs/vsock.py"))?;
    let image = image::debian(&PYTHON)?.files(&[("vsock.py", &script)]);
    let reference = image.cached()?.reference();
    for cpus in ["1", "2"] {
        Isopod::shared()
            .run(&["run", "-m", "128M", "--cpus", cpus, &reference, "/usr/bin/python3.11", "/vsock.py"])?
            .expect_stdout(WITHIN)
            .expect_status(0);
    }
    Ok(())
}
