//! One run of QEMU.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// So long a machine may run.
const LIMIT: Duration = Duration::from_mins(2);

/// A virtual machine.
#[derive(Clone, Debug)]
pub struct Machine {
    kind: &'static str,
    memory: String,
    cpu: Option<&'static str>,
    accelerator: &'static str,
    counted: bool,
    module: Option<Vec<u8>>,
}

impl Machine {
    /// QEMU's machine `kind` with `memory`, as QEMU writes sizes.
    pub fn new(kind: &'static str, memory: &str) -> Self {
        Self { kind, memory: memory.to_owned(), cpu: None, accelerator: "tcg", counted: false, module: None }
    }

    /// With another processor than the usual one, which is an old one.
    pub fn cpu(self, cpu: &'static str) -> Self {
        Self { cpu: Some(cpu), ..self }
    }

    pub fn accelerator(self, accelerator: &'static str) -> Self {
        Self { accelerator, ..self }
    }

    /// With time that is the number of instructions.
    pub fn counted(self) -> Self {
        Self { counted: true, ..self }
    }

    /// With a module.
    pub fn module(self, module: Vec<u8>) -> Self {
        Self { module: Some(module), ..self }
    }

    /// Boots a kernel until the machine is off; what came out of the serial port, or if nothing did, what QEMU says.
    pub fn boot(&self, kernel: &[u8], command_line: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let kernel = write("kernel", kernel);
        let module = self.module.as_ref().map(|module| write("module", module));
        // QEMU warns of what it cannot emulate of a processor, which is no news here.
        let messages = directory.path().join("messages");
        let mut command = self.command(&kernel, module.as_deref(), command_line);
        let child = command.stderr(fs::File::create(&messages).unwrap()).spawn();
        let output = wait(child.expect("QEMU is installed: `cargo xtask setup` does it"));
        if output.is_empty() { fs::read_to_string(messages).unwrap() } else { output }
    }

    fn command(&self, kernel: &Path, module: Option<&Path>, command_line: &str) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        // Memory is not reserved on the host: what the guest does not touch costs nothing.
        command.args(["-machine", &format!("{},memory-backend=ram", self.kind), "-m", &self.memory]);
        command.args(["-object", &format!("memory-backend-ram,id=ram,size={},reserve=off", self.memory)]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        command.args(["-accel", self.accelerator]);
        if self.counted {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        if let Some(cpu) = self.cpu {
            command.args(["-cpu", cpu]);
        }
        if let Some(module) = module {
            command.arg("-initrd").arg(module);
        }
        command.arg("-kernel").arg(kernel);
        if !command_line.is_empty() {
            command.args(["-append", command_line]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// Waits for the end of QEMU, or makes it.
fn wait(mut child: Child) -> String {
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        let _ = stdout.read_to_end(&mut output);
        String::from_utf8_lossy(&output).into_owned()
    });
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the machine does not stop:\n{}", reader.join().unwrap());
        }
        thread::sleep(Duration::from_millis(5));
    }
    reader.join().unwrap()
}
