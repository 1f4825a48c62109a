//! Stores are dropped when they are idle, with their connections, and built again by the next call.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use longshore::{
    auth::AuthMode,
    credentials::{AssumeRoleSettings, Credentials, ProviderSettings},
    store::{
        ErrorKind, MemorySettings, ReadOptions, S3Store, StoreSettings, UploadClaim, UploadOptions,
        WriteMode, WriteOptions,
    },
    tenants::{Pool, Resources, Snapshot, TenantSettings, drop_idle_stores},
};
use tokio::{runtime, time::sleep};

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reply};

const TIMEOUT: Duration = Duration::from_mins(10);
const DAY: Duration = Duration::from_hours(24);
const CREATED: &str = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
const PART: usize = 8 << 20;

/// A tenant `acme`, whose idle stores are dropped. Their connections would be kept for longer.
struct World {
    pool: Pool,
    resources: Resources,
}

fn settings(server: &Scripted) -> StoreSettings {
    let mut settings = server.settings();
    settings.client_options.pool_idle_timeout = DAY;
    settings
}

fn tenant(stores: &[(&str, StoreSettings)]) -> TenantSettings {
    let stores = stores.iter().map(|(name, settings)| ((*name).to_owned(), settings.clone()));
    TenantSettings::new("acme", stores.collect())
}

impl World {
    fn new(stores: &[(&str, StoreSettings)]) -> Self {
        let resources = Resources::new(MemorySettings::default());
        let pool = Pool::new(Snapshot::new([tenant(stores)], AuthMode::None, &resources));
        Self { pool, resources }
    }

    /// A world with one store on `server`, whose idle stores are dropped.
    fn of(server: &Scripted) -> Self {
        let world = Self::new(&[("s", settings(server))]);
        world.sweep(TIMEOUT);
        world
    }

    fn sweep(&self, timeout: Duration) {
        tokio::spawn(drop_idle_stores(self.resources.built_stores.clone(), timeout));
    }

    fn store(&self, name: &str) -> S3Store {
        self.pool.snapshot().tenant("acme").unwrap().store(name).unwrap().unwrap()
    }

    fn is_built(&self, name: &str) -> bool {
        self.pool.snapshot().tenant("acme").unwrap().store_state(name).is_some()
    }

