//! Settings: what `CONFIG GET` shows and `CONFIG SET` may change while the server runs.

use cairndb::Durability;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) password: Option<String>,
    pub(crate) clients_max: usize,
    /// The longest word of a request.
    pub(crate) word_len_max: i64,
    pub(crate) port: u16,
    pub(crate) bind: String,
    pub(crate) directory: String,
}

impl Settings {
    /// What is shown, by Redis's names where it has one.
    pub(crate) fn shown(&self, events: &str) -> Vec<(&'static str, String)> {
        let fsync = match self.durability {
            Durability::Sync => "always",
            Durability::Os => "everysec",
            Durability::Buffered => "no",
        };
        vec![
            ("appendfsync", fsync.into()),
            ("appendonly", "yes".into()),
            ("bind", self.bind.clone()),
            ("databases", crate::store::DATABASES.to_string()),
            ("dir", self.directory.clone()),
            ("maxclients", self.clients_max.to_string()),
            ("maxmemory", "0".into()),
            ("maxmemory-policy", "noeviction".into()),
            ("notify-keyspace-events", events.into()),
            ("port", self.port.to_string()),
            ("proto-max-bulk-len", self.word_len_max.to_string()),
            ("requirepass", self.password.clone().unwrap_or_default()),
            ("save", String::new()),
            ("timeout", "0".into()),
        ]
    }

    /// Whether a parameter can be changed while the server runs.
    pub(crate) fn may_change(name: &[u8]) -> bool {
        matches!(name, b"maxclients" | b"notify-keyspace-events" | b"requirepass")
    }

    /// Changes one of those; `Err` tells why not, in Redis's words.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        match name {
            b"requirepass" => {
                let password = String::from_utf8(value.to_vec()).map_err(|_| "the password is not UTF-8")?;
                self.password = Some(password).filter(|password| !password.is_empty());
            }
            b"maxclients" => self.clients_max = integer_within(value, 1, u32::MAX.into())? as usize,
            _ => {}
        }
        Ok(())
    }
}

fn integer_within(value: &[u8], least: i64, most: i64) -> Result<i64, String> {
    let n = crate::resp::request::integer(value).ok_or("argument couldn't be parsed into an integer")?;
    match (least..=most).contains(&n) {
        true => Ok(n),
        false => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}
