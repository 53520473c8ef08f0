//! A connection: bytes in, commands run, replies out.
//!
//! What has come is run to its end before anything is sent: so a pipeline is one turn of the store, one sync and one
//! write to the socket. Replies are held back until every turn that they tell of has settled.
//!
//! Invariants:
//! - I1. No reply leaves before what it tells of is as durable as promised; if that fails, the reply is the error.
//! - I2. A client that does not read is not read from: its replies stop at `OUTPUT_LEN_MAX`, and one reply more, which is no
//!   longer than a setting allows.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::futures::Notified;
use tokio::sync::watch;

use crate::client::{Client, Replies, Shown};
use crate::commands::{self, Command, Context, Flags, engine_reply};
use crate::log;
use crate::metrics::ns;
use crate::pause::Held;
use crate::resp::reply::{Output, Protocol};
use crate::resp::request::{ProtocolError, RequestLimits, RequestParser};
use crate::server::Server;
use crate::settings::Limits;
use crate::store::Outcome;

/// How much is read at once.
const READ_LEN: usize = 64 * 1024;
/// How much memory for requests a client keeps that has sent none.
const IDLE_LEN: usize = 4 * 1024;
/// How much may wait to be sent before the next command is run.
const OUTPUT_LEN_MAX: usize = 256 * 1024;

/// What a word that waits for `EXEC` takes beside its bytes.
const WORD_OVERHEAD: usize = 40;

/// One client's requests and replies.
pub(crate) struct Connection<S> {
    server: Arc<Server>,
    stream: S,
    client: Client,
    parser: RequestParser,
    input: Vec<u8>,
    out: Output,
    /// The turns that replies tell of and that may not have settled.
    unsettled: Vec<Arc<Outcome>>,
    /// Those replies.
    waiting: Vec<Waiting>,
    /// What is told of its buffers to those who sum them up.
    held_len: usize,
}

/// Where the running of requests stopped.
enum Stopped {
    /// Nothing is left that is whole.
    AtEnd,
    /// More is there, and can be run when what came before it is settled and sent.
    Before,
    /// More is there, and a pause holds it.
    Held,
}

/// A reply that depends on a turn.
struct Waiting {
    /// Which of those that have not settled.
    turn: usize,
    /// Where it begins and ends in the output.
    start: usize,
    end: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(server: Arc<Server>, stream: S, client: Client) -> Connection<S> {
        let (parser, input, out) = (RequestParser::default(), Vec::new(), Output::default());
        let (unsettled, waiting) = (Vec::new(), Vec::new());
        Connection { server, stream, client, parser, input, out, unsettled, waiting, held_len: 0 }
    }

    /// Serves the client until it leaves, or the server does.
    pub(crate) async fn serve(mut self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let served = self.turns(stop).await;
        if self.client.mailbox.overran() {
            self.closed("it did not take its messages");
        }
        let Connection { server, client, .. } = &mut self;
        server.leave(client);
        served
    }

