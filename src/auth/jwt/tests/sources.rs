//! When keys are read, and what calls do meanwhile. The clock is paused.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures::FutureExt as _;
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::transport::Lookups;

/// What the URLs of a test answer, by their path.
static ANSWERS: Mutex<Vec<(String, Answer)>> = Mutex::new(Vec::new());

#[derive(Debug, Clone)]
enum Answer {
    Keys(Vec<usize>),
    Broken,
    Hangs,
}

/// One issuer, at a URL of its own.
struct Issuer {
    url: String,
    sources: KeySources,
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);
static REQUESTS: Mutex<Vec<(String, Lookups)>> = Mutex::new(Vec::new());

impl Issuer {
    fn new(answer: Answer) -> Self {
        let url = format!("https://issuer.example/{}", NUMBER.fetch_add(1, SeqCst));
        let sources = KeySources::with(|from, lookups| read(from.url.clone(), lookups).boxed());
        let issuer = Self { url, sources };
        issuer.answers(answer);
        issuer
    }

    /// From now on, requests get this answer.
    fn answers(&self, answer: Answer) {
        let mut answers = ANSWERS.lock().unwrap();
        answers.retain(|(url, _)| *url != self.url);
        answers.push((self.url.clone(), answer));
    }

    fn requests(&self) -> usize {
        REQUESTS.lock().unwrap().iter().filter(|(url, _)| *url == self.url).count()
    }

    fn settings(&self) -> JwtSettings {
        let url = JwksUrl { url: self.url.clone(), bearer_token_file: None, ca: None, refuse_local: false };
        jwt(Jwks::Url(Arc::new(url)))
    }

    fn callers(&self) -> JwtCallers {
        callers(&[("acme", vec![caller("pods", self.settings())])], &self.sources)
    }
}

/// A source's request: as long as [`super::super::fetch::LONGEST_REQUEST`] if the issuer hangs.
async fn read(url: String, lookups: Lookups) -> Result<KeySet, KeysError> {
    REQUESTS.lock().unwrap().push((url.clone(), lookups));
    let answer = ANSWERS.lock().unwrap().iter().find(|(known, _)| *known == url).unwrap().1.clone();
    sleep(Duration::from_millis(10)).await;
    match answer {
        Answer::Keys(indices) => Ok(keys(&indices)),
        Answer::Broken => Err(KeysError::new("the answer has HTTP status 500")),
        Answer::Hangs => {
            sleep(Duration::from_secs(5)).await;
            Err(KeysError::new("no answer within 5 s"))
        }
    }
}

/// The keys with these places in the JWKS.
fn keys(indices: &[usize]) -> KeySet {
    let all = made()["jwks"]["keys"].clone();
    let some: Vec<_> = indices.iter().map(|index| all[*index].clone()).collect();
    KeySet::parse(serde_json::json!({"keys": some}).to_string().as_bytes()).unwrap()
}

const RSA: usize = 0;
const P256: usize = 4;

fn es256() -> String {
    made()["accepted"]["ES256"].as_str().unwrap().to_owned()
}

/// Authenticates a token as a call does: waits for the keys until it is decided.
async fn call(callers: &JwtCallers, token: &str) -> Result<Arc<Principal>, Refusal> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match authenticate(callers, token) {
            Err(Refusal::JwtKeysUnavailable) if Instant::now() < until => {
                let wanted = callers.wanted(token);
                if wanted.is_empty() {
                    return authenticate(callers, token);
                }
                let _ = tokio::time::timeout_at(until, futures::future::select_all(wanted)).await;
            }
            decided => return decided,
        }
    }
}

