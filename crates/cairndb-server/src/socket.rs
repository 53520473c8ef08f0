//! Sockets: where clients come in, and what each connection gets from the operating system.

use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::listen::{Error, Protocol};
use crate::settings::{Config, Limits};

/// Listens at `place`, a host and a port; where the host has several addresses, at the first that can be had.
///
/// Errors: `Listen`; `Settings` for a place that others can reach, where nobody asks them for a password.
pub(crate) async fn listen(protocol: Protocol, place: &str, config: &Config) -> Result<TcpListener, Error> {
    let cannot = |source| Error::Listen { protocol, address: place.to_string(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host(place).await.map_err(cannot)? {
        protect(address, config)?;
        match listen_at(address, config.limits.backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(cannot(last))
}

/// Prepares a connection that was accepted. What the system refuses, the connection goes without.
pub(crate) fn prepare(stream: &TcpStream, limits: Limits) {
    _ = stream.set_nodelay(true);
    if let Some(time) = limits.keepalive {
        // As Redis: it is asked three times before it is given up.
        let keepalive = TcpKeepalive::new()
            .with_time(time)
            .with_interval((time / 3).max(std::time::Duration::from_secs(1)));
        _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}

/// Whoever can reach the database can take it, or take it away.
fn protect(address: SocketAddr, config: &Config) -> Result<(), Error> {
    if address.ip().is_loopback() || config.password.is_some() || config.unprotected {
        return Ok(());
    }
    Err(Error::Settings(format!(
        "{address} can be reached from other machines, and no password is asked for: set requirepass, or listen on 127.0.0.1; \
         --unprotected serves whoever comes, who may then read, change and delete everything"
    )))
}

fn listen_at(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that starts again must not wait until the last one's connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}
