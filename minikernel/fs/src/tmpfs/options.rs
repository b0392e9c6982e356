//! Mount options: tmpfs(5).

use alloc::format;
use alloc::string::String;

use isopod_hal::PAGE_SIZE;

use crate::{Errno, Result};

/// Size and root directory of a [`Tmpfs`](super::Tmpfs).
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most pages of contents; by default half of the memory.
    pub pages: u64,
    /// Most inodes; by default one for two frames of memory.
    pub inodes: u64,
    /// Mode of the root directory.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Default for Options {
    fn default() -> Self {
        let half = frames() / 2;
        Self { pages: half, inodes: half, mode: 0o1777, uid: 0, gid: 0 }
    }
}

fn frames() -> u64 {
    isopod_hal::memory_stats().total_frames as u64
}

impl Options {
    /// Takes over what `text` says, options with commas between them. EINVAL if one is none.
    pub fn parse(&mut self, text: &[u8]) -> Result<()> {
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) =
                option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
            match (key, value) {
                ("size", Some(value)) => self.limit_pages(size(value)?.div_ceil(PAGE_SIZE as u64)),
                ("nr_blocks", Some(value)) => self.limit_pages(size(value)?),
                ("nr_inodes", Some(value)) => {
                    let count = size(value)?;
                    self.inodes = if count == 0 { u64::MAX } else { count };
                }
                ("mode", Some(value)) => {
                    self.mode = u16::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
                }
                ("uid", Some(value)) => self.uid = id(value)?,
                ("gid", Some(value)) => self.gid = id(value)?,
                // Numbers of inodes are wide, pages of one size, all on one node, and none is ever swapped out.
                ("inode32" | "inode64" | "noswap", None)
                | ("huge", Some("never" | "always" | "within_size" | "advise"))
                | (
                    "mpol",
                    Some(
                        "default" | "local" | "prefer" | "prefer:0" | "bind:0" | "interleave"
                        | "interleave:0",
                    ),
                ) => {}
                _ => return Err(Errno::EINVAL.into()),
            }
        }
        Ok(())
    }

    /// 0 means no limit, and memory is the limit then.
    fn limit_pages(&mut self, pages: u64) {
        self.pages = if pages == 0 { frames() } else { pages };
    }

    /// What differs from the default, as `/proc/mounts` shows it.
    pub(super) fn text(&self) -> String {
        let default = Self::default();
        let mut text = String::new();
        let mut put = |differs: bool, option: String| {
            if differs {
                text += &option;
            }
        };
        put(
            self.pages != default.pages,
            format!(",size={}k", self.pages.saturating_mul(PAGE_SIZE as u64 >> 10)),
        );
        put(self.inodes != default.inodes, format!(",nr_inodes={}", self.inodes));
        put(self.mode != default.mode, format!(",mode={:o}", self.mode));
        put(self.uid != 0, format!(",uid={}", self.uid));
        put(self.gid != 0, format!(",gid={}", self.gid));
        text
    }
}

/// A user's or a group's number; the last one is nobody's.
fn id(text: &str) -> Result<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX).ok_or(Errno::EINVAL.into())
}

/// A number that `k`, `m`, `g` or `t` may follow, or a percentage of the memory.
fn size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let factor = match &text.as_bytes()[digits.len()..] {
        b"" => 1,
        b"k" | b"K" => 1 << 10,
        b"m" | b"M" => 1 << 20,
        b"g" | b"G" => 1 << 30,
        b"t" | b"T" => 1 << 40,
        b"%" => frames() * PAGE_SIZE as u64 / 100,
        _ => return Err(Errno::EINVAL.into()),
    };
    number.checked_mul(factor).ok_or(Errno::EINVAL.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Options> {
        let mut options = Options::default();
        options.parse(text.as_bytes()).ok().map(|()| options)
    }

    #[test]
    fn options_are_understood_and_shown() {
        let found = parsed("size=64k,mode=0755,nr_inodes=7,uid=5,,gid=6,inode64,huge=never,").unwrap();
        assert_eq!((found.pages, found.mode, found.inodes, found.uid, found.gid), (16, 0o755, 7, 5, 6));
        assert_eq!(found.text(), ",size=64k,nr_inodes=7,mode=755,uid=5,gid=6");
        assert_eq!(parsed("nr_blocks=3").unwrap().pages, 3);
        let percent = frames() * PAGE_SIZE as u64 / 100;
        assert_eq!(parsed("nr_blocks=1,size=50%").unwrap().pages, (percent * 50).div_ceil(PAGE_SIZE as u64));
        assert_eq!(parsed("size=0").unwrap().pages, frames());
        assert_eq!(Options::default().text(), "");
    }

    #[test]
    fn other_options_are_refused() {
        for wrong in [
            "size",
            "size=",
            "size=x",
            "size=4m5",
            "unknown=1",
            "inode64=1",
            "huge",
            "mode=9",
            "uid=-1",
            "mpol=bad",
        ] {
            assert!(parsed(wrong).is_none(), "{wrong}");
        }
    }
}