/// Lets requests in the background end.
async fn settle() {
    sleep(Duration::from_secs(6)).await;
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn keys_are_read_when_they_are_first_needed_and_kept() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    assert_eq!(issuer.requests(), 0);
    assert_eq!(authenticate(&callers, &good()).unwrap_err(), Refusal::JwtKeysUnavailable);
    for _ in 0..10 {
        assert!(call(&callers, &good()).await.is_ok());
    }
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_with_the_same_settings_share_one_cache_across_tenants_and_reloads() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let both = [
        ("acme", vec![caller("a", issuer.settings()), caller("b", issuer.settings())]),
        ("globex", vec![caller("c", issuer.settings())]),
    ];
    let first = callers(&both, &issuer.sources);
    assert!(call(&first, &good()).await.is_ok());
    let reloaded = callers(&both, &issuer.sources);
    drop(first);
    assert_eq!(tenants(&reloaded, &good()), ["acme", "globex"]);
    assert_eq!(issuer.requests(), 1);
    // A source with other settings is another one.
    let Jwks::Url(url) = issuer.settings().jwks else { panic!() };
    let mut settings = issuer.settings();
    settings.jwks = Jwks::Url(Arc::new(JwksUrl { refuse_local: true, ..(*url).clone() }));
    let other = callers(&[("acme", vec![caller("d", settings)])], &issuer.sources);
    assert!(call(&other, &good()).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_unknown_issuers_audiences_and_claims_cause_no_request() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    for (name, case) in made()["rejected"].as_object().unwrap() {
        let token = case[1].as_str().unwrap();
        if !["key", "signature"].iter().any(|kind| case[0] == *kind) {
            assert_ne!(call(&callers, token).await.unwrap_err(), Refusal::JwtKeysUnavailable, "{name}");
        }
    }
    assert_eq!(issuer.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_with_unknown_keys_cause_one_request_in_30_seconds() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    assert!(call(&callers, &good()).await.is_ok());
    advance(MINUTE).await;
    let unknown = made()["rejected"]["an unknown kid"][1].as_str().unwrap().to_owned();
    let calls = (0..1000).map(|_| call(&callers, &unknown));
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.unwrap_err(), Refusal::JwtRejected(JwtRejection::KeyUnknown));
    }
    assert_eq!(issuer.requests(), 2);
    advance(Duration::from_secs(29)).await;
    assert!(call(&callers, &unknown).await.is_err());
    assert_eq!(issuer.requests(), 2);
    advance(Duration::from_secs(1)).await;
    assert!(call(&callers, &unknown).await.is_err());
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_accepted_as_soon_as_a_token_has_it() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    assert!(call(&callers, &good()).await.is_ok());
    advance(Duration::from_secs(30)).await;
    issuer.answers(Answer::Keys(vec![RSA, P256]));
    assert!(call(&callers, &es256()).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_after_the_next_request() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA, P256]));
    let callers = issuer.callers();
    assert!(call(&callers, &good()).await.is_ok() && call(&callers, &es256()).await.is_ok());
    issuer.answers(Answer::Keys(vec![P256]));
    advance(5 * MINUTE).await;
    // This call begins the request in the background. The remembered token of the other key stays valid.
    assert!(authenticate(&callers, &es256()).is_ok());
    settle().await;
    assert_eq!(issuer.requests(), 2);
    assert_eq!(
        authenticate(&callers, &good()).unwrap_err(),
        Refusal::JwtRejected(JwtRejection::KeyUnknown),
        "the token was remembered"
    );
    assert!(authenticate(&callers, &es256()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_fails_or_hangs_delays_no_call_whose_key_is_known_for_an_hour() {
    for answer in [Answer::Broken, Answer::Hangs] {
        let issuer = Issuer::new(Answer::Keys(vec![RSA]));
        let callers = issuer.callers();
        assert!(call(&callers, &good()).await.is_ok());
        issuer.answers(answer);
        let read = Instant::now();
        let mut calls = 0;
        while read.elapsed() < Duration::from_secs(3594) {
            assert!(authenticate(&callers, &good()).is_ok(), "after {:?}", read.elapsed());
            calls += 1;
            sleep(Duration::from_secs(1)).await;
        }
        // One request in 30 s, from the fifth minute on.
        assert!(calls > 3500 && (100..=120).contains(&issuer.requests()), "{}", issuer.requests());
        settle().await;
        assert_eq!(authenticate(&callers, &good()).unwrap_err(), Refusal::JwtKeysUnavailable);
        issuer.answers(Answer::Keys(vec![RSA]));
        advance(MINUTE).await;
        assert!(call(&callers, &good()).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_need_the_keys_of_an_issuer_that_hangs_end_in_time() {
    let issuer = Issuer::new(Answer::Hangs);
    let callers = issuer.callers();
    let began = Instant::now();
    assert_eq!(call(&callers, &good()).await.unwrap_err(), Refusal::JwtKeysUnavailable);
    assert!(began.elapsed() <= Duration::from_secs(5));
    // Another key than the known ones.
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    assert!(call(&callers, &good()).await.is_ok());
    advance(MINUTE).await;
    issuer.answers(Answer::Hangs);
    let began = Instant::now();
    assert_eq!(call(&callers, &es256()).await.unwrap_err(), Refusal::JwtKeysUnavailable);
    assert!(began.elapsed() <= Duration::from_secs(5));
    assert!(authenticate(&callers, &good()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_keys_requests_back_off_and_calls_recover_soon() {
    let issuer = Issuer::new(Answer::Broken);
    let callers = issuer.callers();
    let began = Instant::now();
    while began.elapsed() < 5 * MINUTE {
        assert_eq!(call(&callers, &good()).await.unwrap_err(), Refusal::JwtKeysUnavailable);
        sleep(Duration::from_millis(100)).await;
    }
    assert!((12..=16).contains(&issuer.requests()), "{}", issuer.requests());
    issuer.answers(Answer::Keys(vec![RSA]));
    advance(Duration::from_secs(30)).await;
    assert!(call(&callers, &good()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_leaves_does_not_end_the_request_that_others_wait_for() {
    let issuer = Issuer::new(Answer::Keys(vec![RSA]));
    let callers = issuer.callers();
    let token = good();
    let mut leaves = Box::pin(call(&callers, &token));
    assert!(futures::poll!(&mut leaves).is_pending());
    let stays = call(&callers, &token);
    drop(leaves);
    assert!(stays.await.is_ok());
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_does_not_delay_another_tenant_with_the_same_issuer() {
    let issuer = Issuer::new(Answer::Hangs);
    let both = [
        ("acme", vec![caller("pods", jwt(Jwks::File(Arc::new(jwks()))))]),
        ("globex", vec![caller("pods", issuer.settings())]),
    ];
    let callers = callers(&both, &issuer.sources);
    assert_eq!(tenants(&callers, &good()), ["acme"]);
    // When the other tenant's keys are known, its grants are added.
    issuer.answers(Answer::Keys(vec![RSA]));
    advance(MINUTE).await;
    let token = made()["accepted"]["typ JWT"].as_str().unwrap().to_owned();
    assert_eq!(tenants(&callers, &token), ["acme"]);
    settle().await;
    let token = made()["accepted"]["fractions of seconds"].as_str().unwrap().to_owned();
    assert_eq!(tenants(&callers, &token), ["acme", "globex"]);
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_source_share_their_lookups_because_these_outlive_them() {
    let (issuer, other) = (Issuer::new(Answer::Hangs), Issuer::new(Answer::Hangs));
    for issuer in [&issuer, &other] {
        let callers = issuer.callers();
        for _ in 0..2 {
            assert_eq!(call(&callers, &good()).await.unwrap_err(), Refusal::JwtKeysUnavailable);
            settle().await;
            advance(MINUTE).await;
        }
    }
    let requests = REQUESTS.lock().unwrap().clone();
    let of = |issuer: &Issuer| requests.iter().filter(|(url, _)| *url == issuer.url).collect::<Vec<_>>();
    let (own, others) = (of(&issuer), of(&other));
    assert!(own.len() >= 2 && own.iter().all(|(_, lookups)| lookups.are_shared_with(&own[0].1)));
    assert!(!others[0].1.are_shared_with(&own[0].1));
}
