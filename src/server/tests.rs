//! Tests of the layers together, around services that each misbehave in one way.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::{Layer as _, Service, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use super::{
    access::{RunningCalls, code},
    call::{CallBody, CallLayer},
    complete_errors::{CompleteBody, CompleteErrorsLayer},
    deadline::{DeadlineBody, DeadlineLayer},
    methods::Methods,
};
use crate::{api::CallContext, telemetry::Metrics};

const GET: &str = "/longshore.v1.ObjectService/Get";

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
type Layered = Response<CallBody<DeadlineBody<CompleteBody<Body>>>>;

/// The layers in the server's order, and what they share.
#[derive(Default)]
struct CallLayers {
    metrics: Metrics,
    running: RunningCalls,
    cut: CancellationToken,
}

impl CallLayers {
    async fn call(&self, request: Request<()>, answer: impl Fn(Request<()>) -> Answer + Clone) -> Layered {
        let layered = self.service(answer).oneshot(request).await;
        layered.unwrap_or_else(|never| match never {})
    }

    fn service(
        &self,
        answer: impl Fn(Request<()>) -> Answer + Clone,
    ) -> impl Service<Request<()>, Response = Layered, Error = Infallible, Future: Unpin> {
        let calls = CallLayer {
            methods: Methods::served(),
            metrics: self.metrics.clone(),
            running: self.running.clone(),
        };
        let deadline = DeadlineLayer { cut: self.cut.clone(), idle_timeout: Duration::from_mins(1) };
        calls.layer(deadline.layer(CompleteErrorsLayer.layer(service_fn(answer))))
    }
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let request =
        headers.iter().fold(Request::post(GET), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap()
}

/// Responds with headers, then with `frames`.
fn frames<S>(frames: S) -> Answer
where
    S: Stream<Item = Frame<Bytes>> + Send + 'static,
{
    let body = StreamBody::new(frames.map(Ok::<_, Infallible>));
    Box::pin(async { Ok(Response::new(Body::new(body))) })
}

fn data() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(b"data"))
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    Frame::trailers(trailers)
}

fn trailers_only(status: Status) -> Answer {
    Box::pin(async { Ok(status.into_http()) })
}

fn never() -> Answer {
    Box::pin(std::future::pending())
}

/// Returns the number of data frames, and the trailers.
async fn read(response: Layered) -> (usize, Option<HeaderMap>) {
    let mut body = response.into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_trailers() {
            Ok(trailers) => {
                assert!(body.frame().await.is_none(), "a frame came after the trailers");
                return (count, Some(trailers));
            }
            Err(_) => count += 1,
        }
    }
    (count, None)
}

fn has_details(headers: &HeaderMap) -> bool {
    headers.contains_key("grpc-status-details-bin")
}

/// Becomes true when a guard is dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicBool>);

struct SetOnDrop(Dropped);

impl Dropped {
    fn guard(&self) -> SetOnDrop {
        SetOnDrop(self.clone())
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The access log lines of this thread.
#[derive(Clone, Default)]
pub(super) struct Lines(pub(super) Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "longshore::access" {
            let mut line = BTreeMap::from([("level", event.metadata().level().to_string())]);
            event.record(&mut Fields(&mut line));
            self.0.lock().unwrap().push(line);
        }
    }
}

impl Lines {
    pub(super) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(Registry::default().with(lines.clone()));
        (lines, guard)
    }

