//! Channels: the commands that listen and send.

use super::{Answer, Context, unfit_subcommand};
use crate::pubsub::Kind;

pub(super) fn subscribe(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    words[1..].iter().for_each(|name| listen(c, Kind::Channel, name));
    Ok(())
}

pub(super) fn psubscribe(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    words[1..].iter().for_each(|name| listen(c, Kind::Pattern, name));
    Ok(())
}

pub(super) fn unsubscribe(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    leave(c, Kind::Channel, &words[1..]);
    Ok(())
}

pub(super) fn punsubscribe(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    leave(c, Kind::Pattern, &words[1..]);
    Ok(())
}

fn listen(c: &mut Context<'_>, kind: Kind, name: &[u8]) {
    if c.client.listens_to(kind).insert(name.to_vec()) {
        c.server.channels.listen(kind, name, c.client.id, &c.client.mailbox);
    }
    let word: &[u8] = if kind == Kind::Channel { b"subscribe" } else { b"psubscribe" };
    tell(c, word, Some(name));
}

fn leave(c: &mut Context<'_>, kind: Kind, names: &[&[u8]]) {
    let word: &[u8] = if kind == Kind::Channel { b"unsubscribe" } else { b"punsubscribe" };
    let all: Vec<Vec<u8>> = match names {
        [] => c.client.listens_to(kind).iter().cloned().collect(),
        names => names.iter().map(|name| name.to_vec()).collect(),
    };
    if all.is_empty() {
        tell(c, word, None);
    }
    for name in all {
        if c.client.listens_to(kind).remove(&name) {
            c.server.channels.leave(kind, &name, c.client.id);
        }
        tell(c, word, Some(&name));
    }
}

fn tell(c: &mut Context<'_>, word: &[u8], name: Option<&[u8]>) {
    let count = c.client.channels.len() + c.client.patterns.len();
    c.out.push(3);
    c.out.bulk(word);
    c.out.bulk_or_null(name);
    c.out.integer(count as i64);
}

pub(super) fn publish(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let told = c.server.channels.publish(words[1], words[2]);
    c.out.integer(told as i64);
    Ok(())
}

pub(super) fn channels(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let pattern = match &words[2..] {
        [] => b"*",
        [pattern] => *pattern,
        _ => return Err(unfit_subcommand("PUBSUB", words[1])),
    };
    let channels = c.server.channels.channels(pattern);
    c.out.array(channels.len());
    channels.iter().for_each(|name| c.out.bulk(name));
    Ok(())
}

pub(super) fn numsub(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let names = &words[2..];
    c.out.array(names.len() * 2);
    for name in names {
        c.out.bulk(name);
        c.out.integer(c.server.channels.listeners(name) as i64);
    }
    Ok(())
}

pub(super) fn numpat(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.integer(c.server.channels.count(Kind::Pattern) as i64);
    Ok(())
}
