//! How the library tells of work that takes time. It never prints: who calls it decides what a user sees.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// A registry is asked which image a reference stands for.
    Resolve,
    /// A layer is downloaded, verified and inflated.
    Download,
    /// A layer of a local image is read, verified and inflated.
    Read,
    /// A layer was in the store already; it ends at once.
    Cached,
}

/// Hears of the work being done. Called from several threads.
pub trait Progress: Sync {
    /// One piece of work begins; it ends when what is returned is dropped. `id` is short and tells pieces
    /// apart (the first digits of a digest, a reference); `total` is in bytes.
    fn start(&self, activity: Activity, id: &str, total: Option<u64>) -> Box<dyn Step>;

    /// Something the user should know of, although the work goes on: one line, without a full stop.
    fn notice(&self, message: &str);
}

/// One piece of work.
pub trait Step: Send + Sync {
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: Activity, _: &str, _: Option<u64>) -> Box<dyn Step> {
        Box::new(Self)
    }

    fn notice(&self, _: &str) {}
}

impl Step for Silent {
    fn advance(&self, _: u64) {}
}
