//! TLS: what only the right certificate opens, and how it is changed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairndb_server::{Config, Error};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Served;

type Tls = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Writes a certificate for `localhost` and its key, and returns the certificate.
fn certify(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).expect("it is written");
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("it is written");
    made.cert.der().clone()
}

fn with_tls(directory: &Path) -> impl FnOnce(&mut Config) {
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    move |config| (config.tls_cert, config.tls_key) = (Some(cert), Some(key))
}

/// A client that trusts this certificate and no other.
fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("it is a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("it can begin");
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes options");
    BufReader::new(StreamOwned::new(connection, stream))
}

fn ask(client: &mut Tls, line: &str) -> std::io::Result<String> {
    client.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
    let mut reply = String::new();
    client.read_line(&mut reply)?;
    Ok(reply.trim_end().into())
}

#[test]
fn with_a_certificate_only_tls_is_spoken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let trusted = certify(directory.path());
    let served = Served::with(with_tls(directory.path()));
    let mut client = connect(served.address(), &trusted);
    assert_eq!(ask(&mut client, "PING").expect("a reply"), "+PONG");
    let value = "x".repeat(1 << 20);
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}", value.len());
    assert_eq!(ask(&mut client, &request).expect("a reply"), "+OK");
    assert_eq!(ask(&mut client, "GET a").expect("a reply"), "$1048576");
    let mut got = vec![0; value.len() + 2];
    client.read_exact(&mut got).expect("a value");
    assert!(got.starts_with(value.as_bytes()));

    let mut plain = TcpStream::connect(served.address()).expect("somebody listens");
    plain.write_all(b"PING\r\n").expect("it is sent");
    let mut told = Vec::new();
    _ = plain.read_to_end(&mut told);
    assert!(!told.starts_with(b"+PONG"), "{told:?}");
    // Who says nothing at all keeps nobody waiting.
    let _silent = TcpStream::connect(served.address()).expect("somebody listens");
    assert_eq!(ask(&mut client, "PING").expect("a reply"), "+PONG");
}

#[test]
fn http_speaks_tls_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let trusted = certify(directory.path());
    let served = Served::with(with_tls(directory.path()));
    let address = served.running.as_ref().and_then(|running| running.http_address()).expect("HTTP is served");
    let mut client = connect(address, &trusted);
    let request = "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let told = ask(&mut client, request).expect("a reply");
    assert!(told.starts_with("HTTP/1.1 20"), "{told}");
    assert_eq!(ask(&mut connect(served.address(), &trusted), "GET a").expect("a reply"), "$5");

    let mut plain = TcpStream::connect(address).expect("somebody listens");
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is sent");
    let mut told = Vec::new();
    _ = plain.read_to_end(&mut told);
    assert!(!told.starts_with(b"HTTP/1.1"), "{told:?}");
}

#[test]
fn a_new_certificate_is_for_those_who_come_later() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let old = certify(directory.path());
    let served = Served::with(with_tls(directory.path()));
    let running = served.running.as_ref().expect("it runs");
    let mut early = connect(served.address(), &old);
    assert_eq!(ask(&mut early, "PING").expect("a reply"), "+PONG");
    let new = certify(directory.path());
    running.reload_certificate();
    assert_eq!(ask(&mut early, "PING").expect("a reply"), "+PONG", "what was agreed on stays");
    assert_eq!(ask(&mut connect(served.address(), &new), "PING").expect("a reply"), "+PONG");
    ask(&mut connect(served.address(), &old), "PING").expect_err("that certificate is not shown any more");

    std::fs::write(directory.path().join("cert.pem"), "nothing").expect("it is written");
    running.reload_certificate();
    assert_eq!(ask(&mut connect(served.address(), &new), "PING").expect("a reply"), "+PONG", "it stays");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = directory.path();
    let told = |change: &dyn Fn(&mut Config)| {
        let mut config =
            Config { directory: place.join("db"), listen: "127.0.0.1:0".into(), ..Config::default() };
        with_tls(place)(&mut config);
        change(&mut config);
        match cairndb_server::start(config) {
            Err(Error::Settings(why)) => why,
            other => panic!("{:?}", other.map(|running| running.address())),
        }
    };
    certify(place);
    let cert = std::fs::read(place.join("cert.pem")).expect("it is there");
    std::fs::remove_file(place.join("cert.pem")).expect("it was there");
    assert!(told(&|_| {}).starts_with(&format!("{}: ", place.join("cert.pem").display())));
    std::fs::write(place.join("cert.pem"), "nothing").expect("it is written");
    assert!(told(&|_| {}).ends_with("there is no certificate in it"));
    std::fs::write(place.join("cert.pem"), cert).expect("it is written");
    // Another certificate's key.
    std::fs::create_dir(place.join("other")).expect("it is made");
    certify(&place.join("other"));
    std::fs::rename(place.join("other/key.pem"), place.join("key.pem")).expect("it is moved");
    let why = told(&|_| {});
    assert!(why.contains("key.pem: this does not go with ") && why.contains("cert.pem"), "{why}");
    assert_eq!(told(&|config| config.tls_key = None), "tls-cert needs tls-key");
    assert!(!place.join("db").exists(), "nothing is made");
}
