//! A complete Longshore server in the test's process, with an embedded or a real S3 server behind it.
//!
//! By default, the S3 server is the embedded one. `tests/conformance.sh` selects a real one with `CONFORMANCE_SERVER`,
//! `CONFORMANCE_ENDPOINT`, `CONFORMANCE_BUCKET`, `CONFORMANCE_REGION`, `CONFORMANCE_ACCESS_KEY_ID` and
//! `CONFORMANCE_SECRET_ACCESS_KEY`; `CONFORMANCE_VERSIONED_BUCKET` is one with versions.

use std::{collections::BTreeMap, time::Duration};

use longshore::{
    auth::AuthMode,
    credentials::{Credentials, ProviderSettings},
    embedded::Embedded,
    pb::{
        bucket_service_client::BucketServiceClient, object_service_client::ObjectServiceClient,
        store_service_client::StoreServiceClient, upload_service_client::UploadServiceClient,
    },
    s3::BucketSettings,
    server::{Server, ServerSettings},
    store::StoreSettings,
    tenants::TenantSettings,
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;

/// An S3 server that a store can be on.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) name: String,
    endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
    credentials: Credentials,
}

impl Backend {
    /// The settings of a store under `prefix`.
    pub(crate) fn store(&self, prefix: &str) -> StoreSettings {
        let bucket = BucketSettings {
            endpoint: Some(self.endpoint.clone()),
            region: self.region.clone(),
            ..BucketSettings::new(&self.bucket)
        };
        let mut store = StoreSettings::new(bucket, ProviderSettings::Static(self.credentials.clone()));
        prefix.clone_into(&mut store.prefix);
        store.client_options.allow_http = true;
        store
    }

    fn embedded(server: &Embedded) -> Self {
        Self {
            name: "embedded".to_owned(),
            endpoint: format!("http://{}", server.address()),
            bucket: "test".to_owned(),
            region: "us-east-1".to_owned(),
            credentials: Credentials::new(server.access_key_id(), server.secret_access_key(), None),
        }
    }

    fn from_environment() -> Option<Self> {
        let name = std::env::var("CONFORMANCE_SERVER").ok()?;
        let variable = |name: &str| std::env::var(format!("CONFORMANCE_{name}")).expect(name);
        Some(Self {
            name,
            endpoint: variable("ENDPOINT"),
            bucket: variable("BUCKET"),
            region: variable("REGION"),
            credentials: Credentials::new(variable("ACCESS_KEY_ID"), variable("SECRET_ACCESS_KEY"), None),
        })
    }
}

/// A running Longshore server with one tenant. Its stores `default` and `other` are in one bucket under different
/// prefixes; its store `elsewhere` is on another S3 server.
pub(crate) struct Harness {
    pub(crate) backend: Backend,
    pub(crate) objects: ObjectServiceClient<Channel>,
    pub(crate) buckets: BucketServiceClient<Channel>,
    pub(crate) stores: StoreServiceClient<Channel>,
    pub(crate) uploads: UploadServiceClient<Channel>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    embedded: Vec<Embedded>,
    _folder: tempfile::TempDir,
}

impl Harness {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// Starts a server whose stores are in a bucket with versions, if the S3 server has versions.
    pub(crate) async fn open_versioned() -> Self {
        Self::open_with(|store| {
            store.bucket.bucket =
                std::env::var("CONFORMANCE_VERSIONED_BUCKET").unwrap_or_else(|_| "versioned".to_owned());
        })
        .await
    }

    /// Starts a server whose store settings `change` has changed.
    pub(crate) async fn open_with(change: impl Fn(&mut StoreSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = async |name: &str| {
            let (folder, address) = (folder.path().join(name), "127.0.0.1:0".parse().unwrap());
            let server = Embedded::start(&folder, address, &["test", "versioned"]).await.unwrap();
            server.enable_versioning("versioned").await.unwrap();
            server
        };
        let elsewhere = embedded("elsewhere").await;
        let mut servers = Vec::new();
        let backend = if let Some(backend) = Backend::from_environment() {
            backend
        } else {
            let server = embedded("here").await;
            let backend = Backend::embedded(&server);
            servers.push(server);
            backend
        };
        // On a real server, all runs share one bucket.
        let run = format!("run-{:016x}", fastrand::u64(..));
        let mut stores = BTreeMap::from([
            ("default".to_owned(), backend.store(&format!("{run}/"))),
            ("other".to_owned(), backend.store(&format!("other-{run}/"))),
            ("elsewhere".to_owned(), Backend::embedded(&elsewhere).store("")),
        ]);
        servers.push(elsewhere);
        stores.values_mut().for_each(change);
        let tenant = TenantSettings::new("t", stores);
        let server = Server::bind(settings(vec![tenant])).await.unwrap();
        let address = format!("http://{}", server.listen_addr());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::task::spawn(async move {
            server.run(async { stopped.await.unwrap_or_default() }).await.unwrap();
        });
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self {
            backend,
            objects: ObjectServiceClient::new(channel.clone()),
            buckets: BucketServiceClient::new(channel.clone()),
            stores: StoreServiceClient::new(channel.clone()),
            uploads: UploadServiceClient::new(channel),
            stop,
            serving,
            embedded: servers,
            _folder: folder,
        }
    }

    /// Shuts the server down. Panics if that fails.
    pub(crate) async fn close(self) {
        drop((self.objects, self.buckets, self.stores, self.uploads));
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        for server in self.embedded {
            server.stop().await;
        }
    }
}

/// The settings of a server on free ports for `tenants`, without authentication.
pub(crate) fn settings(tenants: Vec<TenantSettings>) -> ServerSettings {
    ServerSettings {
        listen_addr: "127.0.0.1:0".parse().unwrap(),
        health_addr: "127.0.0.1:0".parse().unwrap(),
        auth: AuthMode::None,
        shutdown_grace: Duration::from_secs(5),
        tenants: tenants.into_iter().map(Into::into).collect(),
        ..ServerSettings::default()
    }
}
