//! The configuration: parameters that clients may read, and some that they may change.

use std::sync::PoisonError;

use super::{Answer, Context, Refusal, SYNTAX};
use crate::glob;
use crate::settings::{self, SETTINGS};

pub(super) fn get(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let all = c.server.settings().shown();
    let asked = |name: &str| {
        let fits = |pattern: &[u8]| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
        words[2..].iter().find(|pattern| fits(pattern)).copied()
    };
    // What was asked for by its name is told as it was spelled.
    let spelled = |name: &'static str, asked: &[u8]| match asked.eq_ignore_ascii_case(name.as_bytes()) {
        true => asked.to_vec(),
        false => name.into(),
    };
    let shown = all.into_iter().filter_map(|(name, value)| Some((spelled(name, asked(name)?), value)));
    let shown: Vec<(Vec<u8>, String)> = shown.collect();
    c.out.map(shown.len());
    for (name, value) in shown {
        c.out.bulk(&name);
        c.out.bulk(value.as_bytes());
    }
    Ok(())
}

/// All of it is done, or nothing.
pub(super) fn set(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let pairs = &words[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let mut settings = c.server.settings.write().unwrap_or_else(PoisonError::into_inner);
    let mut changed = settings.clone();
    let shown = settings.shown();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for name in pairs.iter().step_by(2) {
        let lower = name.to_ascii_lowercase();
        if !shown.iter().any(|(known, _)| known.as_bytes() == lower) {
            let name = String::from_utf8_lossy(name);
            let told = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(Refusal::Text(told.into()));
        }
        if seen.contains(&lower) {
            return Err(failed(name, "duplicate parameter"));
        }
        seen.push(lower);
    }
    let live = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        SETTINGS.iter().find(|setting| setting.live && setting.name.as_bytes() == name)
    };
    // What there is only one value for may be set to it; tools do.
    for pair in pairs.chunks(2) {
        let name = pair[0].to_ascii_lowercase();
        let stays = shown.iter().any(|(known, old)| known.as_bytes() == name && old.as_bytes() == pair[1]);
        if !stays && live(pair[0]).is_none() {
            return Err(failed(pair[0], "can't set immutable config"));
        }
    }
    for pair in pairs.chunks(2) {
        if let Some(setting) = live(pair[0]) {
            let word = std::str::from_utf8(pair[1]).map_err(|_| failed(pair[0], "the value is not UTF-8"))?;
            setting.set(&mut changed, word).map_err(|why| failed(pair[0], &why))?;
        }
    }
    if changed.password != settings.password {
        c.server.users.set_default_password(changed.password.as_deref());
    }
    c.server.apply(&changed);
    *settings = changed;
    c.out.ok();
    Ok(())
}

pub(super) fn resetstat(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.server.counters.reset();
    c.server.store.turns.reset();
    c.out.ok();
    Ok(())
}

/// Writes what `CONFIG SET` has changed into the file; the rest of it stays as it is.
pub(super) fn rewrite(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let settings = c.server.settings();
    let file = settings.file.as_ref();
    let file = file.ok_or(Refusal::text("ERR The server is running without a config file"))?;
    let mut kept = c.server.settings_kept.lock().unwrap_or_else(PoisonError::into_inner);
    let values = SETTINGS.iter().map(|setting| (setting.name, setting.get(&settings), setting.get(&kept)));
    let changed: Vec<_> =
        values.filter(|(_, now, then)| now != then).map(|(name, now, _)| (name, now)).collect();
    settings::rewrite(file, &changed)
        .map_err(|error| Refusal::Text(format!("ERR Rewriting config file: {error}").into()))?;
    *kept = settings;
    c.out.ok();
    Ok(())
}

fn failed(name: &[u8], why: &str) -> Refusal {
    let name = String::from_utf8_lossy(name);
    Refusal::Text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}
