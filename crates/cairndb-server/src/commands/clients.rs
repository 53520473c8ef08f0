//! Clients: the commands that look at connections, and change or end them.

use std::sync::Arc;

use super::later::timeout;
use super::{Answer, Context, Refusal, SYNTAX, integer};
use crate::client::{Replies, Shown};
use crate::pause::Held;

pub(super) fn id(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.integer(c.client.id as i64);
    Ok(())
}

pub(super) fn info(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let line = c.client.shown.line() + "\n";
    c.out.verbatim(&line);
    Ok(())
}

pub(super) fn list(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let wanted = listed(&words[2..])?;
    let lines = c.server.clients().into_iter().filter(|shown| wanted(shown));
    let text: String = lines.map(|shown| shown.line() + "\n").collect();
    c.out.verbatim(&text);
    Ok(())
}

pub(super) fn setname(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    set_name(c, words[2])?;
    c.out.ok();
    Ok(())
}

pub(super) fn getname(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let name = c.client.shown.state().name;
    c.out.bulk_or_null(Some(&*name).filter(|name| !name.is_empty()));
    Ok(())
}

pub(super) fn setinfo(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (attribute, value) = (words[2], words[3]);
    let told = |what: &str| format!("{what} cannot contain spaces, newlines or special characters.");
    match attribute.to_ascii_uppercase().as_slice() {
        b"LIB-NAME" => {
            check_name(value, &told("lib-name"))?;
            c.client.shown.change(|state| state.library = value.to_vec());
        }
        b"LIB-VER" => {
            check_name(value, &told("lib-ver"))?;
            c.client.shown.change(|state| state.library_version = value.to_vec());
        }
        _ => {
            let attribute = String::from_utf8_lossy(attribute);
            return Err(Refusal::Text(format!("ERR Unrecognized option '{attribute}'").into()));
        }
    }
    c.out.ok();
    Ok(())
}

/// `NO-EVICT` and `NO-TOUCH`: there is nothing that either would change.
pub(super) fn switch(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    match words[2].to_ascii_uppercase().as_slice() {
        b"ON" | b"OFF" => c.out.ok(),
        _ => return Err(SYNTAX),
    }
    Ok(())
}

pub(super) fn reply(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    c.client.replies = match words[2].to_ascii_uppercase().as_slice() {
        b"ON" => Replies::On,
        b"OFF" => Replies::Off,
        b"SKIP" if c.client.replies == Replies::Off => Replies::Off,
        b"SKIP" => Replies::SkipNext,
        _ => return Err(SYNTAX),
    };
    if c.client.replies == Replies::On {
        c.out.ok();
    }
    Ok(())
}

pub(super) fn set_name(c: &mut Context<'_>, name: &[u8]) -> Answer {
    check_name(name, "Client names cannot contain spaces, newlines or special characters.")?;
    c.client.shown.change(|state| state.name = name.to_vec());
    Ok(())
}

fn check_name(name: &[u8], told: &str) -> Answer {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err(Refusal::Text(format!("ERR {told}").into()))
    }
}

pub(super) fn pause(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let held = match &words[3..] {
        [] => Held::All,
        [mode] if mode.eq_ignore_ascii_case(b"ALL") => Held::All,
        [mode] if mode.eq_ignore_ascii_case(b"WRITE") => Held::Writes,
        [_] => return Err(Refusal::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::unfit_subcommand("CLIENT", words[1])),
    };
    c.server.pause.begin(held, timeout(words[2])?);
    c.out.ok();
    Ok(())
}

pub(super) fn unpause(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.server.pause.end();
    c.out.ok();
    Ok(())
}

/// No command blocks, so nobody has to be woken.
pub(super) fn unblock(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    match &words[3..] {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"TIMEOUT") || how.eq_ignore_ascii_case(b"ERROR") => {}
        _ => return Err(Refusal::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    }
    integer(words[2])?;
    c.out.integer(0);
    Ok(())
}

