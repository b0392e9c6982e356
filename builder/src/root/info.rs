//! What goes with a root.

use serde::{Deserialize, Serialize};

use crate::source::ImageConfig;

/// What must be known of a root to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootInfo {
    /// Where it came from, as a reference.
    pub source: String,
    /// What the image says of how to run it.
    pub config: ImageConfig,
    /// The root's `/etc/passwd`, empty where there is none: resolves `--user` without opening the root.
    pub passwd: Vec<u8>,
    /// The root's `/etc/group`, empty where there is none.
    pub group: Vec<u8>,
}
