//! Interrupt lines and who listens to them. Devices on PCI may share a line.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::irq;
use isopod_hal::sync::SpinLock;

use crate::acpi::Line;

/// What a driver does at an interrupt.
pub type Handler = Box<dyn Fn() + Send + Sync>;

type Listeners = Arc<SpinLock<Vec<Handler>>>;

static LINES: SpinLock<Vec<(u32, Listeners)>> = SpinLock::new(Vec::new());

/// Calls `handler` at each interrupt of `line`; `None` if no vector is left or no I/O APIC has
/// the line.
pub fn connect(line: Line, handler: Handler) -> Option<()> {
    let mut lines = LINES.lock();
    if let Some((_, listeners)) = lines.iter().find(|(gsi, _)| *gsi == line.gsi) {
        listeners.lock().push(handler);
        return Some(());
    }
    let listeners: Listeners = Arc::new(SpinLock::new(Vec::from([handler])));
    let called = Arc::clone(&listeners);
    let vector = irq::allocate_vector(Box::new(move || called.lock().iter().for_each(|handler| handler())))?;
    irq::route_gsi(line.gsi, vector, line.trigger, line.polarity).ok()?;
    lines.push((line.gsi, listeners));
    Some(())
}
