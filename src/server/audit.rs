//! Admits calls to the audit log before their messages are read.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service};

use super::{
    authentication::OURS,
    connection::Peer,
    decision::{Decision, OptionalBody},
    methods::Methods,
};
use crate::{
    api::{CallContext, audit_unavailable},
    telemetry::{AuditLog, AuditRoom, AuditedCall, CallIdentity},
};

/// How often the log repeats that the audit log is not written.
const REPEAT: Duration = Duration::from_mins(1);

/// How often the server checks whether the audit log is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time that a shutdown waits for the last lines.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

/// Makes each call of Longshore's own services wait until the audit log has room for its lines. Health and reflection
/// never wait.
#[derive(Debug, Clone)]
pub(super) struct AuditLayer {
    /// `None`: calls pass.
    pub(super) log: Option<AuditLog>,
    pub(super) methods: Methods,
}

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> AuditService<S> {
        AuditService { inner, layer: self.clone() }
    }
}

/// The service that [`AuditLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct AuditService<S> {
    inner: S,
    layer: AuditLayer,
}

impl<S, Q, B> Service<Request<Q>> for AuditService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Unpin + Send,
    Q: Send + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = Decision<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let method = self.layer.methods.label(request.uri().path());
        let log = self.layer.log.as_ref().filter(|_| method.starts_with(OURS));
        let Some(log) = log else { return Decision::passed(self.inner.call(request)) };
        if let Some(room) = log.try_admit() {
            admit(&request, method, log.clone(), room);
            return Decision::passed(self.inner.call(request));
        }
        let log = log.clone();
        let admitted = async move {
            let Ok(room) = log.admit().await else {
                return Err(audit_unavailable(request.extensions()).into_http());
            };
            admit(&request, method, log, room);
            Ok(request)
        };
        Decision::after(admitted, self.inner.clone())
    }
}

/// Gives the call its place in the audit log. Its context already names the caller.
fn admit<Q>(request: &Request<Q>, method: Arc<str>, log: AuditLog, room: AuditRoom) {
    let Some(CallContext { request_id, facts, .. }) = request.extensions().get() else { return };
    let identity = CallIdentity {
        method,
        request_id: Arc::clone(request_id),
        tenant: facts.tenant().unwrap_or_default().into(),
        caller: facts.caller().unwrap_or_default().into(),
        peer: request.extensions().get::<Peer>().map(|peer| peer.address),
    };
    facts.set_audit(AuditedCall::new(log, room, identity));
}

/// Logs a warning when the audit log stops being written, and every minute until it is written again. Never ends.
pub(super) async fn warn_repeatedly(audit: AuditLog) {
    let mut warned: Option<Instant> = None;
    loop {
        let notice = audit.notice();
        match (notice, warned) {
            (None, Some(_)) => {
                tracing::info!("the audit log is written again");
                warned = None;
            }
            (Some(notice), warned_at) if warned_at.is_none_or(|at| at.elapsed() >= REPEAT) => {
                let waiting = audit.calls_waiting();
                tracing::warn!(%notice, waiting, "calls will wait for the audit log and then fail");
                warned = Some(Instant::now());
            }
            _ => {}
        }
        sleep(CHECK_INTERVAL).await;
    }
}

/// Waits until the lines of the last calls are written: as long as in-flight calls may take to finish, but at most 2 s.
pub(super) async fn finish(audit: &AuditLog, grace: Duration) {
    let lost = audit.flush(grace.min(LONGEST_FLUSH)).await;
    if lost > 0 {
        tracing::error!(lost, notice = audit.notice(), "lines of the audit log could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future, path::Path};

    use http::HeaderMap;
    use tonic::{Code, body::Body as TonicBody};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::{
        server::access::code,
        telemetry::{AuditOutcome, AuditSettings, AuditTarget},
    };

    const GET: &str = "/longshore.v1.ObjectService/Get";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";

    fn log(path: &Path, wait: Duration) -> AuditLog {
        let log = Some(AuditTarget::File(path.to_owned()));
        AuditLog::open(&AuditSettings { log, wait, buffer: 64 * 1024 }).unwrap().unwrap()
    }

    fn request(path: &str) -> (Request<()>, CallContext) {
        let context = CallContext { request_id: "r1".into(), ..CallContext::default() };
        context.facts.set_caller("billing");
        context.facts.set_tenant("acme");
        let mut request = Request::post(path).body(()).unwrap();
        request.extensions_mut().insert(context.clone());
        (request, context)
    }

    /// The response's headers, around a service that answers at once.
    async fn call(log: &AuditLog, path: &str) -> HeaderMap {
        let layer = AuditLayer { log: Some(log.clone()), methods: Methods::served() };
        let service = service_fn(|_: Request<()>| {
            Box::pin(future::ready(Ok::<_, Infallible>(Response::new(TonicBody::default()))))
        });
        layer.layer(service).oneshot(request(path).0).await.unwrap().into_parts().0.headers
    }

    #[tokio::test]
    async fn calls_beyond_the_room_wait_and_fail_and_health_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder.path().join("audit.log"), Duration::from_millis(20));
        let rooms: Vec<_> = std::iter::from_fn(|| log.try_admit()).collect();
        let refused = call(&log, GET).await;
        assert_eq!(code(&refused), Some(Code::Unavailable));
        assert!(refused.contains_key("grpc-retry-pushback-ms"));
        assert_eq!(code(&call(&log, HEALTH).await), None);
        drop(rooms);
        assert_eq!(code(&call(&log, GET).await), None);
    }

    #[tokio::test]
    async fn a_waiting_call_is_passed_on_when_there_is_room_and_a_dropped_one_leaves_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = log(&path, Duration::from_mins(10));
        let mut rooms: Vec<_> = std::iter::from_fn(|| log.try_admit()).collect();
        let mut dropped = Box::pin(call(&log, GET));
        let mut kept = Box::pin(call(&log, GET));
        assert!(futures::poll!(dropped.as_mut()).is_pending());
        assert!(futures::poll!(kept.as_mut()).is_pending());
        assert_eq!(log.calls_waiting(), 2);
        drop(dropped);
        rooms.pop();
        assert_eq!(code(&kept.await), None);
        drop(rooms);
        assert_eq!((log.calls_waiting(), log.bytes_in_use()), (0, 0));
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[tokio::test]
    async fn an_admitted_call_is_logged_with_its_caller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = log(&path, Duration::from_mins(10));
        let (request, context) = request(GET);
        admit(&request, "longshore.v1.ObjectService/Get".into(), log.clone(), log.try_admit().unwrap());
        let elapsed = Duration::from_millis(1);
        let outcome = AuditOutcome { code: "CANCELLED", reason: None, bytes_in: 0, bytes_out: 1, elapsed };
        context.facts.audit().unwrap().end(&outcome);
        finish(&log, Duration::from_mins(1)).await;
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        for part in [r#""caller":"billing""#, r#""tenant":"acme""#, r#""request_id":"r1""#] {
            assert_eq!(text.matches(part).count(), 2, "{text}");
        }
    }
}
