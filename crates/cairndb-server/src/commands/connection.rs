//! The connection: who speaks, in which version of the protocol, and what of.

use super::clients::set_name;
use super::{Answer, Context, Refusal, SYNTAX, wrong_arity};
use crate::acl::{DEFAULT, Object};
use crate::client::Replies;
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
    c.client.become_user(c.server.users.of_new_connection());
    c.server.leave_channels(c.client);
    c.server.monitors.leave(c.client.id);
    c.client.monitors = false;
    speak(c, Protocol::Resp2);
    c.client.shown.change(|state| state.name.clear());
    c.out.simple("RESET");
    Ok(())
}

pub(super) fn auth(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (user, password) = match words {
        [_, password] => {
            if c.server.users.get(DEFAULT).is_some_and(|user| user.has_no_password()) {
                return Err(Refusal::text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                ));
            }
            (DEFAULT, *password)
        }
        [_, user, password] => (*user, *password),
        _ => return Err(SYNTAX),
    };
    authenticate(c, "auth", user, password)?;
    c.out.ok();
    Ok(())
}

fn authenticate(c: &mut Context<'_>, command: &'static str, name: &[u8], password: &[u8]) -> Answer {
    let users = &c.server.users;
    let Some(user) = users.authenticate(name, password) else {
        users.denials.add(
            Object::Entry(command),
            name,
            c.client.transaction.is_some(),
            c.client.shown.line(),
        );
        return Err(WRONG_PASSWORD);
    };
    c.client.become_user(Some(user));
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
        authenticate(c, "hello", who, password)?;
    }
    if c.client.user.is_none() {
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
