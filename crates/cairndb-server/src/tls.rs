//! TLS: what keeps others from reading along, on every port that is listened on.
//!
//! The certificate and its key are two files in PEM. They are read when the server starts, and again whenever it is asked to
//! (`SIGHUP`): clients that come later meet the new certificate, those that are there keep theirs. Files that cannot be
//! used change nothing but the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::listen::Error;
use crate::settings::Config;

/// How long a client may take to agree on a key.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is needed to speak TLS, and where it comes from.
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// What the settings ask for; `None` if they ask for nothing.
    ///
    /// Errors: `Settings`, naming the file that cannot be used, or the setting that is missing.
    pub(crate) fn of(config: &Config) -> Result<Option<Tls>, Error> {
        match (&config.tls_cert, &config.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Tls::load(cert, key).map(Some).map_err(Error::Settings),
            (Some(_), None) => Err(Error::Settings("tls-cert needs tls-key".into())),
            (None, Some(_)) => Err(Error::Settings("tls-key needs tls-cert".into())),
        }
    }

    /// Reads both files. The error names the one that cannot be used.
    fn load(cert: &Path, key: &Path) -> Result<Tls, String> {
        let acceptor = RwLock::new(acceptor(cert, key)?);
        Ok(Tls { cert: cert.into(), key: key.into(), acceptor })
    }

    /// Reads both files anew, for clients that come from now on.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let acceptor = acceptor(&self.cert, &self.key)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    /// Agrees with a client on a key.
    ///
    /// Errors: `TimedOut`, or what was wrong with what the client said.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await?
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let named = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let certs = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.map_err(|error| named(cert, &error))?;
    if certs.is_empty() {
        return Err(named(cert, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(certs, private))
        .map_err(|error| named(key, &format_args!("this does not go with {}: {error}", cert.display())))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