    async fn turns(&mut self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let shown = self.client.shown.clone();
        let mut woken = pin!(shown.wake.notified());
        loop {
            if !self.client.heed(&self.server.users) {
                return Ok(());
            }
            let began = Instant::now();
            self.client.clock = began;
            let limits = self.server.limits();
            let stopped = self.run(limits);
            let replies = !self.out.is_empty();
            if self.settle().await {
                self.client.clock = Instant::now();
            }
            if replies {
                self.server.counters.replies_ns.observe(ns(self.client.clock.duration_since(began)));
            }
            self.out.raw(&self.client.mailbox.take());
            if let Some(why) = self.over_a_limit(limits) {
                self.closed(why);
                return Ok(());
            }
            if !self.out.is_empty() {
                let bytes = self.out.take();
                self.server.counters.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                tokio::select! {
                    biased;
                    sent = self.stream.write_all(&bytes) => sent?,
                    () = killed(&shown, woken.as_mut()) => return Ok(()),
                    () = idle(limits.idle) => return Ok(()),
                }
                self.out.reuse(bytes);
            }
            if self.client.leaving {
                return self.stream.shutdown().await;
            }
            if shown.killed.load(Ordering::Relaxed) {
                return Ok(());
            }
            // The server's end is the only news there is, and wakes every client.
            let stopping = stop.has_changed().unwrap_or(true);
            if let Some(mut later) = self.client.later.take() {
                let reply = loop {
                    if stop.has_changed().unwrap_or(true) {
                        return self.stream.shutdown().await;
                    }
                    tokio::select! {
                        reply = &mut later => break reply,
                        () = woken.as_mut() => woken.set(shown.wake.notified()),
                    }
                    if shown.killed.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                };
                match reply {
                    _ if !self.client.wants_later => {}
                    Ok(reply) => self.out.raw(reply),
                    Err(refusal) => self.out.error(&refusal.reply()),
                }
                continue;
            }
            match stopped {
                // While replies were sent, whoever left mail has woken nobody.
                Stopped::AtEnd if !self.client.mailbox.has_mail() => {}
                Stopped::AtEnd | Stopped::Before => continue,
                Stopped::Held if stopping => return self.stream.shutdown().await,
                Stopped::Held => {
                    tokio::select! {
                        () = self.server.pause.over() => {}
                        () = woken.as_mut() => woken.set(shown.wake.notified()),
                    }
                    continue;
                }
            }
            // Who listens may have nothing to say.
            let idle_max = if self.client.listens() || self.client.monitors { None } else { limits.idle };
            tokio::select! {
                // First what has come: it is answered even when the server is about to stop.
                biased;
                read = read(&mut self.stream, &mut self.input) => {
                    let len = read?;
                    if len == 0 {
                        return Ok(());
                    }
                    self.server.counters.bytes_in.fetch_add(len as u64, Ordering::Relaxed);
                }
                () = woken.as_mut() => woken.set(shown.wake.notified()),
                () = idle(idle_max) => return Ok(()),
                () = std::future::ready(()), if stopping => return self.stream.shutdown().await,
            }
        }
    }

    fn closed(&self, why: &str) {
        log::over_a_limit(&self.client.shown.address, why, &self.server.trouble.over_a_limit);
    }

