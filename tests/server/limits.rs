//! Limits of calls: what callers beyond a limit get, and that other tenants do not notice it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{HeaderMap, Request as HttpRequest};
use longshore::{
    auth::{Access, AuthMode, CallerSettings, Identities},
    credentials::{Credentials, ProviderSettings},
    embedded::Embedded,
    pb::{
        Chunk, DeleteManyRequest, GetRequest, HeadRequest, ListStoresRequest, ObjectId, PutRequest,
        StartUploadRequest, UploadRequest, UploadSpec, WriteUploadRequest, WriteUploadSpec,
        object_service_client::ObjectServiceClient, store_service_client::StoreServiceClient,
        upload_request::Message, upload_service_client::UploadServiceClient, write_upload_request,
    },
    s3::BucketSettings,
    server::ServerSettings,
    store::StoreSettings,
    tenants::{CallLimits, Invalid, LimitScope, Limits, ProcessLimits, TenantSettings},
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::{iter, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::support::{Running, channel, get, settings};

const KIB: usize = 1024;
const LONGEST: Duration = Duration::from_secs(60);

/// A server with the tenants `noisy`, which has limits, and `quiet`, which has none. Both have a store `default` on one
/// embedded S3 server.
struct World {
    running: Running,
    _s3: Embedded,
    _folder: tempfile::TempDir,
}

fn store(s3: &Embedded, prefix: &str) -> StoreSettings {
    let bucket = BucketSettings {
        endpoint: Some(format!("http://{}", s3.address())),
        region: "us-east-1".to_owned(),
        ..BucketSettings::new("test")
    };
    let credentials = Credentials::new(s3.access_key_id(), s3.secret_access_key(), None);
    let mut store = StoreSettings::new(bucket, ProviderSettings::Static(credentials));
    store.prefix = format!("{prefix}/");
    store.client_options.allow_http = true;
    store
}

fn tenant(s3: &Embedded, name: &str, limits: CallLimits) -> TenantSettings {
    let stores = BTreeMap::from([("default".to_owned(), store(s3, name))]);
    let mut tenant = TenantSettings::new(name, stores);
    tenant.limits = Limits { calls: limits, ..Limits::default() };
    for caller in ["one", "two"] {
        let name = format!("{name}-{caller}");
        let identities = Identities::token(Sha256::digest(&name).into());
        let access = vec![Access::Read, Access::Write, Access::Delete, Access::List];
        tenant.callers.push(CallerSettings { name, identities, access, stores: None, prefixes: None });
    }
    tenant
}

impl World {
    async fn new(limits: CallLimits) -> Self {
        Self::with(limits, |_| {}).await
    }

    async fn with(limits: CallLimits, change: impl FnOnce(&mut ServerSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let s3 = Embedded::start(folder.path(), ([127, 0, 0, 1], 0).into(), &["test"]).await.unwrap();
        let tenants =
            vec![tenant(&s3, "noisy", limits).into(), tenant(&s3, "quiet", CallLimits::default()).into()];
        let mut settings = ServerSettings { auth: AuthMode::Required, tenants, ..settings() };
        change(&mut settings);
        Self { running: Running::start(settings).await, _s3: s3, _folder: folder }
    }

    async fn objects(&self) -> ObjectServiceClient<Channel> {
        ObjectServiceClient::new(channel(self.running.grpc).await)
    }

    /// A call that needs no S3.
    async fn list_stores(&self, caller: &str) -> Result<(), Status> {
        let mut stores = StoreServiceClient::new(channel(self.running.grpc).await);
        let listed = stores.list_stores(by(caller, ListStoresRequest::default()));
        timeout(LONGEST, listed).await.unwrap().map(drop)
    }

    /// The value of the metric whose line begins with `name` and contains all `labels`.
    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = get(self.running.health, "/metrics").await;
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until the metric has this value.
    async fn until(&self, name: &str, labels: &[&str], value: f64) {
        let reached = async {
            while (self.metric(name, labels).await - value).abs() > 0.1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONGEST, reached).await.unwrap_or_else(|_| panic!("{name} never is {value}"));
    }

    async fn until_waiting(&self, calls: f64) {
        self.until("longshore_limits_waiting", &[], calls).await;
    }

    async fn replace(&self, limits: CallLimits) {
        let tenants = vec![
            tenant(&self._s3, "noisy", limits).into(),
            tenant(&self._s3, "quiet", CallLimits::default()).into(),
        ];
        self.running.tenants.replace(tenants, Invalid::default());
    }
}

/// `message` with the token of this caller.
fn by<T>(caller: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {caller}").parse().unwrap());
    request
}

fn spec(key: &str) -> UploadRequest {
    UploadRequest { message: Some(Message::Spec(UploadSpec { key: key.to_owned(), ..Default::default() })) }
}

fn chunk(data: Vec<u8>) -> UploadRequest {
    UploadRequest { message: Some(Message::Chunk(Chunk { crc32c: None, data: data.into() })) }
}

/// An upload that is in flight until its sender is dropped.
struct Open {
    messages: mpsc::Sender<UploadRequest>,
    ended: JoinHandle<Result<Response<longshore::pb::UploadResponse>, Status>>,
}

impl Open {
    async fn start(mut objects: ObjectServiceClient<Channel>, caller: &str) -> Self {
        let (messages, received) = mpsc::channel(8);
        messages.send(spec("open")).await.unwrap();
        let request = by(caller, ReceiverStream::new(received));
        let ended = tokio::spawn(async move { objects.upload(request).await });
        Self { messages, ended }
    }

    async fn finish(self) -> Result<(), Status> {
        drop(self.messages);
        timeout(LONGEST, self.ended).await.unwrap().unwrap().map(drop)
    }
}

/// Asserts that a call was beyond this limit, and returns its delay in milliseconds.
fn assert_beyond(status: &Status, subject: &str) -> i64 {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "LIMIT_EXCEEDED");
    let quota = status.get_details_quota_failure().unwrap();
    assert_eq!(quota.violations[0].subject, subject);
    assert!(status.message().contains(&quota.violations[0].description), "{status}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    let pushback: i64 = pushback.parse().unwrap();
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(retry.map_or(-1, |delay| delay.as_millis() as i64), pushback);
    pushback
}

const IN_FLIGHT: &[&str] = &["limit=\"max_in_flight\"", "holder=\"tenant\""];

#[tokio::test]
async fn a_call_beyond_the_calls_in_flight_begins_when_another_one_ends() {
    let limits =
        CallLimits { max_in_flight: Some(1), max_wait: Duration::from_secs(3600), ..Default::default() };
    let world = World::new(limits).await;
    let open = Open::start(world.objects().await, "noisy-one").await;
    world.until("longshore_limits_used", IN_FLIGHT, 1.0).await;
    let waits = world.list_stores("noisy-one");
    let other = async {
        world.until_waiting(1.0).await;
        world.list_stores("quiet-one").await.unwrap();
        open.finish().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waits, other);
    waited.unwrap();
    world.until("longshore_limits_used", IN_FLIGHT, 0.0).await;
    world.running.stop().await;
}

#[tokio::test]
async fn a_call_that_waits_too_long_gets_the_limit_and_a_retry_delay() {
    let limits =
        CallLimits { max_in_flight: Some(1), max_wait: Duration::from_millis(50), ..Default::default() };
    let world = World::new(limits).await;
    let open = Open::start(world.objects().await, "noisy-one").await;
    world.until("longshore_limits_used", IN_FLIGHT, 1.0).await;
    let status = world.list_stores("noisy-two").await.unwrap_err();
    assert!(assert_beyond(&status, "tenant:noisy/max_in_flight") >= 100);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((&*info.metadata["limit"], &*info.metadata["tenant"]), ("max_in_flight", "noisy"));
    assert!(status.message().contains("max_in_flight of the tenant `noisy` is 1 in each process"));
    let refused = world.metric("longshore_limits_exceeded_total", IN_FLIGHT).await;
    assert!((refused - 1.0).abs() < 0.1);
    open.finish().await.unwrap();
    world.list_stores("noisy-two").await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn calls_per_second_of_a_caller_are_limited_and_the_delay_is_the_true_one() {
    // A call in 10,000 seconds for each process.
    let world = World::with(CallLimits::default(), |settings| settings.uploads.replicas = 10_000).await;
    let mut noisy = tenant(&world._s3, "noisy", CallLimits::default());
    let slow = CallLimits {
        requests_per_second: Some(1),
        scope: LimitScope::Fleet,
        max_wait: Duration::from_secs(5),
        ..Default::default()
    };
    noisy.caller_limits.insert("noisy-one".to_owned(), slow);
    world.running.tenants.replace(vec![noisy.into()], Invalid::default());
    world.list_stores("noisy-one").await.unwrap();
    for _ in 0..3 {
        let status = world.list_stores("noisy-one").await.unwrap_err();
        let delay = assert_beyond(&status, "caller:noisy/noisy-one/requests_per_second");
        // Up to a second is added, so that callers do not all return at once.
        assert!((9_900_000..=10_001_000).contains(&delay), "{delay}");
        assert!(status.message().contains("is 1, divided between 10000 processes"), "{status}");
        world.list_stores("noisy-two").await.unwrap();
    }
    world.running.stop().await;
}

#[tokio::test]
async fn thousands_of_streams_that_leave_free_their_permits_and_their_places() {
    let limits =
        CallLimits { max_streams: Some(200), max_wait: Duration::from_secs(3600), ..Default::default() };
    let world = World::new(limits).await;
    let streams: &[&str] = &["limit=\"max_streams\"", "holder=\"tenant\""];
    for _ in 0..2 {
        let mut open = Vec::new();
        for _ in 0..5 {
            let objects = world.objects().await;
            for _ in 0..200 {
                open.push(Open::start(objects.clone(), "noisy-one").await);
            }
        }
        // As many wait as may be in flight. The others are rejected at once.
        world.until_waiting(200.0).await;
        world.until("longshore_limits_used", streams, 200.0).await;
        world.list_stores("quiet-one").await.unwrap();
        world.list_stores("noisy-two").await.unwrap();
        for upload in &open {
            upload.ended.abort();
        }
        drop(open);
        world.until_waiting(0.0).await;
        world.until("longshore_limits_used", streams, 0.0).await;
    }
    let open = Open::start(world.objects().await, "noisy-one").await;
    open.finish().await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn a_caller_that_sends_a_byte_at_a_time_uses_up_its_own_permits_only() {
    let world = World::new(CallLimits::default()).await;
    let mut noisy = tenant(&world._s3, "noisy", CallLimits { max_in_flight: Some(10), ..Default::default() });
    let narrow = CallLimits { max_in_flight: Some(2), max_wait: Duration::ZERO, ..Default::default() };
    noisy.caller_limits.insert("noisy-one".to_owned(), narrow);
    world.running.tenants.replace(vec![noisy.into()], Invalid::default());
    let objects = world.objects().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Open::start(objects.clone(), "noisy-one").await);
    }
    world.until("longshore_limits_used", &["limit=\"max_in_flight\"", "holder=\"caller\""], 2.0).await;
    for _ in 0..10 {
        for upload in &open {
            upload.messages.send(chunk(vec![1])).await.unwrap();
        }
        let status = world.list_stores("noisy-one").await.unwrap_err();
        assert_beyond(&status, "caller:noisy/noisy-one/max_in_flight");
        world.list_stores("noisy-two").await.unwrap();
    }
    for upload in open {
        upload.finish().await.unwrap();
    }
    world.list_stores("noisy-one").await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn a_flood_over_many_connections_does_not_refuse_a_call_of_another_tenant() {
    let limits = CallLimits {
        max_in_flight: Some(2),
        requests_per_second: Some(20),
        max_wait: Duration::from_millis(100),
        ..Default::default()
    };
    let world = World::with(limits, |settings| settings.process.max_in_flight = Some(20)).await;
    let noisy = join_all((0..40).map(|_| async {
        let mut stores = StoreServiceClient::new(channel(world.running.grpc).await);
        let mut refused = 0;
        for _ in 0..20 {
            match stores.list_stores(by("noisy-one", ListStoresRequest::default())).await {
                Ok(_) => {}
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    assert!(status.message().contains("of the tenant `noisy`"), "{status}");
                    refused += 1;
                }
            }
        }
        refused
    }));
    let quiet = async {
        for _ in 0..100 {
            world.list_stores("quiet-one").await.unwrap();
        }
    };
    let (refused, ()) = tokio::join!(noisy, quiet);
    assert!(refused.into_iter().sum::<u32>() > 0);
    world.running.stop().await;
}

/// 256 KiB per second after a burst of 512 KiB, which is more than the largest message.
fn slow_bytes() -> CallLimits {
    CallLimits { bytes_per_second: Some(256 * 1024), ..Default::default() }
}

/// Within this time, 768 KiB cannot pass. It does not depend on the speed of the machine.
const LEAST: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_transfer_beyond_its_rate_slows_down_and_does_not_fail() {
    let world = World::with(slow_bytes(), |settings| {
        settings.max_message_bytes = 128 * KIB as u64;
        // The server keeps the caller waiting for longer than the caller may keep the server waiting.
        settings.message_timeout = Duration::from_millis(300);
        settings.memory.idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut objects = world.objects().await;
    let data: Vec<u8> = (0..768 * KIB).map(|byte| byte as u8).collect();
    let begin = Instant::now();
    let messages: Vec<_> =
        [spec("large")].into_iter().chain(data.chunks(100 * KIB).map(|data| chunk(data.to_vec()))).collect();
    objects.upload(by("noisy-one", iter(messages))).await.unwrap();
    assert!(begin.elapsed() >= LEAST, "{:?}", begin.elapsed());

    let begin = Instant::now();
    let get = GetRequest { key: "large".to_owned(), ..Default::default() };
    let mut stream = objects.get(by("noisy-one", get)).await.unwrap().into_inner();
    let mut received = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        received.extend(message.chunk.unwrap_or_default().data);
    }
    assert!(begin.elapsed() >= LEAST, "{:?}", begin.elapsed());
    assert!(received == data);

    let begin = Instant::now();
    for key in 0..8 {
        let put =
            PutRequest { key: format!("put{key}"), data: vec![7; 96 * KIB].into(), ..Default::default() };
        objects.put(by("noisy-one", put)).await.unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_millis(500), "{:?}", begin.elapsed());

    let begin = Instant::now();
    let mut uploads = UploadServiceClient::new(channel(world.running.grpc).await);
    let start = StartUploadRequest { key: "resumable".to_owned(), ..Default::default() };
    let upload_id = uploads.start_upload(by("noisy-one", start)).await.unwrap().into_inner().upload_id;
    let write = |message| WriteUploadRequest { message: Some(message) };
    let spec = write(write_upload_request::Message::Spec(WriteUploadSpec { upload_id, offset: 0 }));
    let chunks = data.chunks(100 * KIB).map(|data| {
        let data = data.to_vec().into();
        write(write_upload_request::Message::Chunk(Chunk { crc32c: None, data }))
    });
    let messages: Vec<_> = [spec].into_iter().chain(chunks).collect();
    uploads.write_upload(by("noisy-one", iter(messages))).await.unwrap();
    assert!(begin.elapsed() >= LEAST, "{:?}", begin.elapsed());
    world.running.stop().await;
}

#[tokio::test]
async fn calls_that_would_wait_too_long_for_bytes_are_refused_before_their_message_is_read() {
    let limits = CallLimits { max_wait: Duration::ZERO, ..slow_bytes() };
    let world = World::with(limits, |settings| settings.max_message_bytes = 512 * KIB as u64).await;
    let mut objects = world.objects().await;
    let mut refused = None;
    for _ in 0..100 {
        let put = PutRequest { key: "k".to_owned(), data: vec![7; 500 * KIB].into(), ..Default::default() };
        if let Err(status) = objects.put(by("noisy-one", put)).await {
            refused = Some(status);
            break;
        }
    }
    assert_beyond(&refused.unwrap(), "tenant:noisy/bytes_per_second");
    // Calls that transfer nothing are not concerned.
    let head = HeadRequest { key: "missing".to_owned(), ..Default::default() };
    assert_eq!(objects.head(by("noisy-one", head)).await.unwrap_err().code(), Code::NotFound);
    world.running.stop().await;
}

#[tokio::test]
async fn a_changed_limit_applies_to_calls_that_wait() {
    let limits = |calls| CallLimits {
        max_in_flight: Some(calls),
        max_wait: Duration::from_secs(3600),
        ..Default::default()
    };
    let world = World::new(limits(1)).await;
    let open = Open::start(world.objects().await, "noisy-one").await;
    world.until("longshore_limits_used", IN_FLIGHT, 1.0).await;
    let waits = world.list_stores("noisy-one");
    let other = async {
        world.until_waiting(1.0).await;
        // The call that is in flight still counts.
        world.replace(limits(1)).await;
        world.until_waiting(1.0).await;
        world.replace(limits(2)).await;
    };
    let (waited, ()) = tokio::join!(waits, other);
    waited.unwrap();
    world.replace(CallLimits { max_wait: Duration::ZERO, ..limits(1) }).await;
    let status = world.list_stores("noisy-one").await.unwrap_err();
    assert_beyond(&status, "tenant:noisy/max_in_flight");
    open.finish().await.unwrap();
    world.list_stores("noisy-one").await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn a_call_that_can_never_be_within_a_limit_gets_no_retry_delay() {
    let limits =
        CallLimits { max_object_size: Some(1_000), max_keys_per_call: Some(3), ..Default::default() };
    let world = World::new(limits).await;
    let mut objects = world.objects().await;
    let put =
        |size: usize| PutRequest { key: "k".to_owned(), data: vec![7; size].into(), ..Default::default() };
    objects.put(by("noisy-one", put(1_000))).await.unwrap();
    let status = objects.put(by("noisy-one", put(1_001))).await.unwrap_err();
    assert_eq!(assert_beyond(&status, "tenant:noisy/max_object_size"), -1);

    let announced = UploadRequest {
        message: Some(Message::Spec(UploadSpec {
            key: "k".to_owned(),
            size: Some(1_001),
            ..Default::default()
        })),
    };
    let messages = [vec![announced], vec![spec("k"), chunk(vec![1; 600]), chunk(vec![1; 600])]];
    for messages in messages {
        let status = objects.upload(by("noisy-one", iter(messages))).await.unwrap_err();
        assert_eq!(assert_beyond(&status, "tenant:noisy/max_object_size"), -1);
    }
    let mut uploads = UploadServiceClient::new(channel(world.running.grpc).await);
    let start = StartUploadRequest { key: "r".to_owned(), ..Default::default() };
    let upload_id = uploads.start_upload(by("noisy-one", start)).await.unwrap().into_inner().upload_id;
    let write = |message| WriteUploadRequest { message: Some(message) };
    let messages = [
        write(write_upload_request::Message::Spec(WriteUploadSpec { upload_id, offset: 0 })),
        write(write_upload_request::Message::Chunk(Chunk { crc32c: None, data: vec![7; 1_001].into() })),
    ];
    let status = uploads.write_upload(by("noisy-one", iter(messages))).await.unwrap_err();
    assert_eq!(assert_beyond(&status, "tenant:noisy/max_object_size"), -1);

    let delete = |keys: usize| {
        let object = |key: usize| ObjectId { key: format!("{key}"), ..Default::default() };
        DeleteManyRequest { store: String::new(), objects: (0..keys).map(object).collect() }
    };
    let messages = iter([delete(2), delete(2)]);
    let mut results = objects.delete_many(by("noisy-one", messages)).await.unwrap().into_inner();
    let status = loop {
        match results.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the call should fail"),
            Err(status) => break status,
        }
    };
    assert_eq!(assert_beyond(&status, "tenant:noisy/max_keys_per_call"), -1);
    world.running.stop().await;
}

#[tokio::test]
async fn copies_of_objects_that_are_too_large_are_refused() {
    let world = World::new(CallLimits::default()).await;
    let mut objects = world.objects().await;
    let put = PutRequest { key: "large".to_owned(), data: vec![7; 2_000].into(), ..Default::default() };
    objects.put(by("noisy-one", put)).await.unwrap();
    world.replace(CallLimits { max_object_size: Some(1_000), ..Default::default() }).await;
    let copy = longshore::pb::CopyRequest {
        source: Some(longshore::pb::CopySource { key: "large".to_owned(), ..Default::default() }),
        destination: Some(longshore::pb::CopyDestination { key: "copy".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let status = objects.copy(by("noisy-one", copy)).await.unwrap_err();
    assert_eq!(assert_beyond(&status, "tenant:noisy/max_object_size"), -1);
    world.running.stop().await;
}

/// The status of a call whose message is not complete, and which is not closed.
async fn unfinished(running: &Running, path: &str, caller: &str) -> Status {
    let stream = TcpStream::connect(running.grpc).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = HttpRequest::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {caller}"));
    let (response, mut body) =
        requests.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(vec![0, 0, 0, 0, 100, 1].into(), false).unwrap();
    let head: HeaderMap = timeout(LONGEST, response).await.expect("the call ends").unwrap().headers().clone();
    Status::from_header_map(&head).unwrap()
}

#[tokio::test]
async fn an_overloaded_process_refuses_calls_before_their_messages_but_never_health() {
    let limits =
        CallLimits { max_in_flight: Some(100), max_wait: Duration::from_millis(50), ..Default::default() };
    let world = World::with(limits, |settings| {
        settings.process = ProcessLimits { max_in_flight: Some(3) };
    })
    .await;
    let objects = world.objects().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Open::start(objects.clone(), "noisy-one").await);
    }
    world.until("longshore_limits_used", &["limit=\"max_in_flight\"", "holder=\"process\""], 3.0).await;
    for path in ["/longshore.v1.ObjectService/Put", "/longshore.v1.ObjectService/Upload"] {
        let status = unfinished(&world.running, path, "noisy-one").await;
        assert_beyond(&status, "process/max_in_flight");
    }
    for address in [world.running.grpc, world.running.health] {
        let mut health = HealthClient::new(channel(address).await);
        health.check(by("noisy-one", HealthCheckRequest::default())).await.unwrap();
    }
    open.pop().unwrap().finish().await.unwrap();
    world.list_stores("quiet-one").await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn one_of_several_tenants_gets_half_of_the_calls_in_flight_if_it_has_no_limit() {
    let limits = CallLimits { max_wait: Duration::from_millis(50), ..Default::default() };
    let world = World::with(limits, |settings| {
        settings.process = ProcessLimits { max_in_flight: Some(4) };
    })
    .await;
    let objects = world.objects().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Open::start(objects.clone(), "noisy-one").await);
    }
    world.until("longshore_limits_used", IN_FLIGHT, 2.0).await;
    let status = world.list_stores("noisy-two").await.unwrap_err();
    assert_beyond(&status, "tenant:noisy/max_in_flight");
    assert!(status.message().contains("half of LONGSHORE_MAX_IN_FLIGHT"), "{status}");
    world.list_stores("quiet-one").await.unwrap();
    world.running.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_the_wait_for_a_limit() {
    let limits =
        CallLimits { max_in_flight: Some(1), max_wait: Duration::from_secs(3600), ..Default::default() };
    let world = World::new(limits).await;
    let open = Open::start(world.objects().await, "noisy-one").await;
    world.until("longshore_limits_used", IN_FLIGHT, 1.0).await;
    let mut stores = StoreServiceClient::new(channel(world.running.grpc).await);
    let mut request = by("noisy-one", ListStoresRequest::default());
    request.set_timeout(Duration::from_millis(200));
    let status = stores.list_stores(request).await.unwrap_err();
    // Whichever of the two sides notices it first.
    let codes = [Code::DeadlineExceeded, Code::ResourceExhausted, Code::Cancelled];
    assert!(codes.contains(&status.code()), "{status}");
    world.until_waiting(0.0).await;
    open.finish().await.unwrap();
    world.running.stop().await;
}
