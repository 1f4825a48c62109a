//! Calls to a store whose S3 server does not answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use longshore::{
    api::{Limits, Services, UploadSettings},
    auth::AuthMode,
    pb::{self, object_service_client::ObjectServiceClient, store_service_client::StoreServiceClient},
    store::StoreSettings,
    tenants::{MemorySettings, Pool, Resources, Snapshot, TenantSettings},
};
use tonic::{Code, Request, Status, service::Routes};
use tonic_types::StatusExt as _;

use crate::scripted::{Answer, Scripted, reply};

/// Long enough for everything that does not hang on purpose.
const AMPLE: Duration = Duration::from_secs(20);

/// An S3 server that fails while `fails` is set.
struct Failing {
    s3: Scripted,
    fails: Arc<AtomicBool>,
    services: Routes,
}

fn services(settings: StoreSettings) -> Routes {
    let tenant = TenantSettings::new("acme", BTreeMap::from([("default".to_owned(), settings)]));
    let resources = Resources::new(MemorySettings::default());
    let pool = Pool::new(Snapshot::new(vec![tenant], AuthMode::None, &resources));
    let limits = Limits { max_message_bytes: 4 << 20, message_timeout: Duration::from_secs(60) };
    Services::new(pool, limits, UploadSettings::default(), resources.metrics).routes()
}

impl Failing {
    /// `change`: changes the settings of the store. `failure`: what the server does while it fails.
    async fn start(
        change: impl Fn(&mut StoreSettings),
        failure: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> Self {
        let fails = Arc::new(AtomicBool::new(true));
        let is_failing = Arc::clone(&fails);
        let s3 = Scripted::start(move |_, _| {
            if is_failing.load(Relaxed) { failure() } else { reply(200, &[("etag", "\"e\"")], "") }
        })
        .await;
        let mut settings = s3.settings();
        settings.retry_config.max_retries = 0;
        settings.retry_config.circuit_breaker.failures = 3;
        settings.retry_config.circuit_breaker.open_time = Duration::from_millis(300);
        change(&mut settings);
        Self { services: services(settings), s3, fails }
    }

    async fn head(&self, deadline: Option<Duration>) -> Result<(), Status> {
        let mut request = Request::new(pb::HeadRequest { key: "k".to_owned(), ..Default::default() });
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let mut services = ObjectServiceClient::new(self.services.clone());
        let call = services.head(request);
        match deadline {
            Some(deadline) => tokio::time::timeout(deadline, call)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("")))
                .map(drop),
            None => call.await.map(drop),
        }
    }

    /// Makes calls until one fails without a request to S3.
    async fn open(&self, deadline: Option<Duration>) -> Status {
        let opened = async {
            loop {
                let before = self.s3.seen().len();
                let status = self.head(deadline).await.unwrap_err();
                if is_refused(&status) {
                    assert_eq!(self.s3.seen().len(), before, "nothing is sent");
                    return status;
                }
            }
        };
        tokio::time::timeout(AMPLE, opened).await.unwrap()
    }
}

fn is_refused(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.metadata.contains_key("circuit"))
}

#[tokio::test]
async fn calls_fail_at_once_until_s3_answers_again() {
    let failing = Failing::start(|_| (), || reply(503, &[], "")).await;
    let status = failing.open(None).await;
    assert_eq!(status.code(), Code::Unavailable);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["circuit"].as_str()), ("BACKEND_UNAVAILABLE", "open"));
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    // With jitter, so that callers do not return all at once.
    assert!(wait <= Duration::from_millis(600), "{wait:?}");
    failing.fails.store(false, Relaxed);
    let recovered = async {
        while let Err(status) = failing.head(None).await {
            assert!(is_refused(&status), "{status:?}");
        }
    };
    tokio::time::timeout(AMPLE, recovered).await.unwrap();
    failing.head(None).await.unwrap();
}

#[tokio::test]
async fn while_s3_fails_one_call_at_a_time_tests_it() {
    let failing = Failing::start(|_| (), || reply(500, &[], "")).await;
    failing.open(None).await;
    let before = failing.s3.seen().len();
    let tested = async {
        let mut calls = 0;
        while failing.s3.seen().len() < before + 3 {
            let calls_at_once = (0..10).map(|_| failing.head(None));
            calls += futures::future::join_all(calls_at_once).await.len();
        }
        calls
    };
    let calls = tokio::time::timeout(AMPLE, tested).await.unwrap();
    assert_eq!(failing.s3.seen().len(), before + 3, "of {calls} calls");
}

#[tokio::test]
async fn a_server_that_hangs_is_found_out_by_callers_with_short_deadlines() {
    let failing = Failing::start(|_| (), || Answer::Hang(Vec::new())).await;
    failing.open(Some(Duration::from_millis(1_100))).await;
}

#[tokio::test]
async fn an_error_that_concerns_the_request_is_an_answer() {
    let failing = Failing::start(
        |settings| settings.retry_config.circuit_breaker.open_time = Duration::ZERO,
        || reply(404, &[], ""),
    )
    .await;
    for _ in 0..10 {
        assert!(!is_refused(&failing.head(None).await.unwrap_err()));
    }
}

#[tokio::test]
async fn a_copy_within_the_store_can_be_the_call_that_tests_s3() {
    let failing = Failing::start(|_| (), || reply(503, &[], "")).await;
    failing.open(None).await;
    failing.fails.store(false, Relaxed);
    let source = || Some(pb::CopySource { key: "from".to_owned(), ..Default::default() });
    let destination = || Some(pb::CopyDestination { key: "to".to_owned(), ..Default::default() });
    let recovered = async {
        loop {
            let before = failing.s3.seen().len();
            let request =
                pb::CopyRequest { source: source(), destination: destination(), ..Default::default() };
            let status = ObjectServiceClient::new(failing.services.clone()).copy(request).await;
            if failing.s3.seen().len() > before {
                return;
            }
            assert!(is_refused(&status.unwrap_err()));
        }
    };
    tokio::time::timeout(AMPLE, recovered).await.unwrap();
    failing.head(None).await.unwrap();
}

#[tokio::test]
async fn check_store_sends_its_requests_anyway() {
    let failing = Failing::start(|_| (), || reply(503, &[], "")).await;
    failing.open(None).await;
    let before = failing.s3.seen().len();
    let mut services = StoreServiceClient::new(failing.services.clone());
    let response = services.check_store(pb::CheckStoreRequest::default()).await.unwrap().into_inner();
    assert!(response.steps.iter().any(|step| !step.ok));
    assert!(failing.s3.seen().len() > before);
}