    fn stores_built(&self) -> usize {
        let text = self.resources.metrics.render();
        let line = text.lines().find(|line| line.starts_with("longshore_stores_built")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

async fn head(store: &S3Store) {
    store.head("k", &ReadOptions::default()).await.unwrap();
}

fn found() -> Answer {
    Answer::Reply(b"HTTP/1.1 200 x\r\ncontent-length: 4\r\netag: \"e\"\r\n\r\n".to_vec())
}

/// Answers all requests of an upload.
fn upload(seen: &Seen) -> Answer {
    match seen.method.as_str() {
        "HEAD" => found(),
        "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
        "POST" => reply(200, &[], COMPLETED),
        "GET" => reply(200, &[], "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>"),
        _ => reply(200, &[("etag", "\"p\"")], ""),
    }
}

fn peers(server: &Scripted) -> Vec<SocketAddr> {
    let mut peers: Vec<_> = server.seen().iter().map(|seen| seen.peer).collect();
    peers.dedup();
    peers
}

#[tokio::test(start_paused = true)]
async fn an_idle_store_is_dropped_with_its_connections_and_the_next_call_builds_it_again() {
    let mut server = Scripted::start(|_, _| found()).await;
    let world = World::of(&server);
    assert!(!world.is_built("s"));
    head(&world.store("s")).await;
    assert_eq!((world.is_built("s"), world.stores_built()), (true, 1));
    sleep(TIMEOUT - Duration::from_secs(1)).await;
    server.has_open(1).now_or_never().expect("the timeout has not passed");
    assert!(world.is_built("s"));
    server.has_open(0).await;
    assert_eq!((world.is_built("s"), world.stores_built()), (false, 0));
    head(&world.store("s")).await;
    assert_eq!((world.is_built("s"), world.stores_built()), (true, 1));
    server.has_open(1).await;
    assert_eq!(peers(&server).len(), 2);
    server.has_open(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_steady_trickle_of_calls_keeps_a_store() {
    let mut server = Scripted::start(|_, _| found()).await;
    let world = World::of(&server);
    for _ in 0..20 {
        head(&world.store("s")).await;
        sleep(TIMEOUT - Duration::from_secs(1)).await;
    }
    assert_eq!((server.seen().len(), peers(&server).len()), (20, 1));
    server.has_open(0).await;
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_store_does_not_keep_it() {
    let mut server = Scripted::start(|_, _| found()).await;
    let world = World::of(&server);
    head(&world.store("s")).await;
    for _ in 0..20 {
        world.is_built("s");
        sleep(TIMEOUT / 10).await;
    }
    assert!(!world.is_built("s"));
    server.has_open(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_keeps_its_store_and_the_timeout_begins_at_its_end() {
    // For five times the timeout.
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Slowly(Duration::from_secs(10), bytes(200, &[("etag", "\"e\"")], &[7; 30_000])),
        _ => found(),
    })
    .await;
    let world = World::of(&server);
    let began = tokio::time::Instant::now();
    let mut reader = world.store("s").get("k", None, &ReadOptions::default()).await.unwrap();
    let mut read = 0;
    while let Some(piece) = reader.next().await {
        read += piece.unwrap().len();
    }
    drop(reader);
    assert_eq!((read, began.elapsed() > 4 * TIMEOUT), (30_000, true));
    sleep(TIMEOUT - Duration::from_secs(1)).await;
    head(&world.store("s")).await;
    assert_eq!(peers(&server).len(), 1);
    server.has_open(0).await;
}

#[tokio::test(start_paused = true)]
async fn uploads_that_wait_for_their_caller_keep_their_store() {
    let mut server = Scripted::start(|_, seen| upload(seen)).await;
    let world = World::of(&server);
    let (one, other) = (world.store("s"), world.store("s"));
    let mut upload = one.upload("k", UploadOptions::default()).unwrap();
    let resumable = other.start_upload("k", UploadOptions::default()).await.unwrap();
    let mut writer = other.resume_upload(&resumable, 0).await.unwrap();
    upload.write(Bytes::from(vec![1; PART])).await.unwrap();
    writer.write(Bytes::from(vec![1; PART])).await.unwrap();
    server.asked(|seen| seen.method == "PUT").await;
    drop((one, other));
    let before = world.store("s").state().connections.open;
    sleep(5 * TIMEOUT).await;
    assert_eq!(world.store("s").state().connections.open, before, "the store is the same");
    writer.write(Bytes::from(vec![1; PART])).await.unwrap();
    writer.end().await.unwrap();
    upload.write(Bytes::from(vec![1; PART])).await.unwrap();
    upload.finish(UploadClaim::default()).await.unwrap();
    drop(writer);
    assert_eq!(world.stores_built(), 1);
    server.has_open(0).await;
    assert!(!world.is_built("s"));
}

#[tokio::test(start_paused = true)]
async fn stores_that_share_credentials_are_dropped_one_by_one() {
    let sts = Scripted::start(|_, _| {
        let credentials = "<Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                           <SessionToken>t</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration></Credentials>";
        let result = format!("<AssumeRoleResult>{credentials}</AssumeRoleResult>");
        reply(200, &[], &format!("<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{result}</AssumeRoleResponse>"))
    })
    .await;
    let mut server = Scripted::start(|_, _| found()).await;
    let mut settings = settings(&server);
    settings.credential_provider = ProviderSettings::AssumeRole(Box::new(AssumeRoleSettings {
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        session_name: "longshore".to_owned(),
        external_id: None,
        duration: None,
        session_tags: Vec::new(),
        endpoint: Some(format!("http://{}", sts.address)),
        region: None,
        source: ProviderSettings::Static(Credentials::new("AKID", "secret", None)),
    }));
    let world = World::new(&[("a", settings.clone()), ("b", settings)]);
    world.sweep(TIMEOUT);
    // The first one builds the provider, which sends its requests with this store's client.
    for name in ["a", "b"] {
        head(&world.store(name)).await;
    }
    server.has_open(2).await;
    for _ in 0..6 {
        sleep(TIMEOUT / 2).await;
        head(&world.store("b")).await;
    }
    assert!(!world.is_built("a"));
    server.has_open(1).now_or_never().expect("only `b` has a connection");
    assert_eq!(sts.seen().len(), 1, "`b` kept the credentials");
    server.has_open(0).await;
    head(&world.store("a")).await;
    assert_eq!(sts.seen().len(), 2);
    assert!(server.seen().last().unwrap().header("authorization").unwrap().contains("Credential=ROLE/"));
}

#[tokio::test(start_paused = true)]
async fn what_a_check_has_found_out_outlives_its_store() {
    // The server ignores all conditions.
    let mut server = Scripted::start(|_, seen| match seen.method.as_str() {
        "GET" => reply(200, &[], "<ListBucketResult></ListBucketResult>"),
        "DELETE" => reply(204, &[], ""),
        "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
        "POST" => reply(200, &[], COMPLETED),
        _ => reply(200, &[("etag", "\"e\"")], ""),
    })
    .await;
    let world = World::of(&server);
    world.store("s").check(true).await;
    server.has_open(0).await;
    assert!(!world.is_built("s"));
    let asked = server.seen().len();
    let create = WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() };
    let refused = world.store("s").put("k", Bytes::from_static(b"x"), create).await.unwrap_err();
    assert_eq!((refused.kind(), server.seen().len()), (ErrorKind::ConditionsNotSupported, asked));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_has_opened_is_closed_again_in_the_next_store() {
    let server = Scripted::start(|_, _| error(503, "ServiceUnavailable")).await;
    let mut settings = settings(&server);
    settings.retry_config.max_retries = 0;
    settings.retry_config.circuit_breaker.failures = 2;
    // Longer than a store lives without calls.
    settings.retry_config.circuit_breaker.open_time = DAY;
    let world = World::new(&[("s", settings)]);
    for _ in 0..2 {
        tokio::time::advance(DAY).await;
        world.store("s").head("k", &ReadOptions::default()).await.unwrap_err();
    }
    assert!(world.store("s").admit().is_err());
    world.sweep(TIMEOUT);
    // Calls that fail at once are calls.
    for _ in 0..20 {
        sleep(TIMEOUT / 2).await;
        assert!(world.store("s").admit().is_err());
    }
    sleep(2 * TIMEOUT).await;
    assert!(world.store("s").admit().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reload_neither_keeps_idle_stores_nor_drops_others() {
    let mut server = Scripted::start(|_, _| found()).await;
    let (a, b) = (settings(&server), settings(&server));
    let world = World::new(&[("a", a.clone()), ("b", b.clone())]);
    world.sweep(TIMEOUT);
    let (before, in_flight) = (world.pool.snapshot(), world.store("a"));
    for name in ["a", "b"] {
        head(&world.store(name)).await;
    }
    let mut changed = b;
    changed.prefix = "new/".to_owned();
    sleep(TIMEOUT / 2).await;
    world.pool.replace([Arc::new(tenant(&[("a", a), ("b", changed)]))]);
    assert_eq!((world.is_built("a"), world.is_built("b"), world.stores_built()), (true, false, 2));
    // The tenants before the reload still exist, as for a call that is in flight. Their idle store goes.
    server.has_open(1).await;
    sleep(5 * TIMEOUT).await;
    assert_eq!((world.is_built("a"), world.stores_built()), (true, 1));
    head(&world.store("a")).await;
    assert_eq!(peers(&server).len(), 3, "a, b, and a on the same connection");
    assert_eq!(server.seen()[0].peer, server.seen()[2].peer);
    drop(in_flight);
    server.has_open(0).await;
    // Both share the store that is built next.
    head(&before.tenant("acme").unwrap().store("a").unwrap().unwrap()).await;
    head(&world.store("a")).await;
    assert_eq!((world.stores_built(), peers(&server).len()), (1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_closed_on_every_thread() {
    let mut server = Scripted::start(|_, _| found()).await;
    let world = World::new(&[("s", settings(&server))]);
    let (done, calls) = mpsc::channel();
    let homes: Vec<_> = (0..3)
        .map(|_| {
            let (store, done) = (world.store("s"), done.clone());
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            let life = async move {
                head(&store).await;
                drop(store);
                done.send(()).unwrap();
                let _ = ended.await;
            };
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            (end, thread::spawn(move || runtime.block_on(life)))
        })
        .collect();
    server.has_open(3).await;
    for _ in &homes {
        tokio::task::block_in_place(|| calls.recv()).unwrap();
    }
    world.sweep(Duration::from_millis(1));
    server.has_open(0).await;
    assert!(!world.is_built("s"));
    for (end, thread) in homes {
        drop(end);
        thread.join().unwrap();
    }
}
