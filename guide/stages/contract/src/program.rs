//! Program: what every stage can be asked for on the command line.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use cairndb_storage::{Fate, Faulty, Storage};
use clap::{Parser, Subcommand};

use crate::database::Subject;
use crate::directory::{Directory, file_name};
use crate::model::{Moment, Operation, shown};

/// One stage of the guide: a small database.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Runs a few operations on a disk that lies, cuts its power at this call, and shows what is left.
    #[arg(long, value_name = "CALL")]
    crash_at: Option<u64>,
    /// Which of the things that a power cut may do it does.
    #[arg(long, default_value_t = 0, requires = "crash_at")]
    seed: u64,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes a key hold a value.
    Put { directory: PathBuf, key: String, value: String },
    /// Prints what a key holds.
    Get { directory: PathBuf, key: String },
    /// Makes a key hold nothing.
    Delete { directory: PathBuf, key: String },
    /// Reads lines like `put KEY VALUE` and `delete KEY` from standard input, and does what they say.
    Feed { directory: PathBuf },
}

/// What a stage's `main` is.
pub fn program(subject: &Subject) -> ExitCode {
    let Arguments { crash_at, seed, verb } = Arguments::parse();
    let done = match verb {
        Some(verb) => run(subject, verb),
        None => show_crash(subject, crash_at.unwrap_or(u64::MAX), seed),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(subject: &Subject, verb: Verb) -> io::Result<ExitCode> {
    let open = |directory| (subject.open)(Arc::new(Directory::create(directory)?));
    match verb {
        Verb::Put { directory, key, value } => open(directory)?.put(key.as_bytes(), value.as_bytes())?,
        Verb::Delete { directory, key } => open(directory)?.delete(key.as_bytes())?,
        Verb::Get { directory, key } => match open(directory)?.get(key.as_bytes())? {
            Some(value) => println!("{}", value.escape_ascii()),
            None => {
                eprintln!("{key} holds nothing");
                return Ok(ExitCode::FAILURE);
            }
        },
        Verb::Feed { directory } => {
            let mut database = open(directory)?;
            for line in io::stdin().lines() {
                let line = line?;
                match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                    ["put", key, value] => database.put(key.as_bytes(), value.as_bytes())?,
                    ["delete", key] => database.delete(key.as_bytes())?,
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{line:?}"))),
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs until the call, and shows the disk as it was written, what was certain of it, and what was found.
fn show_crash(subject: &Subject, crash_at: u64, seed: u64) -> io::Result<ExitCode> {
    let operations = [
        Operation::put(b"apple", b"green"),
        Operation::put(b"pear", b"yellow"),
        Operation::put(b"apple", b"red"),
        Operation::delete(b"pear"),
    ];
    let disk = Faulty::default();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    disk.observe(Some(Box::new(move |_, site, operation| {
        seen.lock().expect("no thread panics").push(format!("{operation:?} ({site})"));
    })));
    disk.stop_after(crash_at);
    let mut confirmed = Moment::new();
    let say = |what: &str| {
        for call in calls.lock().expect("no thread panics").drain(..) {
            println!("      {call}");
        }
        println!("{what}");
    };
    match (subject.open)(Arc::new(disk.clone())) {
        Err(_) => say("  open                  not confirmed"),
        Ok(mut database) => {
            say("  open                  confirmed");
            for operation in &operations {
                let value = operation.value.as_deref().map_or("-".into(), shown);
                let text = format!("  {:<6} = {value:<12}", shown(&operation.key));
                if operation.run(database.as_mut()).is_err() {
                    say(&format!("{text} not confirmed"));
                    break;
                }
                operation.apply_to(&mut confirmed);
                say(&format!("{text} confirmed"));
            }
        }
    }
    if crash_at == u64::MAX {
        println!("\n{} calls in all: --crash-at cuts the power at one of them", disk.total_calls());
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nThe power goes at call {crash_at}. What had been written:");
    show_disk(&disk)?;
    println!("\nWhat is certain of it:");
    show_disk(&disk.crashed_with(&mut |_| Fate::Lose))?;
    println!("\nWhat is found (seed {seed}):");
    let found = disk.crash(seed);
    show_disk(&found)?;
    println!("\nWhat the database says then:");
    match (subject.open)(Arc::new(found)) {
        Err(error) => println!("  it does not open: {error}"),
        Ok(mut database) => {
            for key in [b"apple".as_slice(), b"pear"] {
                let confirmed = confirmed.get(key).map_or("nothing".into(), |value| shown(value));
                let found = match database.get(key) {
                    Ok(value) => value.map_or("nothing".into(), |value| shown(&value)),
                    Err(error) => format!("error: {error}"),
                };
                println!("  {:<6} = {found:<12} {confirmed} was confirmed", shown(key));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_disk(disk: &Faulty) -> io::Result<()> {
    // A look, which is no call of the database's.
    let looked_at = disk.killed();
    for name in looked_at.list("program.list")? {
        let bytes = looked_at.read_file(name).unwrap_or_default();
        println!("  {}, {} bytes", file_name(name), bytes.len());
        for (row, part) in bytes.chunks(16).enumerate() {
            let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let text: String =
                part.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '.' }).collect();
            println!("    {:04x}  {:<47}  {text}", 16 * row, hex.join(" "));
        }
    }
    Ok(())
}