    fn codes(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|line| line["code"].clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_slow_body_with_trailers() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    let dropped = Dropped::default();
    let held = dropped.clone();
    let response = around
        .call(request(&[("grpc-timeout", "1S")]), move |_| {
            let held = held.guard();
            frames(stream::once(async { data() }).chain(stream::pending()).inspect(move |_| {
                let _ = &held;
            }))
        })
        .await;
    let (count, trailers) = read(response).await;
    let trailers = trailers.unwrap();
    assert_eq!((count, code(&trailers)), (1, Some(Code::DeadlineExceeded)));
    assert!(!has_details(&trailers));
    assert!(dropped.is(), "the call's work was not cancelled");
    assert_eq!(lines.codes(), ["DEADLINE_EXCEEDED"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_without_a_response_with_headers_only() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    let response = around.call(request(&[("grpc-timeout", "20m")]), |_| never()).await;
    assert!(response.body().is_end_stream());
    assert_eq!(code(response.headers()), Some(Code::DeadlineExceeded));
    assert!(!has_details(response.headers()) && response.headers().contains_key("x-request-id"));
    drop(response);
    assert_eq!(lines.codes(), ["DEADLINE_EXCEEDED"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_body_that_is_never_pending() {
    let around = CallLayers::default();
    let response = around
        .call(request(&[("grpc-timeout", "1S")]), |_| {
            frames(stream::repeat_with(data).then(async |frame| {
                tokio::time::advance(Duration::from_millis(100)).await;
                frame
            }))
        })
        .await;
    let (_, trailers) = read(response).await;
    assert_eq!(code(&trailers.unwrap()), Some(Code::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_met_changes_nothing() {
    let around = CallLayers::default();
    let response = around
        .call(request(&[("grpc-timeout", "1S")]), |_| {
            frames(stream::iter([data(), data(), trailers(&Status::ok(""))]))
        })
        .await;
    let (count, trailers) = read(response).await;
    assert_eq!((count, code(&trailers.unwrap())), (2, Some(Code::Ok)));
}

#[tokio::test]
async fn handlers_see_the_deadline_and_not_the_header() {
    let around = CallLayers::default();
    let before = std::time::Instant::now();
    let seen = Arc::new(Mutex::new(None));
    let see = Arc::clone(&seen);
    around
        .call(request(&[("grpc-timeout", "3M")]), move |request| {
            let context = request.extensions().get::<CallContext>().unwrap();
            *see.lock().unwrap() = Some((context.deadline, request.headers().contains_key("grpc-timeout")));
            trailers_only(Status::ok(""))
        })
        .await;
    let (deadline, header) = seen.lock().unwrap().take().unwrap();
    assert!(deadline.unwrap() >= before + Duration::from_mins(3));
    assert!(!header);
}

#[tokio::test]
async fn a_malformed_deadline_is_rejected_before_the_handler_runs() {
    for malformed in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1 S"] {
        let around = CallLayers::default();
        let called = Dropped::default();
        let call = called.clone();
        let response = around
            .call(request(&[("grpc-timeout", malformed)]), move |_| {
                drop(call.guard());
                never()
            })
            .await;
        assert_eq!(code(response.headers()), Some(Code::InvalidArgument), "{malformed:?}");
        assert!(has_details(response.headers()) && !called.is(), "{malformed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_unit_of_a_deadline_is_supported() {
    let units = [("2H", 7200), ("2M", 120), ("2S", 2), ("00000002S", 2), ("2000m", 2), ("2000000u", 2)];
    for (timeout, seconds) in units {
        let around = CallLayers::default();
        let begun = tokio::time::Instant::now();
        around.call(request(&[("grpc-timeout", timeout)]), |_| never()).await;
        assert_eq!(begun.elapsed().as_secs(), seconds, "{timeout}");
    }
    for at_once in ["0S", "99n"] {
        let response = CallLayers::default().call(request(&[("grpc-timeout", at_once)]), |_| never()).await;
        assert_eq!(code(response.headers()), Some(Code::DeadlineExceeded), "{at_once}");
    }
    let farthest = request(&[("grpc-timeout", "99999999H")]);
    let response = CallLayers::default().call(farthest, |_| trailers_only(Status::ok(""))).await;
    assert_eq!(code(response.headers()), Some(Code::Ok));
}

#[tokio::test]
async fn shutdown_ends_calls_with_and_without_a_response() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    let streaming = around.call(request(&[]), |_| frames(stream::pending())).await;
    let waiting = around.call(request(&[]), |_| never());
    around.cut.cancel();
    assert_eq!(code(waiting.await.headers()), Some(Code::Unavailable));
    assert_eq!(code(&read(streaming).await.1.unwrap()), Some(Code::Unavailable));
    assert_eq!(lines.codes(), ["UNAVAILABLE", "UNAVAILABLE"]);
}

#[tokio::test]
async fn a_call_is_logged_once_with_the_facts_that_its_handler_set() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    let response = around
        .call(request(&[("x-request-id", "abc-1")]), |request| {
            let facts = &request.extensions().get::<CallContext>().unwrap().facts;
            facts.set_tenant("acme");
            facts.set_store("default");
            facts.set_caller("billing");
            facts.add_bytes_out(3);
            facts.add_bytes_out(4);
            frames(stream::iter([data(), trailers(&Status::ok(""))]))
        })
        .await;
    assert_eq!(lines.codes(), [""; 0], "logged before its end");
    assert_eq!(around.running.count(), 1);
    read(response).await;
    assert_eq!(lines.codes(), ["OK"]);
    let line = &lines.0.lock().unwrap()[0];
    let field = |name| line.get(name).map(String::as_str);
    assert_eq!(field("method"), Some("longshore.v1.ObjectService/Get"));
    assert_eq!((field("tenant"), field("store")), (Some("acme"), Some("default")));
    assert_eq!((field("caller"), field("request_id")), (Some("billing"), Some("abc-1")));
    assert_eq!((field("bytes_in"), field("bytes_out")), (Some("0"), Some("7")));
    assert!(line.contains_key("elapsed_ms") && !line.contains_key("peer"));
    assert_eq!(around.running.count(), 0);
}

#[tokio::test]
async fn a_call_is_cancelled_if_its_caller_goes_away_before_or_during_the_response() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    let mut call = around.service(|_| never()).call(request(&[]));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(lines.codes(), ["CANCELLED"]);

    let response = around.call(request(&[]), |_| frames(stream::repeat_with(data))).await;
    let mut body = response.into_body();
    body.frame().await;
    drop(body);
    assert_eq!(lines.codes(), ["CANCELLED", "CANCELLED"]);
    assert!(around.metrics.render().contains(r#"rpc_response_status_code="CANCELLED""#));
}

#[tokio::test]
async fn a_body_that_ends_without_a_status_is_logged_as_unknown() {
    let (lines, _guard) = Lines::capture();
    let around = CallLayers::default();
    read(around.call(request(&[]), |_| frames(stream::iter([data()]))).await).await;
    assert_eq!(lines.codes(), ["UNKNOWN"]);
}

#[tokio::test]
async fn errors_without_details_get_them_in_headers_and_in_trailers() {
    let around = CallLayers::default();
    let too_large = || Status::out_of_range("decoded message length too large");
    let response = around.call(request(&[]), move |_| trailers_only(too_large())).await;
    assert!(has_details(response.headers()));
    assert_eq!(code(response.headers()), Some(Code::ResourceExhausted));
    assert_eq!(response.headers()["content-type"], "application/grpc");

    let response = around.call(request(&[]), move |_| frames(stream::iter([data(), trailers(&too_large())])));
    let trailers = read(response.await).await.1.unwrap();
    assert!(has_details(&trailers));
    assert_eq!(code(&trailers), Some(Code::ResourceExhausted));
}

#[tokio::test]
async fn errors_with_details_and_successes_are_unchanged() {
    let around = CallLayers::default();
    let ours = || Status::with_details(Code::OutOfRange, "ours", Bytes::from_static(b"details"));
    let response = around.call(request(&[]), move |_| trailers_only(ours())).await;
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!((status.code(), status.details()), (Code::OutOfRange, &b"details"[..]));

    let response = around.call(request(&[]), |_| trailers_only(Status::ok(""))).await;
    assert!(!has_details(response.headers()));
}

#[tokio::test]
async fn health_and_reflection_keep_their_own_statuses() {
    let around = CallLayers::default();
    let request = Request::post("/grpc.health.v1.Health/Check").body(()).unwrap();
    let response = around.call(request, |_| trailers_only(Status::not_found("not registered"))).await;
    assert_eq!(code(response.headers()), Some(Code::NotFound));
    assert!(!has_details(response.headers()));
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_an_invalid_one_is_replaced() {
    let around = CallLayers::default();
    let longest = "x".repeat(128);
    for sane in ["abc", "7f/3:{}", &longest] {
        let request = request(&[("x-request-id", sane)]);
        let response = around.call(request, |_| trailers_only(Status::ok(""))).await;
        assert_eq!(response.headers()["x-request-id"], sane);
    }
    let too_long = "x".repeat(129);
    for odd in ["", "a b", "a\tb", "é", &too_long] {
        let request = request(&[("x-request-id", odd)]);
        let response = around.call(request, |_| trailers_only(Status::ok(""))).await;
        let made = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(made.len(), 32, "{odd:?} became {made:?}");
    }
}

#[tokio::test]
async fn unknown_paths_do_not_become_metric_labels() {
    let around = CallLayers::default();
    for path in ["/a.B/C", "/made/up", "/longshore.v1.ObjectService/Nope"] {
        let request = Request::post(path).body(()).unwrap();
        around.call(request, |_| trailers_only(Status::unimplemented(""))).await;
    }
    let text = around.metrics.render();
    let count = text.lines().find(|line| line.starts_with("rpc_server_call_duration_seconds_count")).unwrap();
    assert!(count.contains(r#"rpc_method="unknown""#) && count.ends_with(" 3"), "{text}");
    assert!(!text.contains("Nope") && !text.contains("made"), "{text}");
}
