//! The connection: who speaks, in which version of the protocol, and what of.

use std::sync::Arc;

use super::{Answer, Context, Refusal, SYNTAX, wrong_arity};
use crate::client::{Replies, Shown};
use crate::resp::reply::Protocol;
use crate::server::REDIS_VERSION;

const WRONG_PASSWORD: Refusal =
    Refusal::text("WRONGPASS invalid username-password pair or user is disabled.");

pub(super) fn ping(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if words.len() > 2 {
        return Err(wrong_arity("ping"));
    }
    if c.client.listens() && c.out.protocol == Protocol::Resp2 {
        c.out.array(2);
        c.out.bulk(b"pong");
        c.out.bulk(words.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match words.get(1) {
        Some(word) => c.out.bulk(word),
        None => c.out.simple("PONG"),
    }
    Ok(())
}

pub(super) fn echo(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    c.out.bulk(words[1]);
    Ok(())
}

pub(super) fn quit(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.client.leaving = true;
    c.out.ok();
    Ok(())
}

pub(super) fn reset(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.client.transaction = None;
    c.client.watch = None;
    c.client.database = 0;
    c.client.replies = Replies::On;
    c.client.known = c.server.password().is_none();
    c.server.leave_channels(c.client);
    speak(c, Protocol::Resp2);
    c.client.shown.change(|state| state.name.clear());
    c.out.simple("RESET");
    Ok(())
}

pub(super) fn auth(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (user, password) = match words {
        [_, password] => {
            if c.server.password().is_none() {
                return Err(Refusal::text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                ));
            }
            (&b"default"[..], *password)
        }
        [_, user, password] => (*user, *password),
        _ => return Err(SYNTAX),
    };
    authenticate(c, user, password)?;
    c.out.ok();
    Ok(())
}

fn authenticate(c: &mut Context<'_>, user: &[u8], password: &[u8]) -> Answer {
    if !c.server.may_enter(user, password) {
        return Err(WRONG_PASSWORD);
    }
    c.client.known = true;
    Ok(())
}

pub(super) fn hello(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let mut protocol = c.out.protocol;
    if let Some(version) = words.get(1) {
        protocol = match crate::resp::request::integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(Refusal::text("NOPROTO unsupported protocol version")),
            None => return Err(Refusal::text("ERR Protocol version is not an integer or out of range")),
        };
    }
    let (mut user, mut name) = (None, None);
    let mut rest = words.get(2..).unwrap_or_default();
    while let [option, tail @ ..] = rest {
        rest = match (option.to_ascii_uppercase().as_slice(), tail) {
            (b"AUTH", [who, password, tail @ ..]) => {
                user = Some((*who, *password));
                tail
            }
            (b"SETNAME", [word, tail @ ..]) => {
                name = Some(*word);
                tail
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(Refusal::Text(format!("ERR Syntax error in HELLO option '{option}'").into()));
            }
        };
    }
    if let Some((who, password)) = user {
        authenticate(c, who, password)?;
    }
    if !c.client.known {
        return Err(Refusal::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        set_name(c, name)?;
    }
    speak(c, protocol);
    c.out.map(7);
    c.out.bulk(b"server");
    c.out.bulk(b"redis");
    c.out.bulk(b"version");
    c.out.bulk(REDIS_VERSION.as_bytes());
    c.out.bulk(b"proto");
    c.out.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    c.out.bulk(b"id");
    c.out.integer(c.client.id as i64);
    c.out.bulk(b"mode");
    c.out.bulk(b"standalone");
    c.out.bulk(b"role");
    c.out.bulk(b"master");
    c.out.bulk(b"modules");
    c.out.array(0);
    Ok(())
}

fn speak(c: &mut Context<'_>, protocol: Protocol) {
    c.out.protocol = protocol;
    c.client.mailbox.speak(protocol);
    c.client.shown.change(|state| state.resp3 = protocol == Protocol::Resp3);
}

fn set_name(c: &mut Context<'_>, name: &[u8]) -> Answer {
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

pub(super) fn client(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let arguments = &words[2..];
    match (words[1].to_ascii_uppercase().as_slice(), arguments) {
        (b"ID", []) => c.out.integer(c.client.id as i64),
        (b"INFO", []) => {
            let line = c.client.shown.line() + "\n";
            c.out.verbatim(&line);
        }
        (b"LIST", options) => {
            let wanted = listed(options)?;
            let lines = c.server.clients().into_iter().filter(|shown| wanted(shown));
            let text: String = lines.map(|shown| shown.line() + "\n").collect();
            c.out.verbatim(&text);
        }
        (b"KILL", [_, ..]) => return kill(c, arguments),
        (b"SETNAME", [name]) => {
            set_name(c, name)?;
            c.out.ok();
        }
        (b"GETNAME", []) => {
            let name = c.client.shown.state().name;
            c.out.bulk_or_null(Some(&*name).filter(|name| !name.is_empty()));
        }
        (b"SETINFO", [attribute, value]) => {
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
        }
        (b"NO-EVICT" | b"NO-TOUCH", [switch]) => match switch.to_ascii_uppercase().as_slice() {
            b"ON" | b"OFF" => c.out.ok(),
            _ => return Err(SYNTAX),
        },
        (b"REPLY", [mode]) => {
            c.client.replies = match mode.to_ascii_uppercase().as_slice() {
                b"ON" => Replies::On,
                b"OFF" => Replies::Off,
                b"SKIP" if c.client.replies == Replies::Off => Replies::Off,
                b"SKIP" => Replies::SkipNext,
                _ => return Err(SYNTAX),
            };
            if c.client.replies == Replies::On {
                c.out.ok();
            }
        }
        (b"HELP", []) => {
            return super::help(
                c,
                "CLIENT",
                &[
                    ("GETNAME", "Return the name of the current connection."),
                    ("ID", "Return the ID of the current connection."),
                    ("INFO", "Return information about the current client connection."),
                    ("KILL <ip:port>", "Kill connection made from <ip:port>."),
                    ("LIST [options ...]", "Return information about client connections."),
                    ("REPLY (ON|OFF|SKIP)", "Control the replies sent to the current connection."),
                    ("SETNAME <name>", "Assign the name <name> to the current connection."),
                ],
            );
        }
        _ => return Err(super::unfit_subcommand("CLIENT", words[1])),
    }
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

fn kill(c: &mut Context<'_>, arguments: &[&[u8]]) -> Answer {
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
            b"USER" if value == b"default" => {}
            b"USER" => {
                let user = String::from_utf8_lossy(&value);
                return Err(Refusal::Text(format!("ERR No such user '{user}'").into()));
            }
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
fn end(c: &mut Context<'_>, shown: &Shown) {
    if shown.id == c.client.id {
        c.client.leaving = true;
    } else {
        shown.kill();
    }
}
