//! App: somebody's own application, run through the crashes of its own database.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairndb::storage::{Faulty, Operation, Site};
use cairndb::{Db, Options};

use crate::quiet::quietly;
use crate::states::{State, drawn, is_change};

/// What an application has told the world: receipts, answers, mails. The world is not on the disk, so a crash
/// changes nothing in it.
pub struct Told<T>(Arc<Mutex<Vec<T>>>);

impl<T> Told<T> {
    /// The application has told this.
    pub fn push(&self, what: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// Runs an application once, and looks at what a power loss before each of its storage calls could have left.
///
/// The database is opened on a simulated disk, with a clock that stands still. The disk keeps what was synced, and of
/// the rest any part: sectors, lengths, names, torn writes, garbage. Each disk so left is opened again and handed to the
/// rule, together with what had been told by then. Nothing here depends on time or chance, as long as the application
/// does not: a failure comes again under the same seed.
///
/// ```
/// use cairndb_sim::Crashes;
/// let tested = Crashes::default().run(
///     |db, told| {
///         for order in 0..5u8 {
///             db.put([order], "paid")?;
///             told.push(order);
///         }
///         Ok(())
///     },
///     |db, told| {
///         for order in told {
///             assert!(db.contains([*order])?, "order {order} was confirmed, and is gone");
///         }
///         Ok(())
///     },
/// );
/// println!("{}", tested.unwrap());
/// ```
///
/// Other crashes: `Crashes { seed: 7, ..Crashes::default() }`.
#[derive(Clone, Copy, Debug)]
pub struct Crashes {
    /// Another seed gives other crashes.
    pub seed: u64,
    /// How many outcomes are tried at each storage call, besides that in which everything is lost.
    pub states_per_call: u64,
    /// Smaller, and the database flushes and compacts sooner: see [`Options::memory_budget_bytes`].
    pub memory_budget_bytes: u64,
}

impl Default for Crashes {
    fn default() -> Crashes {
        Crashes { seed: 0, states_per_call: 4, memory_budget_bytes: 64 << 10 }
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tested {
    /// Storage calls that the application made.
    pub calls: u64,
    /// Different disks that a power loss could have left, all of which kept the rule.
    pub states: u64,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} crash states at {} storage calls: the rule holds in all", self.states, self.calls)
    }
}

impl Crashes {
    /// Runs `application` on a new database, and holds `rule` against every state that a crash could leave.
    ///
    /// The rule may panic, as tests do. It may write: its database is thrown away. Maintenance is done by writers that
    /// have to wait for it, and by an application that calls [`Db::maintain`].
    ///
    /// # Errors
    /// What went wrong, at which call, and under which seed; also if the application itself fails.
    pub fn run<T: Clone + Send + 'static>(
        &self,
        application: impl FnOnce(&Db, &Told<T>) -> cairndb::Result<()>,
        rule: impl Fn(&Db, &[T]) -> cairndb::Result<()> + Send + Sync + 'static,
    ) -> Result<Tested, String> {
        let told = Told(Arc::new(Mutex::new(Vec::new())));
        let disk = Faulty::default();
        let options = self.options();
        let court = Arc::new(Mutex::new(Court { seen: HashSet::new(), calls: 0, states: 0, failure: None }));
        let (place, notes, crashes) = (Arc::clone(&court), Arc::clone(&told.0), *self);
        let options_again = options.clone();
        // Before a call, and with none when the last has come back.
        let look = move |disk: &Faulty, call: Option<(Site, Operation)>| {
            let mut court = place.lock().unwrap_or_else(PoisonError::into_inner);
            court.calls += 1;
            if court.failure.is_some() || call.is_some_and(|(_, operation)| !is_change(operation)) {
                return;
            }
            let seed = crashes.seed.wrapping_mul(1 << 32).wrapping_add(court.calls << 8);
            let notes = notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for state in drawn(disk, seed, crashes.states_per_call, &mut court.seen) {
                court.states += 1;
                let judged = judge(&state, &options_again, &notes, &rule);
                if let Err(told) = judged {
                    let at = call.map_or_else(
                        || "after the last storage call".into(),
                        |(site, operation)| {
                            format!("before storage call {} ({operation:?} at {site})", court.calls)
                        },
                    );
                    let (seed, fates) = (crashes.seed, &state.fates);
                    court.failure = Some(format!("seed {seed}, a power loss {at}, {fates}: {told}"));
                    return;
                }
            }
        };
        let look = Arc::new(look);
        let before = Arc::clone(&look);
        disk.observe(Some(Box::new(move |disk, site, operation| before(disk, Some((site, operation))))));
        let ran = Db::open_with(Arc::new(disk.clone()), options)
            .and_then(|db| application(&db, &told).and_then(|()| db.close()));
        disk.observe(None);
        look(&disk, None);
        let court = court.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &court.failure {
            return Err(failure.clone());
        }
        ran.map_err(|error| format!("the application failed: {error}"))?;
        Ok(Tested { calls: court.calls, states: court.states })
    }

    fn options(&self) -> Options {
        let next = AtomicU64::new(1);
        let ids = move || u128::from(next.fetch_add(1, Ordering::Relaxed));
        Options {
            memory_budget_bytes: self.memory_budget_bytes,
            ..Options::new(Arc::new(|| 1_000_000), Arc::new(ids))
        }
    }
}

struct Court {
    seen: HashSet<u64>,
    calls: u64,
    states: u64,
    failure: Option<String>,
}

fn judge<T>(
    state: &State,
    options: &Options,
    told: &[T],
    rule: &impl Fn(&Db, &[T]) -> cairndb::Result<()>,
) -> Result<(), String> {
    quietly(|| {
        let db = Db::open_with(Arc::new(state.disk.clone()), options.clone())
            .map_err(|error| format!("the database does not open: {error}"))?;
        let kept = rule(&db, told).map_err(|error| error.to_string());
        state.disk.kill();
        kept
    })
}
