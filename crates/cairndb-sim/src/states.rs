//! States: what a power loss at one moment can leave on the disk: some of it by seed, or all of it.
//!
//! # Why this way
//! A state is told from another by what was synced and by which of the un-synced things survived. What stands in
//! the place of those that did not (nothing, zeros, garbage) makes no new state, only another filling of the same. It is
//! looked at more than once, though: what was not there yet a moment ago may have been promised since.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use cairndb::storage::{Fate, Fates, Faulty, Operation, Storage, Unsynced};
use xxhash_rust::xxh3::Xxh3;

use crate::dice::Dice;

/// A disk as it is found after a power loss.
pub(crate) struct State {
    pub(crate) disk: Faulty,
    /// The same for the same synced image and the same survivors.
    pub(crate) id: u64,
    /// The same only where also the same was lost: no state is taken twice at one moment.
    pub(crate) moment_id: u64,
    /// How it came about, to be printed.
    pub(crate) fates: String,
}

/// Which states are taken at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Take {
    /// Some, by seed.
    Drawn { seed: u64, per_call: u64 },
    /// All, where there are no more than this.
    All { most: usize },
}

/// A disk as a process that was killed has left it: everything is there, and not all of it synced.
pub(crate) struct Killed {
    pub(crate) disk: Faulty,
    pub(crate) seed: u64,
    /// At which call that was, to be printed.
    pub(crate) at: String,
}

/// Of so many moments one is kept as a kill would leave it too.
const KILLED_ONE_IN: usize = 64;

/// Looks at a disk before each of its calls, and keeps the states that a crash could leave there.
pub(crate) struct Watch {
    disk: Faulty,
    take: Take,
    collected: Arc<Mutex<Collected>>,
}

#[derive(Default)]
struct Collected {
    states: Vec<State>,
    killed: Vec<Killed>,
    seen: HashSet<u64>,
    calls: u64,
    /// Moments with more states than were asked for.
    too_many: u64,
}

impl Watch {
    pub(crate) fn begin(disk: &Faulty, take: Take) -> Watch {
        let mut watch = Watch { disk: disk.clone(), take, collected: Arc::default() };
        watch.go_on_with(disk);
        watch
    }

    /// Looks at this disk from now on: the one that a killed process has left.
    pub(crate) fn go_on_with(&mut self, disk: &Faulty) {
        let (place, take) = (Arc::clone(&self.collected), self.take);
        disk.observe(Some(Box::new(move |disk, site, operation| {
            let mut place = place.lock().expect("nobody panics here");
            place.calls += 1;
            if is_change(operation) {
                let at = format!("before call {}, {operation:?} at {site}", place.calls);
                place.note(disk, take, &at);
            }
        })));
        self.disk = disk.clone();
    }

    /// Looks at the disk between two calls: when the last one has come back, there is none before which it would be done.
    pub(crate) fn look(&self) {
        let mut place = self.collected.lock().expect("nobody panics here");
        let at = format!("after call {}", place.calls);
        // The next call is another moment.
        place.calls += 1;
        place.note(&self.disk, self.take, &at);
    }

    /// Stops looking; what was kept since the last [`Watch::drain`], and of this last moment too.
    pub(crate) fn take(self) -> Vec<State> {
        self.disk.observe(None);
        self.look();
        self.drain().0
    }

    /// What kills would have left since the last time.
    pub(crate) fn drain_killed(&self) -> Vec<Killed> {
        std::mem::take(&mut self.collected.lock().expect("nobody panics here").killed)
    }

    /// What was kept since the last time, how many calls were seen, and how many moments had too many states.
    pub(crate) fn drain(&self) -> (Vec<State>, u64, u64) {
        let mut place = self.collected.lock().expect("nobody panics here");
        let states = std::mem::take(&mut place.states);
        (states, std::mem::take(&mut place.calls), std::mem::take(&mut place.too_many))
    }
}

impl Collected {
    fn note(&mut self, disk: &Faulty, take: Take, at: &str) {
        let states = match take {
            Take::Drawn { seed, per_call } => {
                let seed = seed.wrapping_mul(1 << 32).wrapping_add(self.calls << 8);
                if Dice::new(seed).one_in(KILLED_ONE_IN) {
                    self.killed.push(Killed { disk: disk.killed(), seed, at: at.to_string() });
                }
                drawn(disk, seed, per_call, &mut self.seen)
            }
            Take::All { most } => all(disk, most, &mut self.seen).unwrap_or_else(|| {
                self.too_many += 1;
                Vec::new()
            }),
        };
        self.states.extend(states.into_iter().map(|mut state| {
            state.fates = format!("{at}: {}", state.fates);
            state
        }));
    }
}

/// Whether a crash before such a call may leave what a crash before the call before it cannot.
pub(crate) fn is_change(operation: Operation) -> bool {
    !matches!(operation, Operation::ReadAt | Operation::Len | Operation::Open | Operation::List)
}

