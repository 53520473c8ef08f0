//! The server: what all connections share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use cairndb::Db;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::acl::Users;
use crate::backups::Backups;
use crate::client::{Client, Shown};
use crate::events::{Event, Wanted};
use crate::latency::Latency;
use crate::log::{self, Often};
use crate::memory::Buffers;
use crate::metrics::{Counters, StorageMeter};
use crate::monitors::Monitors;
use crate::pause::Pause;
use crate::pubsub::{Channels, Kind};
use crate::scans::Scans;
use crate::settings::{Config, Limits};
use crate::slow::SlowLog;
use crate::store::Store;
use crate::tls::Tls;

/// The version of Redis whose commands these are; clients look at it.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// One running server.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) settings: RwLock<Config>,
    /// As the file and the flags have them: what differs is what `CONFIG REWRITE` writes.
    pub(crate) settings_kept: Mutex<Config>,
    pub(crate) users: Users,
    pub(crate) pause: Pause,
    pub(crate) slow: SlowLog,
    pub(crate) latency: Arc<Latency>,
    pub(crate) monitors: Monitors,
    pub(crate) backups: Backups,
    /// The one place of those who flush, compact or verify because they were asked to.
    pub(crate) upkeep: Arc<Semaphore>,
    pub(crate) events: Wanted,
    pub(crate) channels: Channels,
    pub(crate) scans: Scans,
    pub(crate) counters: Counters,
    pub(crate) trouble: Trouble,
    pub(crate) buffers: Arc<Buffers>,
    /// What every port speaks, if it speaks TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) began: Instant,
    /// Names this run of the server, in 40 digits.
    pub(crate) run_id: String,
    asked_to_end: watch::Sender<bool>,
    clients: Mutex<HashMap<u64, Arc<Shown>>>,
    next_client: AtomicU64,
}

/// What may happen often, and is told in the log seldom.
#[derive(Default)]
pub(crate) struct Trouble {
    pub(crate) accept: Often,
    pub(crate) refused: Often,
    pub(crate) over_a_limit: Often,
}

impl Server {
    pub(crate) fn new(db: Db, storage: Arc<StorageMeter>, settings: Config) -> cairndb::Result<Server> {
        // Half of what a batch may hold, and not so much that readers behind it wait for seconds.
        const TURN_LEN_MAX: u64 = 256 << 20;
        let turn_len_max = (settings.memory_budget_bytes / 8).min(TURN_LEN_MAX) as usize;
        let latency = Arc::new(Latency::default());
        latency.set(settings.latency_threshold_ms);
        let users = Users::load(&db, settings.password.as_deref())?;
        let buffers = Arc::new(Buffers::default());
        buffers.bound(settings.limits);
        Ok(Server {
            users,
            pause: Pause::default(),
            upkeep: Arc::new(Semaphore::new(1)),
            slow: SlowLog::new(settings.slower_than_us, settings.slow_kept_max),
            latency: latency.clone(),
            monitors: Monitors::default(),
            backups: Backups::new(settings.backup_directory.clone()),
            store: Store::new(db, turn_len_max, latency, now_ms)?,
            events: settings.events(),
            settings_kept: Mutex::new(settings.clone()),
            settings: RwLock::new(settings),
            channels: Channels::default(),
            scans: Scans::default(),
            counters: Counters::new(storage),
            trouble: Trouble::default(),
            buffers,
            tls: None,
            began: Instant::now(),
            run_id: (0..3).map(|_| format!("{:016x}", crate::random::number())).collect::<String>()[..40]
                .into(),
            asked_to_end: watch::Sender::new(false),
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
        })
    }

    /// Has settings that are not looked up each time be what they are.
    pub(crate) fn apply(&self, settings: &Config) {
        self.events.set(settings.events());
        self.buffers.bound(settings.limits);
        self.slow.set(settings.slower_than_us, settings.slow_kept_max);
        self.latency.set(settings.latency_threshold_ms);
    }

    /// Reads the certificate and its key anew; what comes of it is told in the log.
    pub(crate) fn reload_certificate(&self) {
        if let Some(tls) = &self.tls {
            log::reloaded(&tls.reload());
        }
    }

    pub(crate) fn settings(&self) -> Config {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).limits
    }

    /// The longest body of a request over HTTP, in bytes: as is set, and two of them no longer than a batch may be.
    pub(crate) fn body_len_max(&self) -> usize {
        let set = usize::try_from(self.limits().body_len).unwrap_or(usize::MAX);
        set.min(self.store.batch_len_max() / 2)
    }

    /// A client that has come; `None` if there are as many as there may be.
    pub(crate) fn enter(&self, address: String, local_address: String) -> Option<Client> {
        let mut clients = self.lock_clients();
        if clients.len() >= self.limits().clients {
            self.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        let shown = Arc::new(Shown::new(id, address, local_address));
        clients.insert(id, shown.clone());
        drop(clients);
        Some(Client::new(shown, &self.users, Arc::new(self.buffers.share())))
    }

    pub(crate) fn leave(&self, client: &mut Client) {
        self.leave_channels(client);
        self.monitors.leave(client.id);
        self.lock_clients().remove(&client.id);
    }

    pub(crate) fn leave_channels(&self, client: &mut Client) {
        for kind in [Kind::Channel, Kind::Pattern] {
            for name in std::mem::take(client.listens_to(kind)) {
                self.channels.leave(kind, &name, client.id);
            }
        }
    }

    /// All that are connected, the oldest first.
    pub(crate) fn clients(&self) -> Vec<Arc<Shown>> {
        let mut clients: Vec<_> = self.lock_clients().values().cloned().collect();
        clients.sort_by_key(|shown| shown.id);
        clients
    }

    /// Has the server end as soon as its owner sees it.
    pub(crate) fn ask_to_end(&self) {
        self.asked_to_end.send_replace(true);
    }

    /// Returns when a client has asked for the end.
    pub(crate) async fn until_asked_to_end(&self) {
        // The sender is here: it cannot be gone.
        _ = self.asked_to_end.subscribe().wait_for(|asked| *asked).await;
    }

    /// Has every connection see that users were changed.
    pub(crate) fn wake_clients(&self) {
        self.clients().iter().for_each(|shown| shown.wake.notify_one());
    }

    /// Tells those who listen what happened to keys.
    pub(crate) fn publish_events(&self, events: Vec<Event>) {
        for Event { name, database, key, .. } in events {
            if self.events.by_key() {
                let channel = [format!("__keyspace@{database}__:").as_bytes(), &key].concat();
                self.channels.publish(&channel, name.as_bytes());
            }
            if self.events.by_event() {
                let channel = format!("__keyevent@{database}__:{name}");
                self.channels.publish(channel.as_bytes(), &key);
            }
        }
    }

    fn lock_clients(&self) -> MutexGuard<'_, HashMap<u64, Arc<Shown>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
