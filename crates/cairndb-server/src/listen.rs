//! Listening: where clients come in, and how the server begins and ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cairndb::Db;
use cairndb::storage::Native;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connection::Connection;
use crate::http;
use crate::log;
use crate::metrics::{self, StorageMeter, Timed};
use crate::server::Server;
use crate::settings::Config;
use crate::socket;
use crate::threads::Threads;
use crate::tls::Tls;

/// How long clients have to take their last replies.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the engine is asked how it is.
const LOOK: Duration = Duration::from_secs(1);

/// Why a server did not start, or did not end well.
#[derive(Debug)]
pub enum Error {
    /// The database's.
    Engine(cairndb::Error),
    /// A setting cannot be so: which, where it was set, and why.
    Settings(String),
    /// Nobody can listen there.
    Listen {
        /// Which protocol was to be spoken.
        protocol: Protocol,
        /// Where.
        address: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The network's, or the operating system's.
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Redis's.
    Redis,
    /// HTTP.
    Http,
}

/// A server that runs, on threads of its own.
pub struct Running {
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    http: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
    clients: Threads,
    server: Arc<Server>,
    db: Db,
}

/// Opens the database and serves it.
///
/// Errors: `Engine` as `cairndb::Options::open`; `Listen` where nobody can listen; `Io`.
///
/// ```
/// # use cairndb_server::{Config, Durability, Http};
/// # let directory = std::env::temp_dir().join(format!("cairn-doc-{}", std::process::id()));
/// let running = cairndb_server::start(Config {
///     directory: directory.clone(),
///     listen: "127.0.0.1:0".into(),
///     durability: Durability::Os,
///     http: Http { listen: "127.0.0.1:0".into(), ..Http::default() },
///     ..Config::default()
/// })?;
/// println!("redis-cli -p {}", running.address().port());
/// println!("curl http://{}/v1/kv/greeting", running.http_address().expect("it was asked for"));
/// running.stop()?;
/// # std::fs::remove_dir_all(directory).ok();
/// # Ok::<(), cairndb_server::Error>(())
/// ```
pub fn start(config: Config) -> Result<Running, Error> {
    start_on(runtime()?, config)
}

/// The threads that a server runs on.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|source| Error::io("cannot start threads", source))
}

/// As [`start`], on threads that run already.
pub(crate) fn start_on(runtime: Runtime, mut config: Config) -> Result<Running, Error> {
    let options = cairndb::Options {
        memory_budget_bytes: config.memory_budget_bytes,
        durability: config.durability,
        keep_changes_bytes: config.keep_changes_bytes,
        ..cairndb::Options::default()
    };
    // Before the database: a busy port must not cost a recovery.
    let (listener, address) = runtime.block_on(bind(Protocol::Redis, &config.listen, &config))?;
    let http_listener = match &*config.http.listen {
        "" => None,
        listen => Some(runtime.block_on(bind(Protocol::Http, listen, &config))?),
    };
    let tls = Tls::of(&config)?;
    log::opening(&config);
    let meter = Arc::new(StorageMeter::default());
    let storage = Native::create(&config.directory)
        .map_err(|source| Error::io(&format!("cannot open {}", config.directory.display()), source))?;
    let db = options.open_storage(Arc::new(Timed::new(storage, meter.clone()))).map_err(Error::Engine)?;
    log::opened(db.recovery());
    let threads = Threads::start(crate::threads::count());
    let clients = threads.map_err(|source| Error::io("cannot start threads", source))?;
    config.listen = address.to_string();
    let mut server = Server::new(db.clone(), meter, config).map_err(Error::Engine)?;
    server.tls = tls;
    let server = Arc::new(server);
    let http_address = http_listener.as_ref().map(|(_, address)| *address);
    log::serving(&server.settings(), address, http_address);
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(watch_engine(db.clone(), stopped.clone()));
    runtime.spawn(crate::sweep::sweep(server.clone(), stopped.clone()));
    runtime.spawn(metrics::watch_rates(server.clone(), stopped.clone()));
    runtime.spawn(accept(server.clone(), clients.handles(), listener, stopped.clone()));
    let http = http_listener
        .map(|(listener, _)| runtime.spawn(http::accept(server.clone(), listener, stopped.clone())));
    Ok(Running { address, http_address, http, stop, runtime, clients, server, db })
}

