//! Downloads over TLS, with certificate authorities made for each test.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use common::{Answer, Bench, Request, Server, content, ranged, remote, status, whole};
use fewshot_fetch::{Error, Proxies, RootCertificates};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    fn roots(&self) -> RootCertificates {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.0.pem()).unwrap();
        RootCertificates::from_pem(file.path()).unwrap()
    }

    fn server(&self, host: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let certificates = vec![certificate.der().clone()];
        Arc::new(builder.with_no_client_auth().with_single_cert(certificates, key).unwrap())
    }
}

/// Answers a number of connections over TLS; returns the port.
fn serve(
    config: Arc<ServerConfig>,
    connections: usize,
    handler: impl Fn(&Request) -> Answer + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().take(connections).enumerate() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not trust the certificate closes the connection.
            let _ = answer(StreamOwned::new(connection, stream.unwrap()), number, &handler);
        }
    });
    port
}

fn answer(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    number: usize,
    handler: &impl Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 10_000 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut lines = String::from_utf8_lossy(&head).into_owned();
    lines.truncate(lines.trim_end().len());
    let mut lines = lines.lines().map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let reply = handler(&Request { number, line, headers: lines.collect() });
    stream.write_all(&reply.bytes)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}/file")
}

#[test]
fn a_file_arrives_over_tls_and_resumes() {
    let (authority, body) = (Authority::new(), content());
    let sent = body.clone();
    let port =
        serve(authority.server("127.0.0.1"), 9, move |request| ranged(&sent, request, 60_000, &[]));
    let mut bench = Bench::new();
    bench.downloader.roots = authority.roots();
    let done = bench.fetch(&remote(&body, &[url(port)]));
    bench.check(done, &body);
    assert!(bench.events.contains(&"asking from 60000".into()), "{:?}", bench.events);
}

#[test]
fn servers_that_nobody_vouches_for_are_refused_at_once() {
    let (authority, body) = (Authority::new(), content());
    let served = || move |_: &Request| whole(&content(), usize::MAX, &[]);
    let sent = body.clone();
    let plain = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    let other_host = serve(authority.server("other.example"), 9, served());
    let other_authority = serve(Authority::new().server("127.0.0.1"), 9, served());
    for port in [other_host, other_authority] {
        let mut bench = Bench::new();
        bench.downloader.roots = authority.roots();
        let done = bench.fetch(&remote(&body, &[url(port), plain.url("/file")]));
        bench.check(done, &body);
        assert!(bench.waited().is_empty(), "{:?}", bench.events);
        assert!(bench.events[1].starts_with("given up: "), "{:?}", bench.events);
    }
    // A server without TLS closes the connection, which could be transient.
    let error = Bench::new().fetch(&remote(&body, &[url(plain.port)])).unwrap_err().to_string();
    assert!(error.contains("6 tries"), "{error}");
    // The built-in authorities have not signed its certificate either.
    let port = serve(authority.server("127.0.0.1"), 9, served());
    let error = Bench::new().fetch(&remote(&body, &[url(port)])).unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn a_redirect_out_of_tls_is_not_followed() {
    let (authority, body) = (Authority::new(), content());
    let sent = body.clone();
    let plain = Server::start(move |request| ranged(&sent, request, usize::MAX, &[]));
    let location = format!("Location: {}", plain.url("/file"));
    let port = serve(authority.server("127.0.0.1"), 9, move |_| status("302 Found", &[&location]));
    let mut bench = Bench::new();
    bench.downloader.roots = authority.roots();
    let error = bench.fetch(&remote(&body, &[url(port)])).unwrap_err().to_string();
    assert!(error.contains("a redirect from https to `http://127.0.0.1"), "{error}");
    assert!(plain.log().is_empty() && bench.files().is_empty());
}

#[test]
fn a_proxy_passes_tls_through() {
    let (authority, body) = (Authority::new(), content());
    let sent = body.clone();
    let port = serve(authority.server("127.0.0.1"), 9, move |request| {
        ranged(&sent, request, usize::MAX, &[])
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap().port();
    let tunnel = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && head.len() < 10_000 {
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        up.join().unwrap();
        String::from_utf8(head).unwrap()
    });
    let mut bench = Bench::new();
    bench.downloader.roots = authority.roots();
    let address = format!("http://127.0.0.1:{proxy}");
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| address.clone());
    bench.downloader.proxies = Proxies::from_variables(variable).unwrap();
    let done = bench.fetch(&remote(&body, &[url(port)]));
    bench.check(done, &body);
    let head = tunnel.join().unwrap();
    assert!(head.starts_with(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n")), "{head}");
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for content in ["", "none", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(file.path(), content).unwrap();
        let error = RootCertificates::from_pem(file.path()).unwrap_err();
        assert!(matches!(error, Error::RootCertificates { .. }), "{error}");
        assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    }
    let error =
        RootCertificates::from_pem(std::path::Path::new("no/such.pem")).unwrap_err().to_string();
    assert!(error.contains("no/such.pem"), "{error}");
}
