//! Work that takes time, shown on standard error: bars on a terminal, elsewhere a line for each download that is worth one.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::say;
use crate::foreign::visible;
use crate::source::{Activity, Progress, Step};

/// How often a bar without news moves.
const TICK: Duration = Duration::from_millis(100);

/// Bars on a terminal, lines elsewhere.
#[derive(Debug)]
pub(crate) struct Bars(Option<MultiProgress>);

impl Bars {
    pub fn new() -> Self {
        Self(io::stderr().is_terminal().then(MultiProgress::new))
    }
}

impl Progress for Bars {
    fn start(&self, activity: Activity, id: &str, total: Option<u64>) -> Box<dyn Step> {
        let what = match activity {
            Activity::Resolve => "asking for",
            Activity::Download => "pulling",
            Activity::Read => "reading",
            Activity::Cached => return Box::new(Quiet),
        };
        let Some(bars) = &self.0 else {
            let size = total.map_or(String::new(), |bytes| format!(" ({})", HumanBytes(bytes)));
            say(format_args!("{what} {id}{size}"));
            return Box::new(Quiet);
        };
        let template = match total {
            Some(_) => "{prefix:>10} {msg:20} {wide_bar} {bytes:>10} / {total_bytes:10}",
            None => "{prefix:>10} {msg} {spinner}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let bar = bars.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        bar.set_message(id.to_owned());
        bar.enable_steady_tick(TICK);
        Box::new(Bar(bar))
    }

    fn notice(&self, message: &str) {
        let message = visible(message);
        match &self.0 {
            // Where the terminal has gone there is nobody to be told.
            Some(bars) => drop(bars.println(format!("isopod: {message}"))),
            None => say(format_args!("{message}")),
        }
    }
}

struct Bar(ProgressBar);

impl Step for Bar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Work that is not shown further.
struct Quiet;

impl Step for Quiet {
    fn advance(&self, _: u64) {}
}
