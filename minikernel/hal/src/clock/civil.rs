//! Dates.

/// A moment of the Gregorian calendar in universal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    /// 1 to 12.
    pub(crate) month: u64,
    /// 1 to 31.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl Civil {
    /// Seconds since 1970; `None` for what is no date, or one before 1970.
    pub(crate) fn unix_seconds(&self) -> Option<u64> {
        let Self { year, month, day, hour, minute, second } = *self;
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // Years that begin in March, so that the leap day is a year's last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        // 719468 days lie between March 1st of year 0 and January 1st of 1970.
        Some((((days - 719_468) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(year: u64, month: u64, day: u64, time: [u64; 3]) -> Option<u64> {
        let [hour, minute, second] = time;
        Civil { year, month, day, hour, minute, second }.unix_seconds()
    }

    #[test]
    fn known_moments() {
        assert_eq!(seconds(1970, 1, 1, [0, 0, 0]), Some(0));
        assert_eq!(seconds(2000, 2, 29, [23, 59, 59]), Some(951_868_799));
        assert_eq!(seconds(2000, 3, 1, [0, 0, 0]), Some(951_868_800));
        assert_eq!(seconds(2026, 11, 21, [21, 3, 36]), Some(1_795_295_016));
        assert_eq!(seconds(2100, 3, 1, [0, 0, 0]), Some(4_107_542_400));
    }

    #[test]
    fn what_is_no_date() {
        assert_eq!(seconds(1969, 12, 31, [0, 0, 0]), None);
        assert_eq!(seconds(2026, 0, 1, [0, 0, 0]), None);
        assert_eq!(seconds(2026, 165, 1, [0, 0, 0]), None);
        assert_eq!(seconds(2026, 1, 1, [24, 0, 0]), None);
    }
}
