//! Text for whoever looks at the machine from outside.
//!
//! Until the kernel names a sink, text goes to the first serial port, if one answers. Nothing is printed, and no port
//! is touched, unless somebody asks.

use core::fmt::{self, Write};

use crate::{machine, sync::Once};

static SINK: Once<fn(&[u8])> = Once::new();

/// Sends all text to `sink` from now on. The first caller wins.
pub fn set_sink(sink: fn(&[u8])) {
    let _ = SINK.set(sink);
}

/// Writes bytes to the sink, or before there is one to the serial port.
pub fn write(bytes: &[u8]) {
    match SINK.get() {
        Some(sink) => sink(bytes),
        None => emergency(bytes),
    }
}

/// Writes bytes to the serial port whatever the sink is: for when nothing else can be trusted.
pub fn emergency(bytes: &[u8]) {
    machine::serial_write(bytes);
}

/// Writes formatted text, in pieces as they come.
pub fn print(text: fmt::Arguments<'_>) {
    struct Pieces;

    impl Write for Pieces {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            write(piece.as_bytes());
            Ok(())
        }
    }

    // The pieces never fail, and an implementation of `Display` that does has no reader to tell.
    let _ = Pieces.write_fmt(text);
}

/// Writes a line: `log!("{} frames", count)`.
#[macro_export]
macro_rules! log {
    ($($text:tt)*) => {
        $crate::log::print(::core::format_args!("{}\n", ::core::format_args!($($text)*)))
    };
}
