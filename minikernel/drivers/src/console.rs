//! Character devices that a program reads and writes as a terminal or a stream.

use isopod_hal::sync::wait::WaitQueue;

/// A byte stream in both directions.
///
/// No operation waits. A caller that wants to registers with [`CharDevice::readable`] or [`CharDevice::writable`]
/// first and tries again afterwards.
pub trait CharDevice: Send + Sync {
    /// Takes as much of `bytes` as fits now; how many bytes that was.
    fn write(&self, bytes: &[u8]) -> usize;

    /// Copies out what has arrived, at most `into.len()` bytes; 0 if there is nothing.
    fn read(&self, into: &mut [u8]) -> usize;

    /// Whether [`CharDevice::write`] would take a byte.
    fn can_write(&self) -> bool;

    /// Whether everything written has left the machine. If not, [`CharDevice::writable`] is woken when that may have changed.
    fn is_drained(&self) -> bool;

    /// Whether [`CharDevice::read`] would return a byte.
    fn can_read(&self) -> bool;

    /// Whether the device is gone for good: then no more input comes once [`CharDevice::read`] returns 0, and no output
    /// is taken.
    fn hung_up(&self) -> bool;

    /// Woken when room for output appears.
    fn writable(&self) -> &WaitQueue;

    /// Woken when input arrives.
    fn readable(&self) -> &WaitQueue;

    /// Writes the last words of a kernel that will run no further: waits for the device, with a bound, and drops
    /// what it does not take. Works also while the interrupted code was using this very device, then perhaps without
    /// effect.
    fn write_polled(&self, bytes: &[u8]);
}
