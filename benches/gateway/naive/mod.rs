//! The gateway that a good engineer would write in a day with tonic and object_store. It implements the same contract,
//! but has no checksums, no authentication, no metrics and no log.

mod convert;
mod read;
mod service;
mod upload;

use std::fs;

use clap::Args;
use longshore::pb::object_service_server::ObjectServiceServer;
use object_store::{
    Certificate, ClientOptions,
    aws::{AmazonS3, AmazonS3Builder},
};
use tokio::net::TcpListener;
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

use self::service::Naive;
use crate::{Outcome, role, tls::ServerFiles};

/// The HTTP/2 setting with the largest effect on performance.
const LARGEST_FRAME: u32 = 256 * 1024;

/// The naive gateway's arguments.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The backend's URL
    #[arg(long)]
    endpoint: String,
    /// The bucket
    #[arg(long)]
    bucket: String,
    /// Sign payloads
    #[arg(long)]
    signed: bool,
    /// Certificate authority to trust in addition to the system's, PEM
    #[arg(long)]
    authority: Option<std::path::PathBuf>,
    #[command(flatten)]
    tls: ServerFiles,
}

/// Serves until the driver exits.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let store = store(&settings)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut server = Server::builder().max_frame_size(LARGEST_FRAME);
    if let (Some(cert), Some(key)) = (&settings.tls.cert, &settings.tls.key) {
        let identity = Identity::from_pem(fs::read(cert)?, fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let service = ObjectServiceServer::new(Naive::new(store));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    role::ready(address)?;
    server.add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}

fn store(settings: &Settings) -> Outcome<AmazonS3> {
    let mut options = ClientOptions::new().with_allow_http(true);
    if let Some(authority) = &settings.authority {
        options = options.with_root_certificate(Certificate::from_pem(&fs::read(authority)?)?);
    }
    let builder = AmazonS3Builder::new()
        .with_client_options(options)
        .with_endpoint(&settings.endpoint)
        .with_region("us-east-1")
        .with_bucket_name(&settings.bucket)
        .with_access_key_id(crate::shipped::ACCESS_KEY_ID)
        .with_secret_access_key(crate::shipped::SECRET_ACCESS_KEY)
        .with_unsigned_payload(!settings.signed);
    Ok(builder.build()?)
}
