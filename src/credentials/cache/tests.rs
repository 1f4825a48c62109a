use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::sync::Notify;

use super::{
    current::{PAUSE, pause_without_credentials},
    state::LONGEST_OUTAGE,
    *,
};

const HOUR: Duration = Duration::from_hours(1);

/// How a scripted source answers a request for credentials.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Returns credentials with the number of the request.
    Numbered,
    /// Returns the same credentials each time.
    Same,
    /// Returns credentials that have expired.
    Expired,
    Fails,
    Panics,
}

/// Answers each request as the test says with `answers`.
#[derive(Debug)]
struct Scripted {
    requests: AtomicU32,
    answer: Mutex<Answer>,
    told: Notify,
}

impl Source for Scripted {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        async {
            let number = self.requests.fetch_add(1, SeqCst);
            self.told.notified().await;
            let expiring =
                |name: String| Ok(Credentials::new(name, "secret", None).expiring(SystemTime::now() + HOUR));
            let answer = *self.answer.lock().unwrap();
            match answer {
                Answer::Numbered => expiring(format!("AKID{number}")),
                // With a new time of expiry.
                Answer::Same => {
                    let expires_at = SystemTime::now() + HOUR + Duration::from_secs(number.into());
                    Ok(Credentials::new("SAME", "secret", None).expiring(expires_at))
                }
                Answer::Expired => {
                    Ok(Credentials::new("OLD", "secret", None).expiring(SystemTime::UNIX_EPOCH))
                }
                Answer::Fails => Err(CredentialsError::new(format!("failure {number}"))),
                Answer::Panics => panic!("a defect of the source"),
            }
        }
        .boxed()
    }
}

impl Scripted {
    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
        self.told.notify_one();
    }
}

fn scripted() -> (Arc<Scripted>, Cache) {
    let source = Arc::new(Scripted {
        requests: AtomicU32::new(0),
        answer: Mutex::new(Answer::Numbered),
        told: Notify::new(),
    });
    let owner = Owner { tenant: "acme".into(), bucket: "bucket".to_owned(), provider: "imds" };
    (source.clone(), Cache::new(source, owner, Metrics::default(), Tasks::default()))
}

/// Sets the current credentials to ones that have a lifetime of one hour and expire in `left`.
fn aged(cache: &Cache, left: Duration) {
    let expires_at = SystemTime::now() + left;
    let credentials = Arc::new(Credentials::new("OLD", "secret", None).expiring(expires_at));
    cache.state().current = Some(current(credentials, expires_at - HOUR));
}

/// Credentials that are replaced as late as possible.
fn current(credentials: Arc<Credentials>, loaded: SystemTime) -> Current {
    Current { loaded, jitter: 0.0, ..Current::new(credentials, Duration::ZERO) }
}

fn key(found: &Found) -> &str {
    found.as_ref().unwrap().access_key_id()
}

/// Lets the tasks that are ready run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn credentials_are_replaced_well_before_they_expire() {
    let loaded = SystemTime::UNIX_EPOCH + HOUR;
    let usage = |lifetime: Duration, left: Duration| {
        let expires_at = loaded + lifetime;
        let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(expires_at));
        current(credentials, loaded).usage(expires_at - left)
    };
    let minutes = Duration::from_mins;
    for (left, expected) in [
        (minutes(16), Use::AsTheyAre),
        (minutes(14), Use::WhileReplacing),
        (minutes(9), Use::IfNoOthers),
        (minutes(0), Use::Never),
    ] {
        assert_eq!(usage(HOUR, left), expected, "{left:?}");
        assert_eq!(usage(12 * HOUR, left), expected, "{left:?}");
    }
    // A quarter and a sixth of twelve minutes.
    assert_eq!(usage(minutes(12), minutes(4)), Use::AsTheyAre);
    assert_eq!(usage(minutes(12), Duration::from_secs(170)), Use::WhileReplacing);
    assert_eq!(usage(minutes(12), Duration::from_secs(110)), Use::IfNoOthers);
    let credentials = Arc::new(Credentials::new("AKID", "secret", None));
    let forever = current(credentials, loaded);
    assert_eq!(forever.usage(loaded + 1_000 * HOUR), Use::AsTheyAre);
}