/// Whether a client is one of those that were asked for.
type Fits = Box<dyn Fn(&Shown) -> bool>;

/// Which clients `CLIENT LIST` was asked for.
fn listed(options: &[&[u8]]) -> Result<Fits, Refusal> {
    match options {
        [] => Ok(Box::new(|_| true)),
        [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => {
            let kind = kind.to_ascii_lowercase();
            match kind.as_slice() {
                b"normal" => Ok(Box::new(|shown| !listens(shown))),
                b"pubsub" => Ok(Box::new(listens)),
                b"master" | b"replica" | b"slave" => Ok(Box::new(|_| false)),
                _ => {
                    let kind = String::from_utf8_lossy(&kind).into_owned();
                    Err(Refusal::Text(format!("ERR Unknown client type '{kind}'").into()))
                }
            }
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let ids: Vec<u64> = ids.iter().map(|id| client_id(id)).collect::<Result<_, _>>()?;
            Ok(Box::new(move |shown| ids.contains(&shown.id)))
        }
        _ => Err(SYNTAX),
    }
}

fn listens(shown: &Shown) -> bool {
    let state = shown.state();
    state.channels + state.patterns > 0
}

fn client_id(word: &[u8]) -> Result<u64, Refusal> {
    let id = crate::resp::request::integer(word).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
    id.ok_or(Refusal::text("ERR Invalid client ID"))
}

pub(super) fn kill(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let arguments = &words[2..];
    if let [address] = arguments {
        let killed = c.server.clients().into_iter().find(|shown| shown.address.as_bytes() == *address);
        let killed = killed.ok_or(Refusal::text("ERR No such client"))?;
        end(c, &killed);
        c.out.ok();
        return Ok(());
    }
    let mut skip_me = true;
    let mut wanted: Vec<Fits> = Vec::new();
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return Err(SYNTAX) };
        let value = value.to_vec();
        match option.to_ascii_uppercase().as_slice() {
            b"ID" => {
                let id = crate::resp::request::integer(&value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|&id| id > 0);
                let id = id.ok_or(Refusal::text("ERR client-id should be greater than 0"))?;
                wanted.push(Box::new(move |shown| shown.id == id));
            }
            b"ADDR" => wanted.push(Box::new(move |shown| shown.address.as_bytes() == value)),
            b"LADDR" => wanted.push(Box::new(move |shown| shown.local_address.as_bytes() == value)),
            b"TYPE" => match value.to_ascii_lowercase().as_slice() {
                b"normal" => wanted.push(Box::new(|shown| !listens(shown))),
                b"pubsub" => wanted.push(Box::new(listens)),
                b"master" | b"replica" | b"slave" => wanted.push(Box::new(|_| false)),
                _ => {
                    let kind = String::from_utf8_lossy(&value);
                    return Err(Refusal::Text(format!("ERR Unknown client type '{kind}'").into()));
                }
            },
            b"USER" if c.server.users.get(&value).is_none() => {
                let user = String::from_utf8_lossy(&value);
                return Err(Refusal::Text(format!("ERR No such user '{user}'").into()));
            }
            b"USER" => wanted.push(Box::new(move |shown| shown.state().user == value)),
            b"SKIPME" => {
                skip_me = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(SYNTAX),
                }
            }
            _ => return Err(SYNTAX),
        }
    }
    let clients = c.server.clients();
    let fits =
        |shown: &&Arc<Shown>| !(skip_me && shown.id == c.client.id) && wanted.iter().all(|fits| fits(shown));
    let killed: Vec<_> = clients.iter().filter(fits).cloned().collect();
    killed.iter().for_each(|shown| end(c, shown));
    c.out.integer(killed.len() as i64);
    Ok(())
}

/// Ends a connection; its own, once it has got the reply.
pub(super) fn end(c: &mut Context<'_>, shown: &Shown) {
    if shown.id == c.client.id {
        c.client.leaving = true;
    } else {
        shown.kill();
    }
}