    /// Why the client must go, if it must.
    fn over_a_limit(&mut self, limits: Limits) -> Option<&'static str> {
        let queued_len = self.client.transaction.as_ref().map_or(0, |transaction| transaction.len);
        let held_len = self.input.capacity() + self.out.len() + queued_len;
        let share = &self.client.share;
        match held_len.checked_sub(self.held_len) {
            Some(more) => share.grow(more),
            None => share.shrink(self.held_len - held_len),
        }
        self.held_len = held_len;
        if self.out.overran() {
            Some("a reply was longer than client-output-buffer-limit")
        } else if (self.input.len() + queued_len) as u64 > limits.request_len {
            Some("a request was longer than client-query-buffer-limit")
        } else if share.is_too_much() {
            Some("clients together hold more than maxmemory-clients, and this one more than its share")
        } else {
            None
        }
    }

    /// Runs the requests that are all there, as far as it can.
    fn run(&mut self, limits: Limits) -> Stopped {
        let mut at = 0;
        let mut last: Option<&'static Command> = None;
        let (mut stopped, mut put_back) = (Stopped::AtEnd, false);
        // The parser's words borrow the input, and running needs the rest.
        let input = std::mem::take(&mut self.input);
        let mut parser = std::mem::take(&mut self.parser);
        let word_len_max = i64::try_from(limits.word_len).unwrap_or(i64::MAX);
        self.out.len_max = self.client.share.replies_max();
        while !self.client.leaving {
            let limits = RequestLimits { word_len_max, known: self.client.user.is_some() };
            match parser.next(&input[at..], limits) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    if let Some(why) = self.stop_before(&request.words) {
                        (stopped, put_back) = (why, true);
                        break;
                    }
                    at += request.len;
                    if !request.words.is_empty() {
                        last = self.execute(&request.words).or(last);
                    }
                }
                Err(ProtocolError(text)) => {
                    self.out.error(&format!("ERR {text}"));
                    self.client.leaving = true;
                }
            }
            if self.out.len() > OUTPUT_LEN_MAX || self.client.later.is_some() {
                stopped = Stopped::Before;
                break;
            }
        }
        if put_back {
            // The request will be cut out of the input anew.
            parser = RequestParser::default();
        }
        (self.input, self.parser) = (input, parser);
        if at == self.input.len() {
            self.input.clear();
            self.input.shrink_to(IDLE_LEN);
        } else {
            self.input.drain(..at);
        }
        if let Some(command) = last {
            self.show(command);
        }
        stopped
    }

    /// Whether a request has to wait: for the end of a pause, or for a turn that has no room for it.
    fn stop_before(&mut self, words: &[&[u8]]) -> Option<Stopped> {
        if let Some(held) = self.server.pause.held()
            && self.is_held(held, words)
        {
            return Some(Stopped::Held);
        }
        let mut len: usize = words.iter().map(|word| word.len()).sum();
        if let Some(transaction) = &self.client.transaction
            && words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"exec"))
        {
            len += transaction.len;
        }
        let outcome = self.server.store.too_full_for(len)?;
        self.unsettled.push(outcome);
        Some(Stopped::Before)
    }

    /// Whether a pause holds this back: not what is refused anyway, nor what ends the pause.
    fn is_held(&self, held: Held, words: &[&[u8]]) -> bool {
        let Some(user) = self.client.user.as_ref().filter(|_| !words.is_empty()) else { return false };
        let Ok(command) = commands::resolve(words) else { return false };
        if user.may(command, words).is_err() || command.name == "client|unpause" {
            return false;
        }
        let writes = |command: &Command| command.flags.has(Flags::WRITE) || command.name == "publish";
        let queued = self.client.transaction.as_ref().filter(|_| command.name == "exec");
        held == Held::All
            || writes(command)
            || queued.is_some_and(|queued| queued.commands.iter().any(|(command, _)| writes(command)))
    }

    /// Has `CLIENT LIST` know of it.
    fn show(&self, command: &'static Command) {
        let client = &self.client;
        let age_ms = client.shown.began.elapsed().as_millis() as u64;
        client.shown.last_command_ms.store(age_ms, Ordering::Relaxed);
        client.shown.change(|state| {
            state.command = command.name;
            state.database = client.database;
            state.channels = client.channels.len();
            state.patterns = client.patterns.len();
            state.monitors = client.monitors;
            state.queued = client.transaction.as_ref().map(|transaction| transaction.commands.len());
        });
    }

    /// Runs one command, or queues it, and writes its reply.
    fn execute(&mut self, words: &[&[u8]]) -> Option<&'static Command> {
        let start = self.out.len();
        if is_http(words[0]) {
            self.client.leaving = true;
            return None;
        }
        if !self.client.heed(&self.server.users) {
            self.client.leaving = true;
            return None;
        }
        let command = commands::resolve(words);
        let named = command.as_ref().ok().copied();
        match command.and_then(|command| self.admit(command, words)) {
            Ok(Some(command)) => self.perform(command, words, start),
            Ok(None) => {}
            Err(refusal) => {
                if words[0].eq_ignore_ascii_case(b"exec") {
                    (self.client.transaction, self.client.watch) = (None, None);
                    let why = refusal.reply();
                    let why = why.strip_prefix("ERR ").unwrap_or(&why);
                    self.out.error(&format!("EXECABORT Transaction discarded because of: {why}"));
                } else {
                    if let Some(transaction) = &mut self.client.transaction {
                        transaction.aborted = true;
                    }
                    self.out.error(&refusal.reply());
                }
                self.server.counters.error(&refusal.reply());
                if let Some(command) = named {
                    self.server.counters.command(command).refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.client.wants_later = matches!(self.client.replies, Replies::On | Replies::SkipNext);
        match self.client.replies {
            Replies::On => {}
            Replies::SkipNext => self.client.replies = Replies::Skip,
            Replies::Skip => {
                self.client.replies = Replies::On;
                self.out.truncate(start);
            }
            Replies::Off => self.out.truncate(start),
        }
        named
    }

    /// The command, if it is to be run now; `None` if it was queued.
    fn admit(
        &mut self,
        command: &'static Command,
        words: &[&[u8]],
    ) -> Result<Option<&'static Command>, commands::Refusal> {
        let client = &mut self.client;
        match &client.user {
            Some(user) => user.may(command, words).map_err(|denied| {
                client.deny(&self.server.users, &denied);
                commands::Refusal::Text(denied.reply().into())
            })?,
            None if command.flags.has(Flags::NO_AUTH) => {}
            None => return Err(commands::Refusal::text("NOAUTH Authentication required.")),
        }
        if self.out.protocol == Protocol::Resp2 && client.listens() && !command.flags.has(Flags::LISTENING) {
            let name = command.name;
            let told = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context"
            );
            return Err(commands::Refusal::Text(told.into()));
        }
        if let Some(transaction) = &mut client.transaction
            && !command.flags.has(Flags::NOT_QUEUED)
        {
            if command.flags.has(Flags::NO_MULTI) {
                return Err(commands::Refusal::text("ERR Command not allowed inside a transaction"));
            }
            transaction.len += words.iter().map(|word| word.len() + WORD_OVERHEAD).sum::<usize>();
            transaction.commands.push((command, words.iter().map(|word| word.to_vec()).collect()));
            self.out.raw(b"+QUEUED\r\n");
            return Ok(None);
        }
        Ok(Some(command))
    }

    fn perform(&mut self, command: &'static Command, words: &[&[u8]], start: usize) {
        let server = &self.server;
        // Who has written and not settled must find what it wrote.
        let gather = command.flags.has(Flags::TURN) || !self.unsettled.is_empty();
        let data = if gather { server.store.gather() } else { server.store.present() };
        let mut context =
            Context { server, client: &mut self.client, data, out: &mut self.out, only_reads: false };
        commands::run(&mut context, command, words);
        let outcome = context.data.outcome();
        drop(context);
        let Some(outcome) = outcome else { return };
        if self.unsettled.last().is_none_or(|last| !Arc::ptr_eq(last, &outcome)) {
            self.unsettled.push(outcome);
        }
        self.waiting.push(Waiting { turn: self.unsettled.len() - 1, start, end: self.out.len() });
    }

    /// Waits for the turns that replies tell of, if they tell of any. Where one failed, its error takes the replies' place.
    async fn settle(&mut self) -> bool {
        if self.unsettled.is_empty() {
            return false;
        }
        let server = &self.server;
        let mut errors: Vec<(usize, Arc<cairndb::Error>)> = Vec::new();
        for (turn, outcome) in self.unsettled.iter().enumerate() {
            if let Err(error) = server.store.settle(outcome, |events| server.publish_events(events)).await {
                errors.push((turn, error));
            }
        }
        self.unsettled.clear();
        if errors.is_empty() {
            self.waiting.clear();
            return true;
        }
        let told = self.out.take();
        let mut at = 0;
        for Waiting { turn, start, end } in self.waiting.drain(..) {
            let Some((_, error)) = errors.iter().find(|(failed, _)| *failed == turn) else { continue };
            self.out.raw(&told[at..start]);
            if start < end {
                let told = engine_reply(error);
                self.server.counters.error(&told);
                self.out.error(&told);
            }
            at = end;
        }
        self.out.raw(&told[at..]);
        true
    }
}

/// Returns when a client has had so much time; never, where there is no bound.
async fn idle(max: Option<Duration>) {
    match max {
        Some(max) => tokio::time::sleep(max).await,
        None => std::future::pending().await,
    }
}

thread_local! {
    /// What has been read and belongs to nobody yet: so who is silent needs no memory to be listened to.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_LEN].into());
}

/// Reads what there is, once there is something, behind what `input` holds; returns how much, 0 at the end. Memory grows
/// with what came, not with what was announced.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut room))?;
            input.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    })
    .await
}

async fn killed<'a>(shown: &'a Shown, mut woken: Pin<&mut Notified<'a>>) {
    while !shown.killed.load(Ordering::Relaxed) {
        woken.as_mut().await;
        woken.set(shown.wake.notified());
    }
}

/// Whether this is the start of what a browser sends: somebody has it talk to a port that it should not.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}
