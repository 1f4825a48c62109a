//! `longshore demo`: a ready-made tenant, backed by an S3 server in the same process.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{
    USAGE, failed, output,
    signals::{FirstSignal, until_signalled},
};
use crate::{
    auth::AuthMode,
    credentials::{Credentials, ProviderSettings},
    embedded::{Embedded, EmbeddedError},
    s3::BucketSettings,
    server::{AdminSettings, Server, ServerError, ServerSettings, UploadKeys, UploadSettings},
    store::StoreSettings,
    telemetry::{self, LogSettings},
    tenants::TenantSettings,
};

const TENANT: &str = "demo";
const STORE: &str = "default";
const BUCKET: &str = "demo";

/// The arguments of `longshore demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for objects and access keys; created if missing, kept between runs
    #[arg(long, value_name = "FOLDER", default_value = "./longshore-data")]
    data: PathBuf,
    /// Address of the gRPC listener, which has no authentication; must be a loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address of the S3 server; must be a loopback address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    s3_listen: SocketAddr,
    /// Address of the health and metrics listener; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    health_listen: SocketAddr,
    /// Address of the admin listener; must be a loopback address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// Log filter, in the syntax of RUST_LOG; the default logs every call, and all warnings and errors
    #[arg(long, value_name = "FILTER", env = "LONGSHORE_LOG", default_value = "warn,longshore::access=info")]
    log: String,
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl Demo {
    pub(super) async fn run(self) -> ExitCode {
        let addresses = [("--listen", self.listen), ("--admin-listen", self.admin_listen)];
        if let Some((argument, address)) = addresses.iter().find(|(_, address)| !address.ip().is_loopback()) {
            output::problem(&format!(
                "{argument} {address} is not a loopback address: the demo has no authentication, so use an address such as 127.0.0.1:50051"
            ));
            return ExitCode::from(USAGE);
        }
        if let Err(error) = telemetry::init_logs(&LogSettings { filter: self.log.clone(), format: None }) {
            output::problem(&error.to_string());
            return ExitCode::from(USAGE);
        }
        until_signalled(|signal| async {
            match self.serve(signal).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            }
        })
        .await
    }

    async fn serve(self, signal: FirstSignal) -> Result<(), DemoError> {
        let embedded = Embedded::start(&self.data, self.s3_listen, &[BUCKET]).await?;
        let server = Server::bind(self.settings(&embedded)).await?;
        output::tell(&Greeting { demo: &self, embedded: &embedded, server: &server }.to_string());
        server.run(signal.received()).await?;
        // Stopped after the server, because its last calls may still write to it.
        embedded.stop().await;
        Ok(())
    }

    fn settings(&self, embedded: &Embedded) -> ServerSettings {
        let stores = BTreeMap::from([(STORE.to_owned(), store(embedded))]);
        ServerSettings {
            listen_addr: self.listen,
            health_addr: self.health_listen,
            admin: AdminSettings { addr: Some(self.admin_listen), ..AdminSettings::default() },
            auth: AuthMode::None,
            shutdown_grace: Duration::from_secs(10),
            uploads: UploadSettings { keys: Some(UploadKeys::random()), replicas: 1 },
            tenants: vec![TenantSettings::new(TENANT, stores).into()],
            ..ServerSettings::default()
        }
    }
}

fn store(embedded: &Embedded) -> StoreSettings {
    let bucket = BucketSettings {
        endpoint: Some(format!("http://{}", embedded.address())),
        ..BucketSettings::new(BUCKET)
    };
    let keys = Credentials::new(embedded.access_key_id(), embedded.secret_access_key(), None);
    let mut store = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    store.client_options.allow_http = true;
    store
}

