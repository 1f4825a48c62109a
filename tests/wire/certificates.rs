//! TLS with servers whose certificates are not signed by an authority of the system.

use std::sync::Arc;

use longshore::{
    credentials::{AssumeRoleSettings, Credentials, ProviderSettings},
    store::{Error, ReadOptions, StoreSettings},
    transport::RootCertificates,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    credential_server::{Authority, Pair},
    scripted::{Scripted, reply, store},
};

/// Accepts TLS connections for a server. Returns the port.
async fn with_tls(server: &Scripted, pair: &Pair) -> u16 {
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.address);
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::task::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut plain = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut plain).await;
                }
            });
        }
    });
    port
}

fn roots(authority: &Authority) -> Option<RootCertificates> {
    Some(RootCertificates::from_pem("ca.pem", authority.pem().as_bytes()).unwrap())
}

async fn head(settings: StoreSettings) -> Result<(), Error> {
    store(settings).head("k", &ReadOptions::default()).await.map(drop)
}

#[tokio::test]
async fn a_server_is_trusted_if_its_authority_is_among_the_root_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let s3 = Scripted::start(|_, _| reply(200, &[("etag", "\"e\""), ("content-length", "3")], "")).await;
    let port = with_tls(&s3, &authority.issue("localhost")).await;
    let mut settings = s3.settings();
    settings.bucket.endpoint = Some(format!("https://localhost:{port}"));
    settings.client_options.allow_http = false;
    for (trusted, without_system, is_trusted) in [
        (None, false, false),
        (roots(&other), false, false),
        (roots(&other), true, false),
        (roots(&authority), false, true),
        (roots(&authority), true, true),
    ] {
        settings.client_options.root_certificates = trusted;
        settings.client_options.disable_system_certificates = without_system;
        let outcome = head(settings.clone()).await;
        let text = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(outcome.is_ok(), is_trusted, "{text}");
        assert!(is_trusted || text.contains("certificate"), "{text}");
    }
    assert_eq!(s3.seen().len(), 2);
}

#[tokio::test]
async fn sts_is_reached_with_the_stores_certificates() {
    let authority = Authority::new();
    let s3 = Scripted::start(|_, _| reply(200, &[("etag", "\"e\""), ("content-length", "3")], "")).await;
    let sts = Scripted::start(|_, _| {
        let credentials = "<Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                           <SessionToken>t</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration></Credentials>";
        let result = format!("<AssumeRoleResult>{credentials}</AssumeRoleResult>");
        reply(200, &[], &format!("<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{result}</AssumeRoleResponse>"))
    })
    .await;
    let port = with_tls(&sts, &authority.issue("localhost")).await;
    let mut settings = s3.settings();
    settings.credential_provider = ProviderSettings::AssumeRole(Box::new(AssumeRoleSettings {
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        session_name: "longshore".to_owned(),
        external_id: None,
        duration: None,
        session_tags: Vec::new(),
        endpoint: Some(format!("https://localhost:{port}")),
        region: None,
        source: ProviderSettings::Static(Credentials::new("AKID", "secret", None)),
    }));
    let error = head(settings.clone()).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    settings.client_options.root_certificates = roots(&authority);
    head(settings).await.unwrap();
    assert!(s3.seen()[0].header("authorization").unwrap().contains("Credential=ROLE/"));
}
