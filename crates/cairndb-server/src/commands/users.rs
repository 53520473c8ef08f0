//! Users: the commands that make them, change them, and tell what they may.

use std::io::Read;

use super::clients::end;
use super::{Answer, Context, Refusal, SYNTAX, find_row, integer, resolve};
use crate::acl::{DEFAULT, Denied, NotChanged};

pub(super) fn whoami(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let name = c.client.user.as_ref().map(|user| user.name.clone());
    c.out.bulk_or_null(name.as_deref());
    Ok(())
}

pub(super) fn users(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let users = c.server.users.all();
    c.out.array(users.len());
    users.iter().for_each(|user| c.out.bulk(&user.name));
    Ok(())
}

pub(super) fn list(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let users = c.server.users.all();
    c.out.array(users.len());
    users.iter().for_each(|user| c.out.bulk(&[b"user ", &*user.name, b" ", &user.rules()].concat()));
    Ok(())
}

pub(super) fn setuser(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if words[2].iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)) {
        return Err(Refusal::text("ERR Usernames can't contain spaces or null characters"));
    }
    c.server.users.change(words[2], &words[3..]).map_err(|why| match why {
        NotChanged::Rule(rule, why) => {
            let rule = super::told_word(&rule, usize::MAX);
            Refusal::Text(format!("ERR Error in ACL SETUSER modifier '{rule}': {why}").into())
        }
        NotChanged::Engine(error) => Refusal::Engine(error),
    })?;
    c.server.wake_clients();
    c.out.ok();
    Ok(())
}

pub(super) fn getuser(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let Some(user) = c.server.users.get(words[2]) else {
        c.out.null();
        return Ok(());
    };
    c.out.map(6);
    c.out.bulk(b"flags");
    let flags = user.flags();
    c.out.set(flags.len());
    flags.iter().for_each(|flag| c.out.bulk(flag.as_bytes()));
    c.out.bulk(b"passwords");
    let hashes = user.password_hashes();
    c.out.array(hashes.len());
    hashes.iter().for_each(|hash| c.out.bulk(hash.as_bytes()));
    c.out.bulk(b"commands");
    c.out.bulk(user.command_rules().as_bytes());
    c.out.bulk(b"keys");
    c.out.bulk(&user.key_rules());
    c.out.bulk(b"channels");
    c.out.bulk(&user.channel_rules());
    c.out.bulk(b"selectors");
    c.out.array(0);
    Ok(())
}

pub(super) fn deluser(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    if words[2..].contains(&DEFAULT) {
        return Err(Refusal::text("ERR The 'default' user cannot be removed"));
    }
    let deleted = c.server.users.delete(&words[2..])?;
    // To be woken is not enough for one that waits for its peer to read.
    for shown in c.server.clients() {
        if words[2..].contains(&&shown.state().user[..]) {
            end(c, &shown);
        }
    }
    c.server.wake_clients();
    c.out.integer(deleted as i64);
    Ok(())
}

pub(super) fn cat(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let names: Vec<&str> = match &words[2..] {
        [] => super::categories::CATEGORIES.to_vec(),
        [name] => {
            let told = String::from_utf8_lossy(name);
            let wanted = super::category(name);
            let wanted =
                wanted.ok_or_else(|| Refusal::Text(format!("ERR Unknown category '{told}'").into()))?;
            let rows = super::all_rows().filter(|row| super::categories(row).contains(&wanted));
            rows.map(|row| row.name).collect()
        }
        _ => return Err(super::unfit_subcommand("ACL", words[1])),
    };
    c.out.array(names.len());
    names.iter().for_each(|name| c.out.bulk(name.as_bytes()));
    Ok(())
}

pub(super) fn genpass(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    const BITS_MAX: i64 = 4096;
    let bits = match &words[2..] {
        [] => 256,
        [bits] => integer(bits)?,
        _ => return Err(super::unfit_subcommand("ACL", words[1])),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(Refusal::text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    // The operating system's own numbers: a password must not be guessed.
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Refusal::Text(format!("ERR no random numbers: {error}").into()))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    c.out.bulk(&text.as_bytes()[..digits]);
    Ok(())
}

pub(super) fn dryrun(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let (name, asked) = (words[2], &words[3..]);
    let told = String::from_utf8_lossy(name);
    let user = c.server.users.get(name);
    let user = user.ok_or_else(|| Refusal::Text(format!("ERR User '{told}' not found").into()))?;
    let not_found = || {
        let told = String::from_utf8_lossy(asked[0]);
        Refusal::Text(format!("ERR Command '{told}' not found").into())
    };
    let found = find_row(asked[0]).filter(|row| !row.name.contains('|')).ok_or_else(not_found)?;
    if asked.get(1).is_some_and(|word| found.is_container() && found.subcommand(word).is_none()) {
        return Err(not_found());
    }
    let command = resolve(asked)?;
    let told = match user.may(command, asked) {
        Ok(()) => {
            c.out.ok();
            return Ok(());
        }
        Err(Denied::Key(key)) => [b"access the '", &*key, b"' key"].concat(),
        Err(Denied::Channel(channel)) => [b"access the '", &*channel, b"' channel"].concat(),
        Err(Denied::Command(_)) => format!("run the '{}' command", command.name).into_bytes(),
    };
    c.out.bulk(&[&b"This user has no permissions to "[..], &told].concat());
    Ok(())
}

pub(super) fn log(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let denials = &c.server.users.denials;
    let count = match &words[2..] {
        [] => 10,
        [word] if word.eq_ignore_ascii_case(b"RESET") => {
            denials.forget();
            c.out.ok();
            return Ok(());
        }
        [count] => usize::try_from(integer(count)?).unwrap_or(0),
        _ => return Err(SYNTAX),
    };
    let denials = denials.latest(count);
    c.out.array(denials.len());
    for denial in denials {
        let (reason, object) = denial.object.told();
        c.out.map(7);
        c.out.bulk(b"count");
        c.out.integer(denial.count as i64);
        c.out.bulk(b"reason");
        c.out.bulk(reason.as_bytes());
        c.out.bulk(b"context");
        c.out.bulk(if denial.in_transaction { b"multi" } else { b"toplevel" });
        c.out.bulk(b"object");
        c.out.bulk(object);
        c.out.bulk(b"username");
        c.out.bulk(&denial.user);
        c.out.bulk(b"age-seconds");
        c.out.double(denial.last.elapsed().as_millis() as f64 / 1_000.0);
        c.out.bulk(b"client-info");
        c.out.bulk(denial.client.as_bytes());
    }
    Ok(())
}

/// `LOAD` and `SAVE`: users are kept in the database, and not in a file.
pub(super) fn no_file(_: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    Err(Refusal::text(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
         command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
         in the Redis configuration.",
    ))
}
