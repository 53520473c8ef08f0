//! A user: the rules that make one, and what follows from them.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::permitted::Permitted;
use crate::commands::Command;
use crate::glob;

/// The SHA-256 of a password.
type Hash = [u8; 32];

/// Somebody, and what they may do. Does not change; a change makes another.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    /// Tells apart users who had the same name one after the other.
    pub(super) id: u64,
    on: bool,
    /// Let in with any password.
    open: bool,
    passwords: Vec<Hash>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
    commands: Permitted,
}

#[derive(Clone, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    read: bool,
    write: bool,
}

/// What a user may not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Command(&'static str),
    Key(Vec<u8>),
    Channel(Vec<u8>),
}

const UNKNOWN: &str = "Unknown command or category name in ACL";
const SYNTAX: &str = "Syntax error";
const AFTER_ALL_KEYS: &str = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                              effect. Try 'resetkeys' to start with an empty list of patterns";
const AFTER_ALL_CHANNELS: &str = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not \
                                  have any effect. Try 'resetchannels' to start with an empty list of channels";

impl User {
    /// Who may do everything, and is let in with any password.
    pub(super) fn everything(name: &[u8], id: u64) -> User {
        let mut user = User::nothing(name, id);
        (user.on, user.open) = (true, true);
        user.keys = vec![KeyPattern { pattern: b"*".into(), read: true, write: true }];
        user.channels = vec![b"*".into()];
        user.commands = Permitted::all();
        user
    }

    /// Who may do nothing, and is not let in.
    pub(super) fn nothing(name: &[u8], id: u64) -> User {
        User {
            name: name.to_vec(),
            id,
            on: false,
            open: false,
            passwords: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
            commands: Permitted::none(),
        }
    }

    /// Whether they may run a command with these words, the first of which is its name. Who has no words, since the command
    /// came otherwise, puts together those with which it would have come.
    pub(crate) fn may(&self, command: &Command, words: &[&[u8]]) -> Result<(), Denied> {
        if !self.commands.has(command) {
            return Err(Denied::Command(command.name));
        }
        if !self.has_all_keys() {
            for (place, usage) in command.keys_of(words) {
                let (read, write) = (usage.access, !usage.change.is_empty());
                let fits = |own: &KeyPattern| {
                    own.read >= read && own.write >= write && glob::matches(&own.pattern, words[place])
                };
                if !self.keys.iter().any(fits) {
                    return Err(Denied::Key(words[place].to_vec()));
                }
            }
        }
        if self.has_all_channels() {
            return Ok(());
        }
        let (channels, patterns) = match command.name {
            "subscribe" => (&words[1..], false),
            "psubscribe" => (&words[1..], true),
            "publish" => (&words[1..2], false),
            _ => return Ok(()),
        };
        let denied = channels.iter().find(|channel| !self.may_hear(channel, patterns));
        denied.map_or(Ok(()), |channel| Err(Denied::Channel(channel.to_vec())))
    }

