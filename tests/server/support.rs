//! A server that runs in the test's process, and clients for it.

use std::{net::SocketAddr, path::Path, time::Duration};

use longshore::{
    auth::AuthMode,
    server::{LiveTenants, Server, ServerError, ServerSettings, TlsFiles},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};
use tonic::{
    Status,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

/// How long a server may take to start or to end. A test that waits longer has failed.
const LONGEST: Duration = Duration::from_mins(1);

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Settings with any free ports, no tenants and no authentication.
pub(crate) fn settings() -> ServerSettings {
    ServerSettings {
        listen_addr: SocketAddr::from(ANY_PORT),
        health_addr: SocketAddr::from(ANY_PORT),
        auth: AuthMode::None,
        ..ServerSettings::default()
    }
}

/// A running server. Dropping it aborts the server.
pub(crate) struct Running {
    pub(crate) grpc: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) tenants: LiveTenants,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinSet<Result<(), ServerError>>,
}

impl Running {
    /// Starts a server, and waits until it reports that it is ready.
    pub(crate) async fn start(settings: ServerSettings) -> Self {
        let server = Server::bind(settings).await.unwrap();
        let (grpc, health, tenants) = (server.listen_addr(), server.health_addr(), server.tenants());
        let (shutdown, told) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(server.run(async {
            let _ = told.await;
        }));
        let ready = async { while !get(health, "/readyz").await.starts_with("HTTP/1.1 200 ") {} };
        timeout(LONGEST, ready).await.expect("the server is ready within a minute");
        Self { grpc, health, tenants, shutdown: Some(shutdown), serving }
    }

    pub(crate) fn begin_shutdown(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    /// Shuts the server down, and waits for its end. Fails after a minute, whatever the grace is.
    pub(crate) async fn stop(mut self) {
        self.begin_shutdown();
        let ended = timeout(LONGEST, self.serving.join_next()).await;
        ended.expect("the server ends within a minute").unwrap().unwrap().unwrap();
    }
}

/// The whole response to a GET over HTTP/1.1.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A connection to a server without TLS.
pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The status of a call to a method that does not exist.
pub(crate) async fn unknown_method(address: SocketAddr, path: &'static str) -> Status {
    let mut client = Grpc::new(channel(address).await);
    client.ready().await.unwrap();
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let request = tonic::Request::new(HealthCheckRequest::default());
    client.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.unwrap_err()
}

/// A key and a self-signed certificate for `localhost`, both in PEM.
pub(crate) fn certificate() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (pair.signing_key.serialize_pem(), pair.cert.pem())
}

/// `settings` with a certificate in `folder`. Also returns that certificate, which callers have to trust.
pub(crate) fn with_tls(mut settings: ServerSettings, folder: &Path) -> (ServerSettings, String) {
    let (key, cert) = certificate();
    let [cert_file, key_file] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    let files = TlsFiles { cert: cert_file, key: key_file, client_ca: None, client_crl: None };
    std::fs::write(&files.cert, &cert).unwrap();
    std::fs::write(&files.key, key).unwrap();
    settings.tls = Some(files);
    (settings, cert)
}

pub(crate) async fn tls_channel(
    address: SocketAddr,
    authority: &str,
) -> Result<Channel, tonic::transport::Error> {
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
    Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?.connect().await
}
