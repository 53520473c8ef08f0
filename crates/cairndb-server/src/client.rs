//! A client: what the server remembers of one connection.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::acl::{Denied, Object, User, Users};
use crate::commands::{Command, Later};
use crate::memory::Share;
use crate::pubsub::Kind;
use crate::resp::reply::{Output, Protocol};

/// What a listener may leave unread, however much else it may.
const MAILBOX_LEN_MAX: usize = 32 << 20;

/// One connection's state, which only its task touches.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) database: usize,
    /// Who it is; nobody before it has shown that.
    pub(crate) user: Option<Arc<User>>,
    /// Of [`Users::changes`].
    users_seen: u64,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watch: Option<Watch>,
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// What its buffers take.
    pub(crate) share: Arc<Share>,
    pub(crate) replies: Replies,
    /// What the last command's reply waits for, and whether that reply is wanted.
    pub(crate) later: Option<Later>,
    pub(crate) wants_later: bool,
    /// Whether its transaction is being done.
    pub(crate) in_transaction: bool,
    /// Whether it is told of all commands.
    pub(crate) monitors: bool,
    /// Whether the connection ends when the replies have gone.
    pub(crate) leaving: bool,
    pub(crate) shown: Arc<Shown>,
    /// When the last command ended, or what was read came.
    pub(crate) clock: Instant,
}

/// What other clients can see of it, in `CLIENT LIST`.
pub(crate) struct Shown {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) local_address: String,
    pub(crate) began: std::time::Instant,
    pub(crate) state: Mutex<ShownState>,
    /// Milliseconds after `began` at which its last command came.
    pub(crate) last_command_ms: AtomicU64,
    pub(crate) killed: AtomicBool,
    pub(crate) wake: Notify,
}

#[derive(Clone, Default)]
pub(crate) struct ShownState {
    pub(crate) user: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) database: usize,
    pub(crate) command: &'static str,
    pub(crate) channels: usize,
    pub(crate) patterns: usize,
    pub(crate) queued: Option<usize>,
    pub(crate) monitors: bool,
    pub(crate) resp3: bool,
}

/// Whether commands are answered.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// Not this one, that set it so, nor the next.
    SkipNext,
    Skip,
}

/// Commands that wait for `EXEC`.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) commands: Vec<(&'static Command, Vec<Vec<u8>>)>,
    /// What their words take.
    pub(crate) len: usize,
    /// Whether one of them could not be queued.
    pub(crate) aborted: bool,
}

/// What `EXEC` depends on.
pub(crate) struct Watch {
    /// Set when a key that is watched is written.
    pub(crate) dirty: Arc<AtomicBool>,
    /// Watched keys that may expire.
    pub(crate) expiring: Vec<(usize, Vec<u8>)>,
}

/// Messages that wait until the client's task sends them.
pub(crate) struct Mailbox {
    messages: Mutex<Output>,
    resp3: AtomicBool,
    len: AtomicUsize,
    overrun: AtomicBool,
    shown: Arc<Shown>,
    share: Arc<Share>,
}

impl Mailbox {
    pub(crate) fn new(shown: Arc<Shown>, share: Arc<Share>) -> Mailbox {
        Mailbox {
            messages: Mutex::default(),
            resp3: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            overrun: AtomicBool::new(false),
            shown,
            share,
        }
    }

    pub(crate) fn speak(&self, protocol: Protocol) {
        self.resp3.store(protocol == Protocol::Resp3, Ordering::Relaxed);
    }

    /// Leaves a message, and wakes the client's task. Who has left too many untaken gets no more, and goes.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Output)) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let len_max = MAILBOX_LEN_MAX.min(self.share.replies_max());
        if messages.len() > len_max || self.share.is_too_much() {
            self.share.shrink(messages.take().len());
            self.overrun.store(true, Ordering::Relaxed);
            // It may be waiting for its peer, who takes nothing.
            self.shown.killed.store(true, Ordering::Relaxed);
        } else {
            let before = messages.len();
            let resp3 = self.resp3.load(Ordering::Relaxed);
            messages.protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            write(&mut messages);
            self.share.grow(messages.len() - before);
        }
        self.len.store(messages.len(), Ordering::Release);
        drop(messages);
        self.shown.wake.notify_one();
    }

    /// Whether there is something to take.
    pub(crate) fn has_mail(&self) -> bool {
        self.len.load(Ordering::Acquire) > 0
    }

    /// What was left since the last call.
    pub(crate) fn take(&self) -> Vec<u8> {
        if self.len.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.len.store(0, Ordering::Release);
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.share.shrink(messages.len());
        messages
    }

    /// Whether messages were lost, because they were not taken.
    pub(crate) fn overran(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }
}

