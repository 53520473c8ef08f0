//! Crash: the states in which a lying disk can be found after a power cut, and what recovery makes of each.
//!
//! Everything that was not synced has a fate: kept, lost, zeros, torn, garbage. A state is a letter for each such thing, in
//! the order in which the disk asks for them when all are kept; what falls away with something that is lost is not asked
//! for. Small sets are gone through as a whole, each thing kept or lost; of large ones states are drawn.
//!
//! # Why this way
//! The zeros of one `lay_down` are one thing here, and not one for each sector: nobody would look through hundreds of them,
//! and hardly anything is to be learnt from the difference. The simulator tells them apart.

use std::collections::HashMap;
use std::sync::Arc;

use cairndb::Db;
use cairndb_storage::{Fate, Fates, Faulty, FileName, Unsynced};

use crate::recorder::Moment;
use crate::session::{Session, Step, json, recovery};
use crate::told::{ToldCrash, ToldPlan, ToldUnsynced};

/// Of more things than this, not every combination is tried.
const ALL_MAX: usize = 8;

/// Fates that are tried on everything at once: zeros, torn, garbage.
const ALIKE: [char; 3] = ['z', 't', 'g'];

/// So many states are drawn then.
const DRAWN: u64 = 200;

/// Everything of a disk that a crash may harm.
pub(crate) fn unsynced(disk: &Faulty) -> Vec<Unsynced> {
    let mut things: Vec<Unsynced> = Vec::new();
    drop(disk.crashed_with(&mut |thing| {
        let goes_on = things.last().is_some_and(|last| Thing::from(*last) == Thing::from(thing));
        match (things.last_mut(), thing) {
            (Some(Unsynced::Sector { len, .. }), Unsynced::Sector { len: more, .. }) if goes_on => {
                *len += more;
            }
            _ => things.push(thing),
        }
        Fate::Keep
    }));
    things
}

impl Session {
    /// What a crash at a moment of a step may harm, as JSON.
    pub fn unsynced(&self, step: usize, moment: usize) -> Result<String, String> {
        let (_, moment) = self.moment(step, moment)?;
        json(&unsynced(&moment.disk).into_iter().map(told).collect::<Vec<_>>())
    }

    /// How many states there are to be tried, as JSON.
    pub fn plan(&self, step: usize, moment: usize) -> Result<String, String> {
        let (_, moment) = self.moment(step, moment)?;
        let count = unsynced(&moment.disk).len();
        let is_all = count <= ALL_MAX;
        let states = if count == 0 { 1 } else { (1 << count) + ALIKE.len() as u64 };
        json(&ToldPlan { states: if is_all { states } else { DRAWN }, is_all })
    }

    /// States `first` to `first + count` of the plan, and what recovery makes of them, as JSON.
    pub fn sweep(&self, step: usize, moment: usize, first: u64, count: u64) -> Result<String, String> {
        let disk = &self.moment(step, moment)?.1.disk;
        let things = unsynced(disk);
        let states = (first..first + count).map(|number| self.outcome(step, moment, &state(&things, number)));
        json(&states.collect::<Result<Vec<_>, _>>()?)
    }

    /// One state, and what recovery makes of it, as JSON.
    pub fn crash(&self, step: usize, moment: usize, fates: &str) -> Result<String, String> {
        json(&self.outcome(step, moment, fates)?)
    }

    /// Goes on with the disk as it was found in that state.
    pub fn adopt(&mut self, step: usize, moment: usize, fates: &str) -> Result<(), String> {
        let found = found(&self.moment(step, moment)?.1.disk, fates);
        self.go_on_with(found);
        Ok(())
    }

    fn outcome(&self, step: usize, moment: usize, fates: &str) -> Result<ToldCrash, String> {
        let (made, moment) = self.moment(step, moment)?;
        let is_over = moment.call == made.recording.calls.len();
        let disk = found(&moment.disk, fates);
        let fates = fates.to_string();
        let blame = if self.steps[..=step].iter().any(|step| step.was_lied_to) {
            ". The disk had lied: it said that this was synced"
        } else {
            ""
        };
        let opened = Db::open_with(Arc::new(disk.clone()), self.options.clone());
        let judged = opened.and_then(|db| {
            let rest = self.db.as_ref().and_then(|live| self.oracle.untouched(live).ok().flatten());
            let judgement = self.oracle.judge(&db, rest, step, is_over);
            let unseen =
                if rest.is_none() { "; keys that no step has touched were not compared" } else { "" };
            let told = format!("{}{unseen}", recovery(&db));
            // A database that is let go of closes, and would write.
            drop(disk.kill());
            Ok((judgement?, told))
        });
        Ok(match judged {
            Ok((judgement, told)) => ToldCrash {
                fates,
                opened: true,
                verdict: if judgement.is_kept { "kept" } else { "broken" },
                text: if judgement.is_kept {
                    format!("{} ({told})", judgement.text)
                } else {
                    format!("{}{blame} ({told})", judgement.text)
                },
            },
            Err(error) => ToldCrash {
                fates,
                opened: false,
                verdict: "broken",
                text: format!("it does not open: {error}{blame}"),
            },
        })
    }

