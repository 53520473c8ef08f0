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
}
