//! A credential service whose responses a test chooses, served by tonic or, for responses that tonic would not send, by
//! plain h2.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::pending;
use http::{HeaderMap, HeaderValue, Response};
use longshore::{
    credentials::GrpcSettings,
    pb::{
        GetCredentialsRequest, GetCredentialsResponse, S3Credential,
        credential_provider_service_server::{CredentialProviderService, CredentialProviderServiceServer},
    },
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// What the service answers; `None`: nothing.
pub(crate) type Answer = Option<Result<GetCredentialsResponse, Status>>;

type Script = dyn Fn(usize) -> Answer + Send + Sync;

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The client's address, which is different for each connection.
    pub(crate) peer: SocketAddr,
    pub(crate) tenant: String,
    pub(crate) store: String,
    pub(crate) metadata: HeaderMap,
    /// The number of certificates with which the client authenticated itself.
    pub(crate) certificates: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Credentials with this id, and the token `t-ID`.
pub(crate) fn credential(id: &str, expires_at: Option<SystemTime>) -> S3Credential {
    S3Credential {
        access_key_id: id.to_owned(),
        secret_access_key: "s3cret-key".to_owned(),
        token: Some(format!("t-{id}")),
        expires_at: expires_at.map(Into::into),
    }
}

pub(crate) fn found(id: &str) -> Answer {
    let expires_at = SystemTime::now() + Duration::from_hours(1);
    Some(Ok(GetCredentialsResponse { credential: Some(credential(id, Some(expires_at))) }))
}

struct Service {
    script: Box<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[tonic::async_trait]
impl CredentialProviderService for Service {
    async fn get_credentials(
        &self,
        request: Request<GetCredentialsRequest>,
    ) -> Result<tonic::Response<GetCredentialsResponse>, Status> {
        let certificates = request.peer_certs().map_or(0, |certificates| certificates.len());
        let peer = request.remote_addr().unwrap();
        let metadata = request.metadata().clone().into_headers();
        let GetCredentialsRequest { tenant, store } = request.into_inner();
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Asked { peer, tenant, store, metadata, certificates });
            asked.len() - 1
        };
        match (self.script)(number) {
            Some(answer) => answer.map(tonic::Response::new),
            None => pending().await,
        }
    }
}

/// The service. It ends with the runtime of its test.
pub(crate) struct CredentialServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl CredentialServer {
    /// Answers each request by `script`, which gets its number, counted from 0.
    pub(crate) async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(Server::builder(), script).await
    }

    /// The same, with TLS. Clients need a certificate of `clients`, if it is given.
    pub(crate) async fn start_tls(
        pair: &Pair,
        clients: Option<&Authority>,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(&pair.cert, &pair.key));
        if let Some(clients) = clients {
            tls = tls.client_ca_root(Certificate::from_pem(clients.pem()));
        }
        Self::on(Server::builder().tls_config(tls).unwrap(), script).await
    }

    async fn on(mut server: Server, script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let service = Service { script: Box::new(script), asked: Arc::clone(&asked) };
        let router = server.add_service(CredentialProviderServiceServer::new(service));
        tokio::task::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn settings(&self) -> GrpcSettings {
        settings(format!("http://{}", self.address))
    }

    /// The settings of a server with a certificate for `localhost`.
    pub(crate) fn tls_settings(&self, ca_file: Option<PathBuf>) -> GrpcSettings {
        GrpcSettings {
            ca_file: ca_file.map(Into::into),
            ..settings(format!("https://localhost:{}", self.address.port()))
        }
    }
}

pub(crate) fn settings(endpoint: String) -> GrpcSettings {
    GrpcSettings {
        refuse_local: false,
        endpoint,
        tenant: "acme".to_owned(),
        store: "reports".to_owned(),
        ca_file: None,
        token_file: None,
        client_certificate: None,
        timeout: Duration::from_secs(5),
    }
}

/// Answers every request with these bytes over HTTP/2, and with these trailers, if there are any. Also returns how many
/// connections the client has closed.
pub(crate) async fn raw(
    head: Response<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closing, closed) = watch::channel(0);
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (head, body, trailers) = (head.clone(), Bytes::from(body.clone()), trailers.clone());
            let closing = closing.clone();
            tokio::task::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut sending = respond.send_response(head.clone(), false).unwrap();
                    sending.send_data(body.clone(), trailers.is_none()).unwrap();
                    if let Some(trailers) = &trailers {
                        sending.send_trailers(trailers.clone()).unwrap();
                    }
                }
                closing.send_modify(|count| *count += 1);
            });
        }
    });
    (address, closed)
}

/// The headers of a gRPC response.
pub(crate) fn grpc_head() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    head
}

pub(crate) fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // With equal names, one would be taken for the other.
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {}", fastrand::u64(..)));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { issuer: rcgen::CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for this name.
    pub(crate) fn issue(&self, name: &str) -> Pair {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// Writes a file. Returns its path.
pub(crate) fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}