    fn moment(&self, step: usize, moment: usize) -> Result<(&Step, &Moment), String> {
        let step = self.steps.get(step).ok_or("there is no such step")?;
        let moment = step.recording.moments.get(moment).ok_or("no moment of that step is kept any more")?;
        Ok((step, moment))
    }
}

/// State `number` of those to be tried.
fn state(things: &[Unsynced], number: u64) -> String {
    let count = things.len();
    let all = |letter: char| std::iter::repeat_n(letter, count).collect();
    if count <= ALL_MAX {
        // Bit by bit: nothing of it kept comes first, all of it last.
        let letters = (0..count).map(|index| if number >> index & 1 == 1 { 'k' } else { 'l' });
        return number.checked_sub(1 << count).map_or(letters.collect(), |alike| all(ALIKE[alike as usize]));
    }
    match number {
        0 => all('l'),
        1 => all('k'),
        2..5 => all(ALIKE[number as usize - 2]),
        _ => {
            let mut fates = Fates::new(number);
            things.iter().map(|thing| letter(fates.draw(*thing))).collect()
        }
    }
}

fn letter(fate: Fate) -> char {
    match fate {
        Fate::Keep => 'k',
        Fate::Lose => 'l',
        Fate::Zero => 'z',
        Fate::Tear(_) => 't',
        Fate::Garbage(_) => 'g',
    }
}

/// The disk as it is found in a state. What has no letter is kept.
fn found(disk: &Faulty, fates: &str) -> Faulty {
    let letters: HashMap<Thing, char> =
        unsynced(disk).into_iter().map(Thing::from).zip(fates.chars()).collect();
    disk.crashed_with(&mut |thing| {
        let (tear, noise) = match thing {
            // Half of it, and not so much that nothing is missing.
            Unsynced::Sector { len, .. } => (len / 2, len),
            Unsynced::Length { from, to, .. } => ((to - from) / 2, (to - from) / 2),
            _ => (0, 0),
        };
        match letters.get(&Thing::from(thing)) {
            Some('l') => Fate::Lose,
            Some('z') => Fate::Zero,
            Some('t') => Fate::Tear(tear),
            Some('g') => Fate::Garbage(noise),
            _ => Fate::Keep,
        }
    })
}

/// What tells one un-synced thing from another whatever became of those before it: where a growth begins follows from them.
#[derive(PartialEq, Eq, Hash)]
enum Thing {
    Sector(FileName, u64, u64),
    /// All the zeros of one write.
    Room(FileName, u64),
    Length(FileName, u64),
    Created(FileName),
    Removed(FileName),
}

impl From<Unsynced> for Thing {
    fn from(thing: Unsynced) -> Thing {
        match thing {
            Unsynced::Sector { file, write, zeros: true, .. } => Thing::Room(file, write),
            Unsynced::Sector { file, write, offset, .. } => Thing::Sector(file, write, offset),
            Unsynced::Length { file, to, .. } => Thing::Length(file, to),
            Unsynced::Created { file } => Thing::Created(file),
            Unsynced::Removed { file } => Thing::Removed(file),
        }
    }
}

fn told(thing: Unsynced) -> ToldUnsynced {
    let (what, file, offset, len, text): (_, FileName, _, _, _) = match thing {
        Unsynced::Sector { file, offset, len, zeros: true, .. } => {
            ("room", file, offset, len, format!("{len} zeros laid down at {offset}"))
        }
        Unsynced::Sector { file, offset, len, .. } => {
            ("bytes", file, offset, len, format!("{len} bytes written at {offset}"))
        }
        Unsynced::Length { file, from, to } => {
            ("length", file, from, to - from, format!("its length: from {from} to {to}"))
        }
        Unsynced::Created { file } => ("name", file, 0, 0, "its name: made".into()),
        Unsynced::Removed { file } => ("name", file, 0, 0, "its name: removed".into()),
    };
    let fates: &[&str] = match what {
        "bytes" => &["kept", "lost", "zeros", "torn", "garbage"],
        "room" => &["kept", "lost", "garbage"],
        "length" => &["kept", "lost", "torn"],
        _ => &["kept", "lost"],
    };
    ToldUnsynced { what, file: file.to_string(), offset, len, text, fates }
}
