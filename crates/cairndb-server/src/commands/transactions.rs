//! Transactions: commands that are done one after the other with nobody in between, if nobody touched what they depend on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Answer, Command, Context, Refusal};
use crate::acl::Denied;
use crate::client::{Transaction, Watch};

pub(super) fn multi(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    if c.client.transaction.is_some() {
        return Err(Refusal::text("ERR MULTI calls can not be nested"));
    }
    c.client.transaction = Some(Transaction::default());
    c.out.ok();
    Ok(())
}

pub(super) fn discard(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.client.transaction.take().ok_or(Refusal::text("ERR DISCARD without MULTI"))?;
    c.client.watch = None;
    c.out.ok();
    Ok(())
}

pub(super) fn exec(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let transaction = c.client.transaction.take().ok_or(Refusal::text("ERR EXEC without MULTI"))?;
    let watch = c.client.watch.take();
    if transaction.aborted {
        return Err(Refusal::text("EXECABORT Transaction discarded because of previous errors."));
    }
    if let Some(watch) = watch
        && (watch.dirty.load(Ordering::Relaxed) || expired(c, &watch)?)
    {
        c.out.null_array();
        return Ok(());
    }
    c.out.array(transaction.commands.len());
    c.client.in_transaction = true;
    for (command, words) in &transaction.commands {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match still_may(c, command, &words) {
            Ok(()) => _ = super::run(c, command, &words),
            Err(refusal) => c.out.error(&refusal.reply()),
        }
    }
    c.client.in_transaction = false;
    Ok(())
}

/// Refuses a command that its user may no longer run.
fn still_may(c: &mut Context<'_>, command: &Command, words: &[&[u8]]) -> Answer {
    c.client.leaving |= !c.client.heed(&c.server.users);
    let denied = match &c.client.user {
        Some(user) => user.may(command, words),
        None => Err(Denied::Command(command.name)),
    };
    let Err(denied) = denied else { return Ok(()) };
    c.client.deny(&c.server.users, &denied);
    let why = match denied {
        Denied::Command(_) => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    let told = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
                is no longer allowed for the following reason: ";
    Err(Refusal::Text(format!("{told}{why}").into()))
}

/// Whether a key that was there when it was watched has expired since.
fn expired(c: &Context<'_>, watch: &Watch) -> Result<bool, Refusal> {
    for (database, key) in &watch.expiring {
        if !c.data.contains(*database, key)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn watch(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if c.client.transaction.is_some() {
        return Err(Refusal::text("ERR WATCH inside MULTI is not allowed"));
    }
    let database = c.client.database;
    let mut watch = c
        .client
        .watch
        .take()
        .unwrap_or_else(|| Watch { dirty: Arc::new(AtomicBool::new(false)), expiring: Vec::new() });
    for key in &words[1..] {
        c.data.watch(database, key, &watch.dirty);
        if c.get(key)?.is_some_and(|held| held.expires_at_ms.is_some()) {
            watch.expiring.push((database, key.to_vec()));
        }
    }
    c.client.watch = Some(watch);
    c.out.ok();
    Ok(())
}

pub(super) fn unwatch(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.client.watch = None;
    c.out.ok();
    Ok(())
}