#[test]
fn a_source_that_may_change_is_asked_again() {
    let loaded = SystemTime::UNIX_EPOCH + HOUR;
    let credentials = Credentials::new("AKID", "secret", None).checked_after(Duration::from_secs(5));
    let current = |credentials| current(Arc::new(credentials), loaded);
    let usage = |at: SystemTime| current(credentials.clone()).usage(at);
    assert_eq!(usage(loaded + Duration::from_secs(4)), Use::AsTheyAre);
    assert_eq!(usage(loaded + Duration::from_secs(5)), Use::WhileReplacing);
    assert_eq!(usage(loaded - HOUR), Use::WhileReplacing);
    let expired = current(credentials.expiring(loaded + HOUR));
    assert_eq!(expired.usage(loaded + HOUR), Use::Never);
}

#[tokio::test]
async fn concurrent_calls_share_one_request_and_it_survives_the_call_that_began_it() {
    let (source, cache) = scripted();
    let mut first = Box::pin(cache.credentials(None));
    assert!(first.as_mut().now_or_never().is_none());
    let others = futures::future::join_all((0..3).map(|_| cache.credentials(None)));
    drop(first);
    settle().await;
    source.answers(Answer::Numbered);
    assert!(others.await.iter().all(|found| key(found) == "AKID0"));
    assert_eq!(key(&cache.credentials(None).await), "AKID0");
    assert_eq!(source.requests.load(SeqCst), 1);
}

#[tokio::test]
async fn aging_credentials_are_used_while_they_are_replaced() {
    let (source, cache) = scripted();
    aged(&cache, Duration::from_mins(14));
    for _ in 0..3 {
        assert_eq!(key(&cache.credentials(None).await), "OLD");
        settle().await;
    }
    assert_eq!(source.requests.load(SeqCst), 1);
    source.answers(Answer::Numbered);
    settle().await;
    assert_eq!(key(&cache.credentials(None).await), "AKID0");
}

