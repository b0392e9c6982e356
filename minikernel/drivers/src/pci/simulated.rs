//! Configuration space for tests.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use super::{Bus, ConfigSpace, Function, enumerate};

/// Configuration space of a whole machine: registers by bus, function and offset; all ones where there is nothing.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<Registers>>);

type Registers = BTreeMap<(u8, u8, u8), u32>;

struct MachineBus(Machine, u8);

impl ConfigSpace for Machine {
    fn bus(&self, number: u8) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(MachineBus(self.clone(), number)))
    }
}

impl Bus for MachineBus {
    fn read(&self, function: u8, offset: u8) -> u32 {
        self.0.0.lock().unwrap().get(&(self.1, function, offset)).copied().unwrap_or(u32::MAX)
    }

    fn write(&self, function: u8, offset: u8, value: u32) {
        self.0.0.lock().unwrap().insert((self.1, function, offset), value);
    }
}

impl Machine {
    /// Sets registers of a function.
    pub(crate) fn set(&self, bus: u8, function: u8, registers: &[(u8, u32)]) {
        let mut machine = self.0.lock().unwrap();
        machine.extend(registers.iter().map(|(offset, value)| ((bus, function, *offset), *value)));
    }

    /// All functions that are found.
    pub(crate) fn all(&self) -> Vec<Function> {
        let mut found = Vec::new();
        enumerate(self, &mut |function| found.push(function));
        found
    }

    /// A register of function 0 of device 0 on bus 0.
    pub(crate) fn register(&self, offset: u8) -> u32 {
        MachineBus(self.clone(), 0).read(0, offset)
    }
}
