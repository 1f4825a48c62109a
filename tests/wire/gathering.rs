//! The sizes of a read's messages for fast callers, slow callers, and callers whose speed changes.
//!
//! The clock is paused and the tests advance it, so a caller has its intended speed on any machine.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use longshore::{
    api::{Limits, Services, UploadSettings},
    auth::AuthMode,
    pb::{self, object_service_client::ObjectServiceClient},
    tenants::{MemorySettings, Pool, Resources, Snapshot, TenantSettings},
};
use tokio::{task::spawn_blocking, time};
use tonic::{Request, service::Routes};

use crate::scripted::{Answer, Scripted, bytes};

const MIB: usize = 1024 * 1024;
const OBJECT: usize = 12 * MIB;

/// The largest message of a slow caller: what one read from S3 returns.
const SMALL: usize = 48 * 1024;
/// The size of a fast caller's messages, when S3 has sent enough bytes.
const LARGE: usize = 256 * 1024;
/// The number of bytes after which a caller that reads quickly gets large messages.
const PROVEN: usize = 2 * MIB;

/// The services without a server, because the test cannot pause the clocks of a server's threads.
fn services(s3: &Scripted) -> ObjectServiceClient<Routes> {
    let tenant = TenantSettings::new("acme", BTreeMap::from([("default".to_owned(), s3.settings())]));
    let resources = Resources::new(MemorySettings::default());
    let pool = Pool::new(Snapshot::new(vec![tenant], AuthMode::None, &resources));
    let limits = Limits { max_message_bytes: 4 * MIB, message_timeout: Duration::from_secs(60) };
    let services = Services::new(pool, limits, UploadSettings::default(), resources.metrics);
    ObjectServiceClient::new(services.routes())
}

/// The sizes of the messages for a caller that waits after each one. `wait` gets the number of bytes taken so far.
async fn sizes(wait: impl Fn(usize) -> Duration) -> Vec<usize> {
    let s3 = Scripted::start(|_, _| Answer::Reply(bytes(200, &[("etag", "\"e\"")], &vec![7; OBJECT]))).await;
    // While all tasks wait, tokio advances a paused clock by itself, unless a blocking task is running.
    let (working, work) = mpsc::channel::<()>();
    spawn_blocking(move || work.recv());
    time::pause();
    let mut request = Request::new(pb::GetRequest { key: "k".to_owned(), ..Default::default() });
    request.metadata_mut().insert("x-longshore-tenant", "acme".parse().unwrap());
    let mut messages = services(&s3).get(request).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().unwrap().chunk.is_none(), "the first message has no data");
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

/// Splits the sizes into those of messages that start before `at` bytes, and the rest.
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
async fn a_fast_caller_gets_large_messages_once_it_has_proven_its_speed() {
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
async fn a_caller_that_stops_reading_gets_small_messages_until_it_is_fast_again() {
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
