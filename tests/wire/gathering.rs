//! How large the messages of a read are for callers that are fast, slow, and first one and then the other.
//!
//! Time stands still but for what a test lets pass, so a caller is as fast as it is meant to be on any machine.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use longshore::{
    api::{Limits, Services, UploadSettings},
    auth::AuthMode,
    pb::{self, object_service_client::ObjectServiceClient},
    telemetry::{Metrics, Tasks},
    tenants::{MemorySettings, Pool, TenantSettings},
};
use tokio::{task::spawn_blocking, time};
use tonic::{Request, service::Routes};

use crate::scripted::{Answer, Scripted, bytes};

const MIB: usize = 1024 * 1024;
const OBJECT: usize = 12 * MIB;

/// What a slow caller gets at most in a message: so much is read from S3 at once.
const SMALL: usize = 48 * 1024;
/// What a fast caller gets, in each message that S3 has sent enough for.
const LARGE: usize = 256 * 1024;
/// So much a caller takes fast before it is known for that.
const PROVEN: usize = 2 * MIB;

/// The services without a server, which would have threads whose clocks nobody stops.
fn services(s3: &Scripted) -> ObjectServiceClient<Routes> {
    let tenant = TenantSettings::new("acme", BTreeMap::from([("default".to_owned(), s3.settings())]));
    let pool = Pool::new(vec![tenant], MemorySettings::default(), &Metrics::default(), &Tasks::default());
    let limits = Limits { max_message_bytes: 4 * MIB, message_timeout: Duration::from_secs(60) };
    let services = Services::new(pool, AuthMode::None, limits, UploadSettings::default(), Metrics::default());
    ObjectServiceClient::new(services.routes())
}

/// The sizes of the messages for a caller that waits so long before each, by what it has taken before.
async fn sizes(wait: impl Fn(usize) -> Duration) -> Vec<usize> {
    let s3 = Scripted::start(|_, _| Answer::Reply(bytes(200, &[("etag", "\"e\"")], &vec![7; OBJECT]))).await;
    // A stopped clock goes on by itself when nothing but sockets is waited for, unless there is work on another thread.
    let (working, work) = mpsc::channel::<()>();
    spawn_blocking(move || work.recv());
    time::pause();
    let mut request = Request::new(pb::GetRequest { key: "k".to_owned(), ..Default::default() });
    request.metadata_mut().insert("x-longshore-tenant", "acme".parse().unwrap());
    let mut messages = services(&s3).get(request).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().unwrap().chunk.is_none(), "the first says what it is");
    let (mut sizes, mut taken) = (Vec::new(), 0);
    while let Some(message) = messages.message().await.unwrap() {
        let size = message.chunk.unwrap().data.len();
        taken += size;
        sizes.push(size);
        time::advance(wait(taken)).await;
    }
    drop(working);
    assert_eq!(taken, OBJECT);
    sizes
}

/// The messages that begin before so many bytes, and those after.
fn split(sizes: &[usize], at: usize) -> (&[usize], &[usize]) {
    let mut taken = 0;
    let first = sizes.iter().take_while(|size| {
        taken += **size;
        taken - **size < at
    });
    sizes.split_at(first.count())
}

fn largest(sizes: &[usize]) -> usize {
    *sizes.iter().max().unwrap()
}

#[tokio::test]
async fn a_fast_caller_gets_large_messages_once_it_is_known_for_it() {
    let sizes = sizes(|_| Duration::ZERO).await;
    let (unproven, proven) = split(&sizes, PROVEN);
    assert!(largest(unproven) <= SMALL, "{sizes:?}");
    assert!(largest(proven) >= LARGE, "{sizes:?}");
    assert!(largest(proven) < LARGE + SMALL, "{sizes:?}");
}

#[tokio::test]
async fn a_slow_caller_gets_small_messages() {
    let sizes = sizes(|_| Duration::from_millis(10)).await;
    assert!(largest(&sizes) <= SMALL, "{sizes:?}");
}

#[tokio::test]
async fn a_caller_that_stops_reading_gets_small_messages_until_it_is_known_for_fast_again() {
    let stops_after = 5 * MIB;
    let stopped = std::cell::Cell::new(0);
    let sizes = sizes(|taken| {
        if stopped.get() > 0 || taken < stops_after {
            return Duration::ZERO;
        }
        stopped.set(taken);
        Duration::from_secs(60)
    })
    .await;
    let (before, after) = split(&sizes, stopped.get());
    let (unproven, proven) = split(after, PROVEN);
    assert!(largest(before) >= LARGE, "{sizes:?}");
    assert!(largest(unproven) <= SMALL, "{sizes:?}");
    assert!(largest(proven) >= LARGE, "{sizes:?}");
}
