//! Users: who may come in, and who may do what.
//!
//! A user has passwords, of which only the SHA-256 is kept, patterns of keys and of channels, and a set of commands. The
//! rules that `ACL SETUSER` takes say all of it, and are how users are kept: in the server's keyspace, under `u` and the
//! name, the rules that make the user out of nothing, with a blank between them. A change is synced before it holds.
//!
//! Whoever lets somebody in asks [`Users::authenticate`], and before each thing that is done [`User::may`], with the command
//! of the Redis protocol that does it and the words that a client would send for it. A user is a value that does not change: who holds one looks at
//! [`Users::changes`] now and then, and takes the [`Users::successor`].
//!
//! Invariants:
//! - I1. There is always a user `default`; new connections are theirs, if no password is asked of them.
//! - I2. How long a check of a password takes does not tell how much of it is right, nor whether the user is there.

mod denials;
mod permitted;
mod user;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cairndb::{Batch, Db, Durability, KeyRange};

use crate::store::KEYSPACE_SERVER;
pub(crate) use denials::{Denials, Object};
pub(crate) use user::{Denied, User};

/// The user of those who name none.
pub(crate) const DEFAULT: &[u8] = b"default";

/// In the server's keyspace, before a user's name.
const USER: u8 = b'u';

/// All users.
pub(crate) struct Users {
    db: Db,
    by_name: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    /// Held while a user is changed, from the look at the old one to the end.
    changing: Mutex<()>,
    changes: AtomicU64,
    next_id: AtomicU64,
    pub(crate) denials: Denials,
}

/// Why a user was not changed.
#[derive(Debug)]
pub(crate) enum NotChanged {
    /// This rule cannot be followed, and why.
    Rule(Vec<u8>, &'static str),
    /// It could not be kept.
    Engine(cairndb::Error),
}

impl Users {
    /// The users that are kept in `db`. A password that is given becomes the only one of `default`, for as long as the
    /// server runs.
    pub(crate) fn load(db: &Db, password: Option<&str>) -> cairndb::Result<Users> {
        let users = Users {
            db: db.clone(),
            by_name: RwLock::default(),
            changing: Mutex::new(()),
            changes: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            denials: Denials::default(),
        };
        users.put(User::everything(DEFAULT, users.new_id()));
        for item in db.keyspace(KEYSPACE_SERVER)?.scan(KeyRange::from(vec![USER]..vec![USER + 1])) {
            let (key, rules) = item?;
            let mut user = User::nothing(&key[1..], users.new_id());
            for rule in rules.split(|&byte| byte == b' ') {
                user.apply(rule).map_err(|why| {
                    let (name, rule) = (String::from_utf8_lossy(&key[1..]), String::from_utf8_lossy(rule));
                    let what = format!("the rule '{rule}' of the user '{name}', as it is kept: {why}");
                    cairndb::Error::Invalid { what }
                })?;
            }
            users.put(user);
        }
        if let Some(password) = password {
            users.set_default_password(Some(password));
        }
        Ok(users)
    }

    /// The user of that name, if they are let in with this password.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let hash = user::hash(password);
        self.get(name).filter(|user| user.lets_in(&hash))
    }

    /// Who a new connection is; nobody, if `default` must show a password.
    pub(crate) fn of_new_connection(&self) -> Option<Arc<User>> {
        self.get(DEFAULT).filter(|user| user.is_open())
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A number that rises when any user is changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What has become of a user; `None` if they were deleted, even if one of the same name was made since.
    pub(crate) fn successor(&self, user: &User) -> Option<Arc<User>> {
        self.get(&user.name).filter(|now| now.id == user.id)
    }

    /// Makes a user, or changes one, by all of the rules or none.
    pub(crate) fn change(&self, name: &[u8], rules: &[&[u8]]) -> Result<(), NotChanged> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.get(name);
        let mut user = old.map_or_else(|| User::nothing(name, self.new_id()), |old| (*old).clone());
        for rule in rules {
            user.apply(rule).map_err(|why| NotChanged::Rule(rule.to_vec(), why))?;
        }
        self.keep(name, Some(&user)).map_err(NotChanged::Engine)?;
        self.put(user);
        Ok(())
    }

