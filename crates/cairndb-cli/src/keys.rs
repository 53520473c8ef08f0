//! Keys: put, get and delete, the commands about a single one.
//!
//! # Where it sits
//! Called by `main`; stands on the engine's verbs of the same names.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::args::{Delete, Get, Put, Spelling, Target};
use crate::database::Database;
use crate::failure::Failure;
use crate::output::Output;
use crate::{escape, explain};

/// The longest value that a format 1 database can hold; reading more of a file is pointless.
const VALUE_LEN_MAX: u64 = 1 << 30;

pub(crate) fn put(target: &Target, args: &Put) -> Result<(), Failure> {
    let key = literal(&args.key, &args.spelling)?;
    let value = match (&args.value, &args.file) {
        (Some(value), _) => literal(value, &args.spelling)?,
        (None, Some(file)) => read_value(file)?,
        (None, None) => return Err(Failure::told("neither a value nor --file was given")),
    };
    let expires_at_ms = args.ttl.map(expiry).transpose()?;
    let database = Database::make(target)?;
    match expires_at_ms {
        Some(at) => database.keyspace.put_with_expiry(key, value, at)?,
        None => database.keyspace.put(key, value)?,
    }
    database.close()
}

pub(crate) fn get(target: &Target, args: &Get) -> Result<(), Failure> {
    let key = literal(&args.key, &args.spelling)?;
    let database = Database::read(target)?;
    if args.explain {
        return explain::explain(&database.keyspace, &key);
    }
    let value = database.keyspace.get(key)?.ok_or(Failure::MissingKey)?;
    let mut out = Output::new();
    out.bytes(&value)?;
    if Output::is_terminal() {
        out.bytes(b"\n")?;
    }
    out.flush()
}

pub(crate) fn delete(target: &Target, args: &Delete) -> Result<(), Failure> {
    let key = literal(&args.key, &args.spelling)?;
    let database = Database::change(target)?;
    database.keyspace.delete(key)?;
    database.close()
}

/// The bytes of an argument: as they stand, or decoded under `--escape`.
pub(crate) fn literal(argument: &OsStr, spelling: &Spelling) -> Result<Vec<u8>, Failure> {
    if !spelling.escape {
        return Ok(argument.as_bytes().to_vec());
    }
    escape::unescape(argument.as_bytes())
        .map_err(|what| Failure::told(format_args!("--escape: {}: {what}", argument.display())))
}

/// All bytes of the file, or of standard input for `-`.
fn read_value(path: &Path) -> Result<Vec<u8>, Failure> {
    let source: Box<dyn Read> = match path.as_os_str().as_bytes() {
        b"-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(|error| Failure::file(path, error))?),
    };
    let mut value = Vec::new();
    source.take(VALUE_LEN_MAX + 1).read_to_end(&mut value).map_err(|error| Failure::file(path, error))?;
    if value.len() as u64 > VALUE_LEN_MAX {
        return Err(Failure::file(path, "longer than 1 GiB, the most that a value can be"));
    }
    Ok(value)
}

/// The moment so far from now, in milliseconds since 1970.
fn expiry(ttl: Duration) -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| now.checked_add(ttl))
        .and_then(|at| u64::try_from(at.as_millis()).ok())
        .ok_or_else(|| Failure::told("--ttl: that moment cannot be counted in milliseconds since 1970"))
}
