//! Places: what a backup or a repair has made elsewhere.

use std::sync::Arc;

use cairndb::storage::Fate;
use cairndb::{Db, Error, RepairReport};

use crate::oracle::{Map, Name, differences};
use crate::reads::everything;
use crate::trouble::{Done, Trouble, require};

use super::Verb;
use super::scene::Scene;

/// What was made holds everything, whatever becomes of what was not synced; what could not be made holds that, or nothing,
/// or says that it is damaged. Of what was repaired something may be missing, where it is listed as lost or lies in an end
/// that may be lost, as `allowed` says.
pub(super) fn look_at_place(scene: &Scene<'_>, made: bool, allowed: &[Arc<Map>]) -> Done {
    if !matches!(scene.image.verb, Verb::Backup | Verb::Repair) {
        return Ok(());
    }
    let place = scene.place.crashed_with(&mut |_| Fate::Lose);
    let db = match Db::open_with(Arc::new(place), scene.image.options(9 << 100)) {
        Ok(db) => db,
        Err(Error::Corrupt { .. }) if !made => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let (found, expected) = (everything(&db)?, &scene.oracle.map);
    let told = || differences(expected, &found);
    if found == **expected || (!made && db.recovery().created && found.is_empty()) {
        return Ok(());
    }
    let Some(report) = &scene.repaired else {
        return Err(Trouble::Wrong(format!("what was made is another:\n{}", told())));
    };
    for name in expected.keys().chain(found.keys()) {
        let is_known = allowed.iter().any(|map| map.get(name) == found.get(name));
        require!(
            expected.get(name) == found.get(name) || is_known || is_listed(report, name),
            "{name:?} is not listed as lost: {report:?}\n{}",
            told()
        );
    }
    Ok(())
}

/// Whether a loss covers the key.
fn is_listed(report: &RepairReport, (keyspace, key): &Name) -> bool {
    let stored = [&[*keyspace], key.as_slice()].concat();
    let covers = |loss: &cairndb::Loss| {
        loss.after.0 <= stored && loss.before.as_ref().is_none_or(|before| stored <= before.0)
    };
    report.losses.iter().any(covers)
}