impl Client {
    pub(crate) fn new(shown: Arc<Shown>, users: &Users, share: Arc<Share>) -> Client {
        let users_seen = users.changes();
        let mut client = Client {
            id: shown.id,
            database: 0,
            user: None,
            users_seen,
            transaction: None,
            watch: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            mailbox: Arc::new(Mailbox::new(shown.clone(), share.clone())),
            share,
            replies: Replies::On,
            later: None,
            wants_later: true,
            in_transaction: false,
            monitors: false,
            leaving: false,
            shown,
            clock: Instant::now(),
        };
        client.become_user(users.of_new_connection());
        client
    }

    pub(crate) fn become_user(&mut self, user: Option<Arc<User>>) {
        self.shown
            .change(|state| state.user = user.as_ref().map(|user| user.name.clone()).unwrap_or_default());
        self.user = user;
    }

    /// Sees what has become of its user. `false` if they were deleted, or may no longer hear what it listens to: then it has
    /// to go.
    pub(crate) fn heed(&mut self, users: &Users) -> bool {
        let changes = users.changes();
        if std::mem::replace(&mut self.users_seen, changes) == changes {
            return true;
        }
        let Some(user) = &self.user else {
            self.become_user(users.of_new_connection());
            return true;
        };
        self.user = users.successor(user);
        self.user.as_ref().is_some_and(|user| {
            self.channels.iter().all(|channel| user.may_hear(channel, false))
                && self.patterns.iter().all(|pattern| user.may_hear(pattern, true))
        })
    }

    /// Keeps that it was refused something.
    pub(crate) fn deny(&self, users: &Users, denied: &Denied) {
        if let Some(user) = &self.user {
            let in_transaction = self.in_transaction || self.transaction.is_some();
            users.denials.add(Object::of(denied), &user.name, in_transaction, self.shown.line());
        }
    }

    pub(crate) fn listens_to(&mut self, kind: Kind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    /// Whether it listens, and so, in the second version of the protocol, can do little else.
    pub(crate) fn listens(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }
}

impl Shown {
    pub(crate) fn new(id: u64, address: String, local_address: String) -> Shown {
        Shown {
            id,
            address,
            local_address,
            began: std::time::Instant::now(),
            state: Mutex::default(),
            last_command_ms: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> ShownState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut ShownState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Has the connection end as soon as its task sees it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// The line of `CLIENT LIST`, with the fields that Redis has and that mean something here.
    pub(crate) fn line(&self) -> String {
        let state = self.state();
        let age_ms = self.began.elapsed().as_millis() as u64;
        let idle_ms = age_ms.saturating_sub(self.last_command_ms.load(Ordering::Relaxed));
        let listens = state.channels + state.patterns > 0;
        let flags = match (listens, state.queued) {
            _ if state.monitors => "O",
            (true, _) => "P",
            (false, Some(_)) => "x",
            (false, None) => "N",
        };
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db={} sub={} psub={} multi={} qbuf=0 \
             qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} user={} redir=-1 resp={} lib-name={} \
             lib-ver={}",
            self.id,
            self.address,
            self.local_address,
            String::from_utf8_lossy(&state.name),
            age_ms / 1_000,
            idle_ms / 1_000,
            state.database,
            state.channels,
            state.patterns,
            state.queued.map_or(-1, |n| n as i64),
            if state.command.is_empty() { "NULL" } else { state.command },
            String::from_utf8_lossy(&state.user),
            if state.resp3 { 3 } else { 2 },
            String::from_utf8_lossy(&state.library),
            String::from_utf8_lossy(&state.library_version),
        )
    }
}
