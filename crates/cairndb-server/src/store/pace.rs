//! Pace: how long a turn waits for company before it is written.
//!
//! Clients that were answered together come back one after the other, and the first of them would have a sync to itself
//! while the rest wait for the next. Where a sync takes long, waiting for the rest is shorter than a second sync. Where it
//! takes no longer than clients take to come back, waiting gains nothing, and there is none.
//!
//! Invariants:
//! - I1. A turn waits no longer than a write takes, and for each command that may join, a sixteenth of that.
//! - I2. A client that is alone waits in one turn of `TRIED_EACH`.

use std::time::Duration;

/// What is not waited: by then nobody has come.
const EACH_MIN: Duration = Duration::from_micros(20);
/// The longest time in which nobody joins: on slow disks it would be felt, and clients nearby have come long before.
const EACH_MAX: Duration = Duration::from_micros(250);
/// Where nobody came, waiting is tried again after so many turns.
const TRIED_EACH: u32 = 16;

/// How fast turns are written, and whether there is company.
#[derive(Default)]
pub(crate) struct Pace {
    /// How long a write takes, of late.
    write: Duration,
    /// Whether there was company, when a turn last waited.
    had_company: bool,
    /// How many turns have not waited since.
    hurried: u32,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    /// As long as nobody joins; zero for not at all.
    pub(crate) each: Duration,
    pub(crate) all: Duration,
}

impl Pace {
    /// How long the next turn waits.
    pub(crate) fn patience(&self) -> Patience {
        let each = (self.write / 16).min(EACH_MAX);
        if each < EACH_MIN || !(self.had_company || self.hurried + 1 >= TRIED_EACH) {
            return Patience::default();
        }
        Patience { each, all: self.write }
    }

    /// Tells whether there was company when a turn had waited for as long as it was told.
    pub(crate) fn waited(&mut self, patience: Patience, company: bool) {
        if patience == Patience::default() {
            self.hurried = self.hurried.saturating_add(1);
        } else {
            (self.had_company, self.hurried) = (company, 0);
        }
    }

    /// Tells how long a write took.
    pub(crate) fn took(&mut self, write: Duration) {
        self.write = (self.write * 3 + write) / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(write_us: u64) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.took(Duration::from_micros(write_us));
        }
        pace
    }

    /// How many of so many turns wait, if there is company or not.
    fn waits(pace: &mut Pace, turns: u32, company: bool) -> u32 {
        let mut waits = 0;
        for _ in 0..turns {
            let patience = pace.patience();
            waits += u32::from(!patience.each.is_zero());
            pace.waited(patience, company);
        }
        waits
    }

    #[test]
    fn where_a_write_is_quick_nobody_waits() {
        assert_eq!(waits(&mut pace(200), 160, true), 0);
    }

    #[test]
    fn who_is_alone_waits_in_one_turn_of_sixteen() {
        assert_eq!(waits(&mut pace(1_000), 160, false), 10);
    }

    #[test]
    fn where_company_comes_every_turn_waits_for_it() {
        let mut pace = pace(1_000);
        waits(&mut pace, 16, true);
        assert_eq!(waits(&mut pace, 100, true), 100);
        assert_eq!(waits(&mut pace, 100, false), 1 + 99 / 16);
    }

    #[test]
    fn the_wait_is_bounded_by_a_write_and_by_a_quarter_of_a_millisecond() {
        let mut pace = pace(100_000);
        waits(&mut pace, 16, true);
        let patience = pace.patience();
        assert_eq!(patience.each, EACH_MAX);
        assert!(patience.all <= Duration::from_millis(100));
    }
}