/// Takes states of `disk` that are not yet in `seen`: the one that has lost everything, the one that has lost
/// nothing, and as many as asked for by seed.
pub(crate) fn drawn(disk: &Faulty, seed: u64, count: u64, seen: &mut HashSet<u64>) -> Vec<State> {
    let mut all_lost = take(disk, 0, &mut |_| Fate::Lose);
    let synced = image_hash(&all_lost.state.disk);
    all_lost.name_under(synced);
    let mut states = Vec::new();
    let asked = all_lost.asked;
    if seen.insert(all_lost.state.moment_id) {
        all_lost.state.fates = "everything lost".into();
        states.push(all_lost.state);
    }
    if asked == 0 {
        return states;
    }
    for index in 0..count {
        let fates_seed = seed ^ index;
        let mut fates = Fates::new(fates_seed);
        let taken = match index {
            0 => take(disk, synced, &mut |_| Fate::Keep),
            _ => take(disk, synced, &mut |unsynced| fates.draw(unsynced)),
        };
        if seen.insert(taken.state.moment_id) {
            let fates = if index == 0 { "everything kept".into() } else { format!("fates {fates_seed}") };
            states.push(State { fates, ..taken.state });
        }
    }
    states
}

/// Every state of `disk` that is not yet in `seen`: each subset of names, lengths and sectors, a length also half
/// way; and with all else kept, each sector's part torn behind its first byte, in its middle and before its last.
/// `None` if there are more than `most`.
fn all(disk: &Faulty, most: usize, seen: &mut HashSet<u64>) -> Option<Vec<State>> {
    let synced = image_hash(&disk.crashed_with(&mut |_| Fate::Lose));
    let mut states = Vec::new();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    for _ in 0..most {
        let mut asked = 0;
        let taken = take(disk, synced, &mut |unsynced| {
            let fates = fates_of(unsynced);
            if asked == choices.len() {
                choices.push((0, fates.len()));
            }
            asked += 1;
            fates[choices[asked - 1].0]
        });
        if seen.insert(taken.state.moment_id) {
            states.push(State { fates: format!("choices {:?}", told(&choices)), ..taken.state });
        }
        // The next combination, as an odometer goes on: what was answered before decides what is asked.
        while choices.last().is_some_and(|(choice, count)| choice + 1 == *count) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => {
                states.extend(torn(disk, synced, seen));
                return Some(states);
            }
        }
    }
    None
}

fn told(choices: &[(usize, usize)]) -> Vec<usize> {
    choices.iter().map(|(choice, _)| *choice).collect()
}

fn fates_of(unsynced: Unsynced) -> &'static [Fate] {
    match unsynced {
        Unsynced::Sector { zeros: true, .. } => &[Fate::Lose],
        Unsynced::Length { from, to, .. } if to - from > 1 => &[Fate::Lose, Fate::Keep, Fate::Tear(HALF_WAY)],
        _ => &[Fate::Lose, Fate::Keep],
    }
}

/// Where a length that is neither the old nor the new one ends: some way between.
const HALF_WAY: u64 = 0x5555_5555;

/// With all else kept, each sector's part torn at three places.
fn torn(disk: &Faulty, synced: u64, seen: &mut HashSet<u64>) -> Vec<State> {
    let mut parts = Vec::new();
    drop(disk.crashed_with(&mut |unsynced| {
        if let Unsynced::Sector { zeros: false, len, .. } = unsynced {
            parts.push((unsynced, len));
        }
        Fate::Keep
    }));
    let mut states = Vec::new();
    for (part, len) in parts {
        let mut places = vec![1, len / 2, len - 1];
        places.retain(|place| (1..len).contains(place));
        places.dedup();
        for place in places {
            let taken = take(disk, synced, &mut |unsynced| {
                if unsynced == part { Fate::Tear(place) } else { Fate::Keep }
            });
            if seen.insert(taken.state.moment_id) {
                states.push(State { fates: format!("{part:?} torn at {place}"), ..taken.state });
            }
        }
    }
    states
}

struct Taken {
    state: State,
    asked: u64,
    survivors: Xxh3,
    /// The survivors, and all that was asked.
    fates: Xxh3,
}

impl Taken {
    fn name_under(&mut self, synced: u64) {
        let id_of = |fates: &Xxh3| {
            let mut hasher = fates.clone();
            synced.hash(&mut hasher);
            hasher.finish()
        };
        (self.state.id, self.state.moment_id) = (id_of(&self.survivors), id_of(&self.fates));
    }
}

fn take(disk: &Faulty, synced: u64, decide: &mut dyn FnMut(Unsynced) -> Fate) -> Taken {
    let (mut asked, mut survivors, mut fates) = (0, Xxh3::new(), Xxh3::new());
    let found = disk.crashed_with(&mut |unsynced| {
        let fate = decide(unsynced);
        asked += 1;
        let survival = survival(unsynced, fate);
        (unsynced, survival).hash(&mut fates);
        if survival > 0 {
            (unsynced, survival).hash(&mut survivors);
        }
        fate
    });
    let state = State { disk: found, id: 0, moment_id: 0, fates: String::new() };
    let mut taken = Taken { state, asked, survivors, fates };
    taken.name_under(synced);
    taken
}

/// How much of it survives, whatever fills the rest.
fn survival(unsynced: Unsynced, fate: Fate) -> u64 {
    match (unsynced, fate) {
        (Unsynced::Sector { zeros: true, .. }, _) => 0,
        (_, Fate::Keep) => u64::MAX,
        (Unsynced::Sector { len, .. }, Fate::Tear(number)) => number % len,
        (Unsynced::Length { from, to, .. }, Fate::Tear(number) | Fate::Garbage(number)) => {
            number % (to - from + 1)
        }
        _ => 0,
    }
}

/// A hash of all names and bytes.
pub(crate) fn image_hash(disk: &Faulty) -> u64 {
    let mut hasher = Xxh3::new();
    for name in disk.list("sim.image").unwrap_or_default() {
        let bytes = disk.read_file(name).unwrap_or_default();
        hasher.update(name.to_string().as_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    hasher.digest()
}