    /// Whether they may listen to a channel; to a pattern only if it is one of their own.
    pub(crate) fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.iter().any(|own| match is_pattern {
            true => own == channel || own == b"*",
            false => glob::matches(own, channel),
        })
    }

    pub(super) fn lets_in(&self, hash: &Hash) -> bool {
        // All are compared, whichever fits (I2).
        let known = self.passwords.iter().fold(false, |known, own| known | bool::from(own.ct_eq(hash)));
        self.on && (self.open || known)
    }

    /// Whether they are let in with any password.
    pub(crate) fn is_open(&self) -> bool {
        self.on && self.open
    }

    /// Whether no password is asked for, whether they are let in or not.
    pub(crate) fn has_no_password(&self) -> bool {
        self.open
    }

    pub(super) fn set_password(&mut self, password: Option<&[u8]>) {
        self.passwords = password.map(hash).into_iter().collect();
        self.open = password.is_none();
    }

    /// Follows a rule, or tells why it cannot be followed.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"nopass" => self.set_password(None),
            b"resetpass" => (self.open, self.passwords) = (false, Vec::new()),
            b"allkeys" => return self.apply(b"~*"),
            b"resetkeys" => self.keys.clear(),
            b"allchannels" => return self.apply(b"&*"),
            b"resetchannels" => self.channels.clear(),
            b"allcommands" => self.commands = Permitted::all(),
            b"nocommands" => self.commands = Permitted::none(),
            b"reset" => *self = User::nothing(&self.name, self.id),
            // There are no payloads to look into, and no selectors to forget.
            b"sanitize-payload" | b"skip-sanitize-payload" | b"clearselectors" => {}
            _ => return self.apply_mark(rule),
        }
        Ok(())
    }

    /// A rule that begins with a mark.
    fn apply_mark(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        let Some((mark, rest)) = rule.split_first() else { return Ok(()) };
        match mark {
            b'>' => self.add_password(hash(rest)),
            b'#' => self.add_password(parse_hash(rest)?),
            b'<' => return self.remove_password(&hash(rest)),
            b'!' => return self.remove_password(&parse_hash(rest)?),
            b'~' => return self.add_keys(rest, true, true),
            b'%' if self.has_all_keys() => return Err(AFTER_ALL_KEYS),
            b'%' => {
                let tilde = rest.iter().position(|&byte| byte == b'~').ok_or(SYNTAX)?;
                let (read, write) = match rest[..tilde].to_ascii_uppercase().as_slice() {
                    b"R" => (true, false),
                    b"W" => (false, true),
                    b"RW" | b"WR" => (true, true),
                    _ => return Err(SYNTAX),
                };
                return self.add_keys(&rest[tilde + 1..], read, write);
            }
            b'&' => return self.add_channels(rest),
            b'+' | b'-' => self.commands.change(*mark == b'+', rest).ok_or(UNKNOWN)?,
            b'(' => return Err("Selectors are not supported"),
            _ => return Err(SYNTAX),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        self.open = false;
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), &'static str> {
        let place = self.passwords.iter().position(|own| own == hash);
        let place = place.ok_or("The password you are trying to remove from the user does not exist")?;
        self.passwords.remove(place);
        Ok(())
    }

    fn add_keys(&mut self, pattern: &[u8], read: bool, write: bool) -> Result<(), &'static str> {
        check_pattern(pattern)?;
        if self.has_all_keys() && !(pattern == b"*" && read && write) {
            return Err(AFTER_ALL_KEYS);
        }
        if pattern == b"*" && read && write {
            self.keys.clear();
        }
        match self.keys.iter_mut().find(|own| own.pattern == pattern) {
            Some(own) => (own.read, own.write) = (own.read | read, own.write | write),
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), read, write }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), &'static str> {
        check_pattern(pattern)?;
        if pattern == b"*" {
            self.channels.clear();
        } else if self.has_all_channels() {
            return Err(AFTER_ALL_CHANNELS);
        }
        if !self.channels.iter().any(|own| own == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn has_all_keys(&self) -> bool {
        matches!(&*self.keys, [KeyPattern { pattern, read: true, write: true }] if pattern == b"*")
    }

    fn has_all_channels(&self) -> bool {
        matches!(&*self.channels, [pattern] if pattern == b"*")
    }

    /// `on` or `off`, and `nopass`.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.on { "on" } else { "off" }];
        flags.extend(self.open.then_some("nopass"));
        flags
    }

    /// The hashes of the passwords, in hexadecimal.
    pub(crate) fn password_hashes(&self) -> Vec<String> {
        self.passwords.iter().map(hex).collect()
    }

    pub(crate) fn key_rules(&self) -> Vec<u8> {
        let rules = self.keys.iter().map(|own| match (own.read, own.write) {
            (true, false) => [b"%R~", &*own.pattern].concat(),
            (false, true) => [b"%W~", &*own.pattern].concat(),
            _ => [b"~", &*own.pattern].concat(),
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    pub(crate) fn channel_rules(&self) -> Vec<u8> {
        let rules = self.channels.iter().map(|own| [b"&", &**own].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    pub(crate) fn command_rules(&self) -> String {
        self.commands.rules()
    }

    /// The rules that make this user out of nothing.
    pub(crate) fn rules(&self) -> Vec<u8> {
        let mut rules: Vec<Vec<u8>> = self.flags().iter().map(|flag| flag.as_bytes().to_vec()).collect();
        rules.extend(self.passwords.iter().map(|hash| format!("#{}", hex(hash)).into_bytes()));
        rules.extend(Some(self.key_rules()).filter(|keys| !keys.is_empty()));
        if !self.has_all_channels() {
            rules.push(b"resetchannels".into());
        }
        rules.extend(Some(self.channel_rules()).filter(|channels| !channels.is_empty()));
        rules.push(self.command_rules().into_bytes());
        rules.join(&b' ')
    }
}

impl Denied {
    /// What the client is told.
    pub(crate) fn reply(&self) -> String {
        match self {
            Denied::Command(name) => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            Denied::Key(_) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".into()
            }
            Denied::Channel(_) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".into()
            }
        }
    }
}

/// The SHA-256 of a password.
pub(super) fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hash(digits: &[u8]) -> Result<Hash, &'static str> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let hash = bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| bytes.try_into().ok());
    hash.ok_or(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
    )
}

/// A pattern stands between blanks where it is kept.
fn check_pattern(pattern: &[u8]) -> Result<(), &'static str> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    if pattern.iter().any(blank) { Err(SYNTAX) } else { Ok(()) }
}