    /// Deletes those of the named that there are, but never `default`; returns how many.
    pub(crate) fn delete(&self, names: &[&[u8]]) -> cairndb::Result<usize> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deleted = 0;
        for name in names.iter().filter(|&&name| name != DEFAULT) {
            if self.get(name).is_some() {
                self.keep(name, None)?;
                self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(*name);
                self.changes.fetch_add(1, Ordering::AcqRel);
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// What `requirepass` says, while the server runs; `None` lets everybody in.
    pub(crate) fn set_default_password(&self, password: Option<&str>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = self.get(DEFAULT) {
            let mut user = (*old).clone();
            user.set_password(password.map(str::as_bytes));
            self.put(user);
        }
    }

    fn keep(&self, name: &[u8], user: Option<&User>) -> cairndb::Result<()> {
        let mut batch = Batch::new();
        batch.durability(Durability::Sync).keyspace(KEYSPACE_SERVER);
        let key = [&[USER], name].concat();
        match user {
            Some(user) => batch.put(key, user.rules()),
            None => batch.delete(key),
        };
        self.db.write(batch).map(drop)
    }

    fn put(&self, user: User) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(user.name.clone(), Arc::new(user));
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn users() -> (Users, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let db = Db::open(directory.path()).expect("it opens");
        (Users::load(&db, None).expect("it loads"), directory)
    }

    fn change(users: &Users, name: &str, rules: &str) {
        users.change(name.as_bytes(), &words(rules)).expect("the rules can be followed");
    }

    fn may(users: &Users, name: &str, line: &str) -> bool {
        let words = words(line);
        let command = crate::commands::resolve(&words).expect("there is such a command");
        users.get(name.as_bytes()).expect("they are there").may(command, &words).is_ok()
    }

    #[test]
    fn a_user_outlives_the_server() {
        let (users, directory) = users();
        change(&users, "ann", "on >secret ~k:* %R~shared &news +@read +config|get");
        change(&users, "bob", "on nopass");
        users.delete(&[b"bob"]).expect("it is kept");
        let rules = users.get(b"ann").expect("they are there").rules();
        users.db.close().expect("it closes");
        let db = Db::open(directory.path()).expect("it opens");
        let users = Users::load(&db, Some("run")).expect("it loads");
        assert_eq!(users.get(b"ann").expect("they are there").rules(), rules);
        assert!(users.authenticate(b"ann", b"secret").is_some());
        assert!(users.get(b"bob").is_none());
        assert!(users.authenticate(DEFAULT, b"").is_none() && users.authenticate(DEFAULT, b"run").is_some());
    }

    #[test]
    fn passwords_let_in() {
        let (users, _directory) = users();
        let enters = |password: &str| users.authenticate(b"ann", password.as_bytes()).is_some();
        change(&users, "ann", ">one >two");
        assert!(!enters("one"), "a user who is off is not let in");
        change(&users, "ann", "on");
        assert!(enters("one") && enters("two") && !enters("three") && !enters(""));
        change(&users, "ann", "<one");
        assert!(!enters("one") && enters("two"));
        change(&users, "ann", "nopass");
        assert!(enters("anything"));
        change(&users, "ann", "resetpass");
        assert!(!enters("two") && !enters(""));
        assert!(users.authenticate(b"nobody", b"").is_none());
    }

    #[test]
    fn commands_and_keys_are_allowed_one_by_one() {
        let (users, _directory) = users();
        change(&users, "ann", "on nopass ~own:* %R~read:* %W~write:* +@all -@dangerous");
        for allowed in [
            "get own:a",
            "get read:a",
            "mget own:a read:a",
            "setex write:a 1 x",
            "set write:a x",
            "ping",
            "exists write:a",
            "copy read:a own:a",
            "hello 3",
            "select 1",
        ] {
            assert!(may(&users, "ann", allowed), "{allowed}");
        }
        for denied in [
            "get other",
            "get write:a",
            "set read:a x",
            "set write:a x get",
            "incr write:a",
            "mget own:a other",
            "copy own:a read:a",
            "keys *",
            "flushall",
            "config get x",
            "rename read:a own:a",
        ] {
            assert!(!may(&users, "ann", denied), "{denied}");
        }
    }

    #[test]
    fn channels_are_allowed_by_patterns_and_patterns_by_themselves() {
        let (users, _directory) = users();
        change(&users, "ann", "on nopass +@pubsub &news.* &log");
        for allowed in ["subscribe news.a log", "publish news.b x", "psubscribe news.*", "unsubscribe other"]
        {
            assert!(may(&users, "ann", allowed), "{allowed}");
        }
        for denied in ["subscribe news.a other", "publish other x", "psubscribe news.a", "psubscribe *"] {
            assert!(!may(&users, "ann", denied), "{denied}");
        }
    }

    #[test]
    fn all_of_the_rules_are_followed_or_none() {
        let (users, _directory) = users();
        for (rules, why) in [
            ("on foo", "Syntax error"),
            ("on +nothing", "Unknown command or category name in ACL"),
            ("on -@nothing", "Unknown command or category name in ACL"),
            ("on +config|nothing", "Unknown command or category name in ACL"),
            ("on %X~a", "Syntax error"),
            ("on %~a", "Syntax error"),
            ("on ~* ~a", "Adding a pattern after the * pattern"),
            ("on &* &a", "Adding a pattern after the * pattern"),
            ("on #abc", "The password hash must be exactly 64 characters"),
            ("on <abc", "The password you are trying to remove from the user does not exist"),
        ] {
            match users.change(b"ann", &words(rules)) {
                Err(NotChanged::Rule(_, told)) => assert!(told.starts_with(why), "{rules}: {told}"),
                other => panic!("{rules}: {other:?}"),
            }
        }
        assert!(users.get(b"ann").is_none());
    }

    #[test]
    fn a_user_made_anew_is_somebody_else() {
        let (users, _directory) = users();
        change(&users, "ann", "on");
        let ann = users.get(b"ann").expect("they are there");
        let seen = users.changes();
        change(&users, "ann", "off");
        assert!(users.changes() > seen && users.successor(&ann).is_some());
        assert_eq!(users.delete(&[b"ann", b"nobody", DEFAULT]).expect("it is kept"), 1);
        change(&users, "ann", "on");
        assert!(users.successor(&ann).is_none());
    }
}