#[tokio::test(start_paused = true)]
async fn a_failure_leaves_valid_credentials_in_use_and_pauses_the_source() {
    let (source, cache) = scripted();
    aged(&cache, Duration::from_mins(5));
    source.answers(Answer::Fails);
    for _ in 0..5 {
        assert_eq!(key(&cache.credentials(None).await), "OLD");
    }
    assert_eq!(source.requests.load(SeqCst), 1);
    tokio::time::advance(PAUSE).await;
    source.answers(Answer::Numbered);
    assert_eq!(key(&cache.credentials(None).await), "AKID1");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_delays_calls_for_seconds_and_is_given_up() {
    let (source, cache) = scripted();
    aged(&cache, Duration::from_mins(5));
    let began = Instant::now();
    assert_eq!(key(&cache.credentials(None).await), "OLD");
    assert_eq!(began.elapsed(), LONGEST_WAIT);
    cache.state().current = None;
    let error = cache.credentials(None).await.unwrap_err().to_string();
    assert!(error.contains("did not answer within 30 s"), "{error}");
    assert_eq!((began.elapsed(), source.requests.load(SeqCst)), (LONGEST_REQUEST, 1));
}

#[tokio::test(start_paused = true)]
async fn without_credentials_the_error_of_the_source_is_returned_and_the_source_is_soon_asked_again() {
    let (source, cache) = scripted();
    source.answers(Answer::Fails);
    for _ in 0..3 {
        assert_eq!(cache.credentials(None).await.unwrap_err().to_string(), "failure 0");
    }
    tokio::time::advance(pause_without_credentials(1)).await;
    source.answers(Answer::Panics);
    assert!(cache.credentials(None).await.unwrap_err().to_string().contains("failed unexpectedly"));
    tokio::time::advance(pause_without_credentials(2)).await;
    source.answers(Answer::Expired);
    assert!(cache.credentials(None).await.unwrap_err().to_string().contains("have expired"));
    assert_eq!(source.requests.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_a_while_for_a_source_that_has_worked_before() {
    let (source, cache) = scripted();
    aged(&cache, Duration::ZERO);
    source.answers(Answer::Fails);
    let later = async {
        sleep(Duration::from_millis(500)).await;
        source.answers(Answer::Numbered);
    };
    let (found, ()) = tokio::join!(cache.credentials(None), later);
    assert_eq!(key(&found), "AKID1");
    aged(&cache, Duration::ZERO);
    *source.answer.lock().unwrap() = Answer::Fails;
    let began = Instant::now();
    let failing = async {
        loop {
            source.told.notify_one();
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        found = cache.credentials(None) => assert!(found.unwrap_err().to_string().starts_with("failure")),
        () = failing => unreachable!("it does not end"),
    }
    assert!(began.elapsed() >= LONGEST_OUTAGE && began.elapsed() < 2 * LONGEST_OUTAGE);
}

#[test]
fn a_source_of_short_lived_credentials_is_asked_again_sooner() {
    let loaded = SystemTime::UNIX_EPOCH + HOUR;
    let pause = |lifetime: Duration| {
        let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(loaded + lifetime));
        current(credentials, loaded).pause(1, loaded)
    };
    assert_eq!(pause(Duration::from_secs(30)), Duration::from_secs(1));
    assert_eq!(pause(HOUR), PAUSE);
}

#[test]
fn pauses_grow_with_each_failure_up_to_a_limit_and_leave_time_before_the_expiry() {
    let loaded = SystemTime::UNIX_EPOCH + HOUR;
    let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(loaded + HOUR));
    let held = current(credentials, loaded);
    let seconds =
        |failures, left: u64| held.pause(failures, loaded + HOUR - Duration::from_secs(left)).as_secs();
    assert_eq!([1, 2, 3, 4, 5, 99].map(|failures| seconds(failures, 900)), [10, 20, 40, 80, 80, 80]);
    assert_eq!([100, 20, 2].map(|left| seconds(9, left)), [25, 5, 1]);
    assert_eq!([1, 2, 3, 99].map(|failures| pause_without_credentials(failures).as_secs()), [1, 2, 4, 4]);
}

#[test]
fn processes_replace_credentials_at_different_times() {
    let loaded = SystemTime::UNIX_EPOCH + HOUR;
    let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(loaded + HOUR));
    let usage = |jitter, left| {
        let held = Current { jitter, ..current(credentials.clone(), loaded) };
        held.usage(loaded + HOUR - Duration::from_mins(left))
    };
    assert_eq!([usage(0.0, 17), usage(1.0, 17)], [Use::AsTheyAre, Use::WhileReplacing]);
    assert_eq!([usage(1.0, 19), usage(0.0, 15)], [Use::AsTheyAre, Use::WhileReplacing]);
}

#[tokio::test]
async fn a_thousand_first_calls_cause_one_request() {
    let (source, cache) = scripted();
    source.answers(Answer::Numbered);
    let calls = futures::future::join_all((0..1000).map(|_| cache.credentials(None)));
    assert!(calls.await.iter().all(|found| key(found) == "AKID0"));
    assert_eq!(source.requests.load(SeqCst), 1);
}

#[tokio::test]
async fn requests_are_counted_and_the_age_and_the_expiry_are_exported() {
    let (source, cache) = scripted();
    source.answers(Answer::Fails);
    cache.credentials(None).await.unwrap_err();
    let text = cache.0.metrics.render();
    let has =
        |text: &str, line: &str| assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    let labels = r#"provider="imds",tenant="acme",otel_scope_name="longshore""#;
    has(&text, &format!("longshore_credentials_failing{{{labels}}} 1"));
    assert!(!text.contains("longshore_credentials_age"), "there are none yet\n{text}");
    cache.state().failed = None;
    source.answers(Answer::Numbered);
    cache.credentials(None).await.unwrap();
    let text = cache.0.metrics.render();
    has(&text, &format!("longshore_credentials_failing{{{labels}}} 0"));
    has(&text, &format!("longshore_credentials_age_seconds{{{labels}}} 0"));
    has(&text, &format!("longshore_credentials_time_to_expiry_seconds{{{labels}}} 3599"));
    for outcome in ["ok", "error"] {
        let labels =
            format!(r#"{{outcome="{outcome}",provider="imds",tenant="acme",otel_scope_name="longshore"}}"#);
        has(&text, &format!("longshore_credentials_requests_total{labels} 1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_new_credentials_are_always_rejected_is_not_asked_for_each_call() {
    let (source, cache) = scripted();
    for number in 0..2 {
        source.answers(Answer::Numbered);
        let found = cache.credentials(None).await.unwrap();
        assert_eq!(found.access_key_id(), format!("AKID{number}"));
        assert_eq!(cache.report_rejected(&found), number == 0, "the second is not worth a repetition");
    }
    for _ in 0..3 {
        assert_eq!(key(&cache.credentials(None).await), "AKID1");
    }
    assert_eq!(source.requests.load(SeqCst), 2);
    tokio::time::advance(PAUSE).await;
    source.answers(Answer::Numbered);
    assert_eq!(key(&cache.credentials(None).await), "AKID2");
}

#[tokio::test(start_paused = true)]
async fn a_call_with_little_time_uses_the_old_credentials_while_the_source_hangs() {
    let (source, cache) = scripted();
    aged(&cache, Duration::from_mins(5));
    let began = Instant::now();
    assert_eq!(key(&cache.credentials(Some(Duration::from_secs(2))).await), "OLD");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(key(&cache.credentials(None).await), "OLD");
    assert_eq!(began.elapsed(), LONGEST_WAIT, "counted from the start of the request");
    assert_eq!(key(&cache.credentials(None).await), "OLD");
    assert_eq!((began.elapsed(), source.requests.load(SeqCst)), (LONGEST_WAIT, 1));
    cache.state().current = None;
    let error = cache.credentials(Some(Duration::from_secs(1))).await.unwrap_err().to_string();
    assert!(error.contains("has not answered within 1000 ms"), "{error}");
}

#[tokio::test]
async fn credentials_that_s3_accepts_again_are_no_longer_rejected() {
    let (source, cache) = scripted();
    source.answers(Answer::Same);
    let same = cache.credentials(None).await.unwrap();
    assert!(cache.report_rejected(&same));
    source.answers(Answer::Same);
    assert_eq!(key(&cache.credentials(None).await), "SAME");
    assert!(cache.state().failed.is_some());
    cache.report_accepted(&same);
    assert!(cache.state().failed.is_none());
    assert_eq!(key(&cache.credentials(None).await), "SAME");
    assert_eq!(source.requests.load(SeqCst), 2);
}

#[tokio::test]
async fn rejected_credentials_are_replaced_once() {
    let (source, cache) = scripted();
    source.answers(Answer::Numbered);
    let first = cache.credentials(None).await.unwrap();
    assert!(cache.report_rejected(&first));
    source.answers(Answer::Numbered);
    assert_eq!(key(&cache.credentials(None).await), "AKID1");
    // A late report about the credentials that have been replaced changes nothing.
    assert!(cache.report_rejected(&first));
    assert_eq!(key(&cache.credentials(None).await), "AKID1");
    assert_eq!(source.requests.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_returns_rejected_credentials_again_is_not_asked_for_a_while() {
    let (source, cache) = scripted();
    source.answers(Answer::Same);
    let same = cache.credentials(None).await.unwrap();
    assert!(cache.report_rejected(&same));
    source.answers(Answer::Same);
    for _ in 0..3 {
        assert_eq!(key(&cache.credentials(None).await), "SAME");
        assert!(!cache.report_rejected(&same), "the request is not worth repeating");
    }
    assert_eq!(source.requests.load(SeqCst), 2);
}
