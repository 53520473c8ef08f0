//! Later: commands whose reply has to wait, for a disk or for a time, while other clients are served.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cairndb::{Batch, Durability};

use super::{Answer, Context, Refusal, SYNTAX, integer};
use crate::backups::dated_name;
use crate::server::Server;
use crate::store::KEYSPACE_SERVER;

/// What is waited for; it ends with the reply as it stands, or a refusal.
pub(crate) type Later = Pin<Box<dyn Future<Output = Result<&'static [u8], Refusal>> + Send>>;

const OK: &[u8] = b"+OK\r\n";
const SAVING: Refusal = Refusal::text("ERR Background save already in progress");
const NO_DIRECTORY: Refusal =
    Refusal::text("ERR backups are not allowed: start the server with --backup-dir");

/// Has the reply wait; not within a transaction, whose replies go out together.
fn wait(
    c: &mut Context<'_>,
    later: impl Future<Output = Result<&'static [u8], Refusal>> + Send + 'static,
) -> Answer {
    if c.client.in_transaction {
        return Err(Refusal::text("ERR Command not allowed inside a transaction"));
    }
    c.client.later = Some(Box::pin(later));
    Ok(())
}

pub(super) fn save(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let server = c.server.clone();
    if !server.backups.are_allowed() {
        return Err(NO_DIRECTORY);
    }
    wait(c, async move { back_up(&server).await.map(|()| OK) })
}

async fn back_up(server: &Arc<Server>) -> Result<(), Refusal> {
    let server = server.clone();
    let written = tokio::task::spawn_blocking(move || match server.backups.turn() {
        Some(turn) => turn.write(server.store.db(), &dated_name()).map(drop).map_err(Refusal::Engine),
        None => Err(SAVING),
    });
    written.await.unwrap_or_else(|_| Err(Refusal::text("ERR the backup was broken off")))
}

pub(super) fn bgsave(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    match &words[1..] {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"SCHEDULE") => {}
        _ => return Err(SYNTAX),
    }
    if !c.server.backups.are_allowed() {
        return Err(NO_DIRECTORY);
    }
    if c.server.backups.is_running() {
        return Err(SAVING);
    }
    let server = c.server.clone();
    tokio::spawn(async move {
        if let Err(why) = back_up(&server).await {
            crate::log::not_backed_up(&why.reply());
        }
    });
    c.out.simple("Background saving started");
    Ok(())
}

pub(super) fn lastsave(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    c.out.integer(c.server.backups.last_s() as i64);
    Ok(())
}

/// Ends the process as `SIGTERM` does, after a backup if it was asked for.
pub(super) fn shutdown(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (mut save, mut nosave, mut abort, mut how) = (false, false, false, false);
    let mut force = false;
    for word in &words[1..] {
        match word.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => nosave = true,
            b"NOW" => how = true,
            b"FORCE" => (how, force) = (true, true),
            b"ABORT" => abort = true,
            _ => return Err(SYNTAX),
        }
    }
    if (save && nosave) || (abort && (save || nosave || how)) {
        return Err(SYNTAX);
    }
    if abort {
        return Err(Refusal::text("ERR No shutdown in progress."));
    }
    let server = c.server.clone();
    wait(c, async move {
        if save {
            let allowed = if server.backups.are_allowed() { Ok(()) } else { Err(NO_DIRECTORY) };
            let saved = match allowed {
                Ok(()) => back_up(&server).await,
                refused => refused,
            };
            if let Err(why) = saved {
                crate::log::not_backed_up(&why.reply());
                if !force {
                    return Err(Refusal::text("ERR Errors trying to SHUTDOWN. Check logs."));
                }
            }
        }
        server.ask_to_end();
        // The connection ends with the server's.
        Ok(&[][..])
    })
}

/// There are no replicas, and none will come while somebody waits.
pub(super) fn wait_for_replicas(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    integer(words[1])?;
    timeout(words[2])?;
    c.out.integer(0);
    Ok(())
}

/// Tells that what this client wrote is synced, and syncs it first where writes are answered before that.
pub(super) fn wait_for_sync(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let local = integer(words[1])?;
    if !(0..=1).contains(&local) {
        return Err(Refusal::text("ERR value is out of range, value must between 0 and 1"));
    }
    if integer(words[2])? < 0 {
        return Err(Refusal::text("ERR value is out of range, must be positive"));
    }
    timeout(words[3])?;
    let synced = c.server.settings().durability == Durability::Sync;
    if synced || local == 0 || c.client.in_transaction {
        c.out.array(2);
        c.out.integer(i64::from(synced));
        c.out.integer(0);
        return Ok(());
    }
    let server = c.server.clone();
    wait(c, async move {
        // A write that is synced has all before it synced too; this one changes nothing.
        let mut mark = Batch::new();
        mark.durability(Durability::Sync).keyspace(KEYSPACE_SERVER).delete("s");
        let written = tokio::task::spawn_blocking(move || server.store.db().write(mark));
        match written.await {
            Ok(written) => written.map(|_| &b"*2\r\n:1\r\n:0\r\n"[..]).map_err(Refusal::Engine),
            Err(_) => Err(Refusal::text("ERR the sync was broken off")),
        }
    })
}

pub(super) fn timeout(word: &[u8]) -> Result<Duration, Refusal> {
    let ms = integer(word).map_err(|_| Refusal::text("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Refusal::text("ERR timeout is negative"))?;
    Ok(Duration::from_millis(ms))
}

pub(super) fn debug(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    match (words[1].to_ascii_uppercase().as_slice(), &words[2..]) {
        (b"SLEEP", [seconds]) => {
            let seconds: f64 = std::str::from_utf8(seconds).ok().and_then(|n| n.parse().ok()).unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            if time.is_zero() {
                c.out.ok();
                return Ok(());
            }
            wait(c, async move {
                tokio::time::sleep(time).await;
                Ok(OK)
            })
        }
        (b"OBJECT", [key]) => {
            let held = c.get(key)?.ok_or(Refusal::text("ERR no such key"))?;
            let encoding = super::object::encoding_of(&held.value);
            let len = held.value.len();
            c.out.simple(&format!(
                "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{len} lru:0 lru_seconds_idle:0"
            ));
            Ok(())
        }
        (b"HELP", []) => {
            let lines = [
                "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                "OBJECT <key>",
                "    Tell how Redis would hold the value.",
                "SLEEP <seconds>",
                "    Have this connection wait.",
                "HELP",
                "    List the subcommands.",
            ];
            c.out.array(lines.len());
            lines.iter().for_each(|line| c.out.simple(line));
            Ok(())
        }
        _ => Err(super::unfit_subcommand("DEBUG", words[1])),
    }
}