async fn bind(protocol: Protocol, place: &str, config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = socket::listen(protocol, place, config).await?;
    let address = listener.local_addr().map_err(|source| Error::io("cannot tell the address", source))?;
    Ok((listener, address))
}

impl Running {
    /// Where the Redis protocol is spoken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where HTTP is, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Returns when a client has asked for the end, by `SHUTDOWN`. It is up to the caller to bring it about.
    pub fn until_asked_to_end(&self) {
        self.block_on(self.until_client_asks());
    }

    pub(crate) async fn until_client_asks(&self) {
        self.server.until_asked_to_end().await;
    }

    /// Reads the certificate and its key anew, for clients that come from now on. What cannot be used changes nothing but
    /// the log.
    pub fn reload_certificate(&self) {
        self.server.reload_certificate();
    }

    /// The same, whenever this signal comes.
    pub(crate) fn reload_certificate_on(&self, mut signal: Signal) {
        let server = self.server.clone();
        self.runtime.spawn(async move {
            while signal.recv().await.is_some() {
                server.reload_certificate();
            }
        });
    }

    /// Waits for something, in this thread, on the server's runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Takes no more clients, answers what those who are there have sent, and closes the database.
    ///
    /// Errors: `Engine` as `cairndb::Db::close`.
    pub fn stop(self) -> Result<(), Error> {
        log::closing(self.server.clients().len());
        _ = self.stop.send(true);
        self.server.clients().iter().for_each(|client| client.wake.notify_one());
        let drained = async {
            if let Some(http) = self.http {
                _ = http.await;
            }
            while !self.server.clients().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        _ = self.runtime.block_on(async { tokio::time::timeout(DRAIN, drained).await });
        log::drained(self.server.clients().len());
        self.clients.end();
        self.runtime.shutdown_timeout(DRAIN);
        let closed = self.db.close();
        log::closed(&closed);
        closed.map_err(Error::Engine)
    }
}

impl Error {
    pub(crate) fn io(what: &str, source: io::Error) -> Error {
        Error::Io { what: what.to_string(), source }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Engine(error) => error.fmt(f),
            Error::Settings(what) => f.write_str(what),
            Error::Listen { address, source, .. } => write!(f, "cannot listen on {address}: {source}"),
            Error::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Engine(error) => Some(error),
            Error::Settings(_) => None,
            Error::Listen { source, .. } | Error::Io { source, .. } => Some(source),
        }
    }
}

/// Tells the log what the engine says of itself.
async fn watch_engine(db: Db, mut stopped: watch::Receiver<bool>) {
    let mut log = log::Engine::default();
    while !*stopped.borrow() {
        log.look(db.stats());
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.changed() => {}
        }
    }
}

async fn accept(
    server: Arc<Server>,
    threads: Vec<Handle>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    // They take turns.
    for thread in threads.iter().cycle() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => _ = welcome(&server, thread, stream, peer, &stopped),
            // Most often there are no file descriptors left: clients that go give some back.
            Err(error) => {
                log::not_accepted(&error, &server.trouble.accept);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Gives a client to a thread. One that has gone again, so that its socket tells nothing, is let go.
fn welcome(
    server: &Arc<Server>,
    thread: &Handle,
    stream: TcpStream,
    peer: SocketAddr,
    stopped: &watch::Receiver<bool>,
) -> io::Result<()> {
    socket::prepare(&stream, server.limits());
    let local = stream.local_addr()?.to_string();
    let (server, stopped, stream) = (server.clone(), stopped.clone(), stream.into_std()?);
    thread.spawn(async move {
        // The thread's own scheduler is to look after it.
        let mut stream = TcpStream::from_std(stream)?;
        let Some(mut client) = server.enter(peer.to_string(), local) else {
            log::refused(peer, "there are as many as there may be", &server.trouble.refused);
            return match server.tls {
                None => stream.write_all(b"-ERR max number of clients reached\r\n").await,
                Some(_) => Ok(()),
            };
        };
        // A client that breaks off is no concern of anybody else's.
        let Some(tls) = &server.tls else {
            return Connection::new(server.clone(), stream, client).serve(stopped).await;
        };
        match tls.accept(stream).await {
            Ok(stream) => Connection::new(server.clone(), stream, client).serve(stopped).await,
            Err(error) => {
                log::refused(peer, &format!("TLS: {error}"), &server.trouble.refused);
                server.leave(&mut client);
                Ok(())
            }
        }
    });
    Ok(())
}