/// The text that the demo prints when it has started: addresses, access keys, and commands to paste.
struct Greeting<'a> {
    demo: &'a Demo,
    embedded: &'a Embedded,
    server: &'a Server,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grpc, health, s3) =
            (self.server.listen_addr(), self.server.health_addr(), self.embedded.address());
        let data = self.demo.data.display();
        writeln!(f, "Longshore {}: tenant `{TENANT}`, store `{STORE}`, data in {data}\n", crate::VERSION)?;
        writeln!(f, "  gRPC     {grpc} (plaintext, no authentication, reflection)")?;
        writeln!(f, "  S3       http://{s3} (bucket `{BUCKET}`, region us-east-1)")?;
        if let Some(admin) = self.server.admin_addr() {
            writeln!(f, "  admin    {admin} (AdminService)")?;
        }
        writeln!(f, "  health   http://{health}/readyz, http://{health}/metrics\n")?;
        writeln!(f, "  access key id       {}", self.embedded.access_key_id())?;
        writeln!(f, "  secret access key   {}\n", self.embedded.secret_access_key())?;
        writeln!(
            f,
            "Put, get, list and copy an object (in JSON, bytes are base64; these are \"Hello, harbour!\"):\n"
        )?;
        for (method, request) in [
            ("Put", r#"{"key": "hello.txt", "data": "SGVsbG8sIGhhcmJvdXIh"}"#),
            ("Get", r#"{"key": "hello.txt"}"#),
            ("List", "{}"),
            ("Copy", r#"{"source": {"key": "hello.txt"}, "destination": {"key": "copy.txt"}}"#),
        ] {
            writeln!(f, "  {}", grpcurl(grpc, method, request)?)?;
        }
        writeln!(f, "\nList the same bucket with the AWS CLI:\n")?;
        let credentials = self.demo.data.join("credentials");
        writeln!(
            f,
            "  AWS_SHARED_CREDENTIALS_FILE={} aws --region us-east-1 --endpoint-url http://{s3} s3 ls s3://{BUCKET}\n",
            quoted(&credentials.display().to_string())
        )?;
        f.write_str("Press Ctrl-C to stop. Objects and access keys are kept.")
    }
}

fn grpcurl(grpc: SocketAddr, method: &str, request: &str) -> Result<String, fmt::Error> {
    let mut line = String::new();
    write!(
        line,
        "grpcurl -plaintext -H 'x-longshore-tenant: {TENANT}' -d '{request}' {grpc} longshore.v1.ObjectService/{method}"
    )?;
    Ok(line)
}

/// `word`, quoted for a shell if necessary.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: Demo,
    }

    fn demo(data: &std::path::Path) -> Demo {
        let mut line = Line::parse_from(["demo", "--listen", "127.0.0.1:0"]).demo;
        line.data = data.to_owned();
        line
    }

    #[tokio::test]
    async fn the_greeting_contains_commands_addresses_and_keys() {
        let folder = tempfile::tempdir().unwrap();
        let demo = demo(folder.path());
        let embedded = Embedded::start(&demo.data, demo.s3_listen, &[BUCKET]).await.unwrap();
        let server = Server::bind(demo.settings(&embedded)).await.unwrap();
        let text = Greeting { demo: &demo, embedded: &embedded, server: &server }.to_string();
        assert!(text.contains(&format!(
            "  grpcurl -plaintext -H 'x-longshore-tenant: demo' -d '{{\"key\": \"hello.txt\"}}' {} longshore.v1.ObjectService/Get\n",
            server.listen_addr()
        )));
        let endpoint = format!("--endpoint-url http://{} ", embedded.address());
        for part in [embedded.access_key_id(), embedded.secret_access_key(), endpoint.as_str()] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_loopback_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = demo(folder.path());
        demo.listen = SocketAddr::from(([0, 0, 0, 0], 50051));
        assert_eq!(format!("{:?}", demo.run().await), format!("{:?}", ExitCode::from(USAGE)));
    }

    #[test]
    fn paths_with_special_characters_are_quoted_for_a_shell() {
        assert_eq!(quoted("./longshore-data/credentials"), "./longshore-data/credentials");
        assert_eq!(quoted("it's here/c"), r"'it'\''s here/c'");
    }
}
