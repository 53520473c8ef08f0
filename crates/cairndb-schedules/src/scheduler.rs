//! Scheduler: draws a schedule from a seed, and the same one again.
//!
//! One seed is one schedule, and one number is all it takes to repeat it. Four ways of drawing find different mistakes:
//! a fair coin at every point; runs of one thread with a switch now and then; priorities that change at a few points
//! (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010); and pauses, in
//! which a thread is held between two of its steps while the others get far. The last finds what the first three seldom
//! do: a number that was read, and is old by the time it is used.
//!
//! # Why this way
//! Shuttle has schedulers of its own; theirs carry what they learnt from one schedule to the next, so that a failure
//! could be repeated only from a record of all its choices.

use std::cell::Cell;
use std::sync::Arc;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// So many points are drawn as the seed says; behind them every thread gets its turn, so that one that polls does not
/// run for ever.
const POINTS_DRAWN: usize = 50_000;

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// The seed of the schedule that is running on this thread.
pub(crate) fn seed() -> u64 {
    SEED.get()
}

/// Where the seeds of the next schedules come from; `None` ends the run.
pub(crate) type Seeds = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Chance from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Draws one schedule for each seed.
pub(crate) struct Seeded {
    seeds: Seeds,
    dice: Dice,
    policy: Policy,
    point: usize,
}

enum Policy {
    /// Any thread, at every point.
    Fair,
    /// The same thread again, but for one point in so many.
    Runs(u64),
    /// The thread of the highest priority; at the listed points the one that runs drops below all others.
    Priorities { by_task: Vec<u64>, drops: Vec<usize>, lowest: u64 },
    /// Each thread pauses after some points of its own, and goes on when nobody else can.
    Pauses(Vec<Pace>),
}

/// How far a thread goes before it pauses.
struct Pace {
    /// The most points from one pause to the next.
    stride: u64,
    left: u64,
    paused: bool,
}

impl Pace {
    fn draw(dice: &mut Dice) -> Pace {
        let stride = 8 << dice.below(9);
        Pace { stride, left: 1 + dice.below(stride), paused: false }
    }

    /// One point on; `true` if the thread pauses here.
    fn step(&mut self, dice: &mut Dice) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.left = 1 + dice.below(self.stride);
            self.paused = true;
        }
        self.paused
    }
}

impl Seeded {
    pub(crate) fn new(seeds: Seeds) -> Seeded {
        Seeded { seeds, dice: Dice::new(0), policy: Policy::Fair, point: 0 }
    }
}

impl Policy {
    fn draw(dice: &mut Dice) -> Policy {
        match dice.below(6) {
            0 => Policy::Fair,
            1 => Policy::Runs(4 << dice.below(6)),
            2..4 => {
                let (count, within) = (dice.pick(&[1, 2, 3, 4, 8, 16]), 32 << dice.below(8));
                let drops = (0..count).map(|_| 1 + dice.below(within) as usize).collect();
                Policy::Priorities { by_task: Vec::new(), drops, lowest: u64::MAX / 2 }
            }
            _ => Policy::Pauses(Vec::new()),
        }
    }
}

impl Scheduler for Seeded {
    fn new_execution(&mut self) -> Option<Schedule> {
        let seed = (self.seeds)()?;
        SEED.set(seed);
        self.dice = Dice::new(seed);
        self.policy = Policy::draw(&mut self.dice);
        self.point = 0;
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        if let [only] = runnable {
            return Some(only.id());
        }
        self.point += 1;
        let dice = &mut self.dice;
        let any = |dice: &mut Dice| runnable[dice.below(runnable.len() as u64) as usize].id();
        let current = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        match &mut self.policy {
            _ if self.point > POINTS_DRAWN => Some(any(dice)),
            Policy::Fair => Some(any(dice)),
            Policy::Runs(len) => match current {
                Some(current) if !yields && !dice.one_in(*len) => Some(current),
                _ => Some(any(dice)),
            },
            Policy::Priorities { by_task, drops, lowest } => {
                let last = runnable.iter().map(|task| usize::from(task.id())).max().unwrap_or(0);
                while by_task.len() <= last {
                    by_task.push(u64::MAX / 2 + 1 + dice.below(u64::MAX / 4));
                }
                if let Some(current) = current.filter(|_| yields || drops.contains(&self.point)) {
                    *lowest -= 1;
                    by_task[usize::from(current)] = *lowest;
                }
                runnable.iter().map(|task| task.id()).max_by_key(|task| by_task[usize::from(*task)])
            }
            Policy::Pauses(paces) => {
                let last = runnable.iter().map(|task| usize::from(task.id())).max().unwrap_or(0);
                while paces.len() <= last {
                    paces.push(Pace::draw(dice));
                }
                let goes_on = current.filter(|current| !paces[usize::from(*current)].step(dice) && !yields);
                if goes_on.is_some() && !dice.one_in(32) {
                    return goes_on;
                }
                let awake: Vec<TaskId> = runnable
                    .iter()
                    .map(|task| task.id())
                    .filter(|task| !paces[usize::from(*task)].paused)
                    .collect();
                if !awake.is_empty() {
                    return Some(dice.pick(&awake));
                }
                let next = any(dice);
                paces[usize::from(next)].paused = false;
                Some(next)
            }
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.dice.below(u64::MAX)
    }
}
