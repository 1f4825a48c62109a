//! What ends a caller's connection, and what does not.

use std::{net::SocketAddr, time::Duration};

use longshore::{
    server::{ConnectionSettings, ServerSettings},
    tenants::TenantSettings,
};
use tokio::time::sleep;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    http2::{
        ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, Raw,
        SETTINGS, WINDOW_UPDATE, frame, head, message,
    },
    support::{Running, channel, get, settings},
};

const NO_ERROR: u32 = 0x0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A server with changed connection limits.
async fn limited(change: impl FnOnce(&mut ConnectionSettings)) -> Running {
    let mut settings = ServerSettings { shutdown_grace: Duration::ZERO, ..settings() };
    change(&mut settings.connections);
    Running::start(settings).await
}

/// How many connections the server has ended for `reason`, according to its metrics.
async fn ended(running: &Running, reason: &str) -> u64 {
    let metrics = get(running.health, "/metrics").await;
    let start = format!("longshore_connections_ended_total{{reason=\"{reason}\"");
    let line = metrics.lines().find(|line| line.starts_with(&start));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until the server has counted a connection that it ended for `reason`.
async fn is_counted(running: &Running, reason: &str) {
    while ended(running, reason).await == 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn serves(address: SocketAddr) -> bool {
    HealthClient::new(channel(address).await).check(HealthCheckRequest::default()).await.is_ok()
}

fn call(stream: u32, path: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &head(path));
    [head, frame(DATA, END_STREAM, stream, &message(&[]))].concat()
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_those_within_it_are_served() {
    let running = limited(|limits| limits.max_connections = Some(2)).await;
    let first = Raw::open(running.grpc, &[]).await;
    let mut second = Raw::open(running.grpc, &[]).await;
    assert_eq!(second.next_of(SETTINGS).await.unwrap().flags, 0);
    let mut third = Raw::open(running.grpc, &[]).await;
    assert!(third.next().await.is_none());
    is_counted(&running, "limit").await;
    drop(first);
    while !serves(running.grpc).await {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_unfinished_handshake_ends_the_connection() {
    let running = limited(|limits| limits.handshake_timeout = Duration::from_millis(100)).await;
    for sent in [&b""[..], &PREFACE[..10], PREFACE] {
        let mut raw = Raw::connect(running.grpc).await;
        raw.send(sent).await;
        raw.goaway().await;
    }
    is_counted(&running, "handshake").await;
    assert!(serves(running.grpc).await);
}

#[tokio::test]
async fn an_unfinished_header_block_ends_the_connection() {
    let running = limited(|limits| limits.handshake_timeout = Duration::from_millis(200)).await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    raw.send(&frame(HEADERS, 0, 1, &head(CHECK))).await;
    assert_eq!(raw.goaway().await, Some(ENHANCE_YOUR_CALM));
    is_counted(&running, "header_block").await;
}

#[tokio::test]
async fn an_old_connection_gets_goaway_and_its_calls_continue() {
    let running = limited(|limits| limits.max_age = Some(Duration::from_millis(200))).await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    raw.send(&call(1, WATCH)).await;
    let goaway = raw.next_of(GOAWAY).await.unwrap();
    assert_eq!(goaway.payload[4..8], NO_ERROR.to_be_bytes());
    let ping = raw.next_of(PING).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    raw.send(&frame(PING, 0, 0, b"is alive")).await;
    while raw.next().await.unwrap().payload != b"is alive" {}
    assert_eq!(ended(&running, "age").await, 0, "its call has not ended");
    // The acknowledged PING shows that the caller has seen the GOAWAY.
    raw.send(&frame(PING, ACK, 0, &ping.payload)).await;
    raw.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    assert_eq!(raw.goaway().await, Some(NO_ERROR));
    is_counted(&running, "age").await;
}

#[tokio::test]
async fn a_caller_that_is_slow_to_acknowledge_a_smaller_window_can_send_the_rest() {
    let tenants = vec![TenantSettings::new("default", Default::default()).into()];
    let running = Running::start(ServerSettings { tenants, ..settings() }).await;
    let mut raw = Raw::connect(running.grpc).await;
    // More than the server's first window, but less than HTTP/2's, which applies until the acknowledgement.
    let put = message(&[0; 100_000]);
    let call = [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &head("/longshore.v1.ObjectService/Put")),
        frame(DATA, 0, 1, &put[..20_000]),
    ];
    raw.send(&call.concat()).await;
    let window = raw.next_of(SETTINGS).await.unwrap();
    assert!(window.payload.chunks(6).any(|setting| setting == [0, 4, 0, 0, 0x40, 0]), "{window:?}");
    // The call reads what was sent.
    sleep(Duration::from_millis(100)).await;
    raw.send(&frame(SETTINGS, ACK, 0, &[])).await;
    while raw.next_of(WINDOW_UPDATE).await.unwrap().stream != 1 {}
}

#[tokio::test]
async fn calls_of_an_old_connection_end_after_the_grace_period() {
    let running = limited(|limits| {
        limits.max_age = Some(Duration::from_millis(100));
        limits.max_age_grace = Some(Duration::from_millis(100));
    })
    .await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    raw.send(&call(1, WATCH)).await;
    assert_eq!(raw.goaway().await, Some(NO_ERROR));
    is_counted(&running, "age_grace").await;
}

#[tokio::test]
async fn a_connection_without_calls_gets_goaway_and_one_with_a_call_does_not() {
    let running = limited(|limits| limits.max_idle = Some(Duration::from_millis(100))).await;
    let mut busy = Raw::open(running.grpc, &[]).await;
    busy.send(&call(1, WATCH)).await;
    let mut idle = Raw::open(running.grpc, &[]).await;
    idle.send(&call(1, CHECK)).await;
    assert!(idle.next_of(GOAWAY).await.is_some());
    let ping = idle.next_of(PING).await.unwrap();
    idle.send(&frame(PING, ACK, 0, &ping.payload)).await;
    idle.goaway().await;
    is_counted(&running, "idle").await;
    busy.send(&frame(PING, 0, 0, b"is alive")).await;
    while busy.next().await.unwrap().payload != b"is alive" {}
}

#[tokio::test]
async fn a_health_watch_keeps_a_connection_open_only_while_there_is_room_for_others() {
    let running = limited(|limits| {
        limits.max_connections = Some(2);
        limits.max_idle = Some(Duration::from_millis(100));
        // How often the server checks whether there is room.
        limits.keepalive_interval = Duration::from_millis(50);
        limits.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    let mut watching = Raw::open(running.grpc, &[]).await;
    watching.send(&call(1, WATCH)).await;
    for _ in 0..10 {
        let ping = watching.next_of(PING).await.expect("it stays while there is room");
        watching.send(&frame(PING, ACK, 0, &ping.payload)).await;
    }
    let _second = Raw::open(running.grpc, &[]).await;
    assert_eq!(watching.goaway().await, Some(NO_ERROR));
    is_counted(&running, "idle").await;
}

#[tokio::test]
async fn rejected_calls_do_not_keep_open_a_connection_that_others_need() {
    let running = limited(|limits| {
        limits.max_connections = Some(1);
        limits.max_idle = Some(Duration::from_millis(200));
        limits.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    let mut refused = Raw::open(running.grpc, &[]).await;
    for number in 0..100 {
        // There is no such tenant.
        refused.send(&call(2 * number + 1, "/longshore.v1.ObjectService/Head")).await;
        sleep(Duration::from_millis(20)).await;
        if ended(&running, "idle").await > 0 {
            break;
        }
    }
    assert_eq!(refused.goaway().await, Some(NO_ERROR));
    is_counted(&running, "idle").await;
}

#[tokio::test]
async fn a_connection_is_closed_after_goaway_even_if_its_caller_stays() {
    let running = limited(|limits| {
        limits.max_idle = Some(Duration::from_millis(50));
        limits.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    assert_eq!(raw.goaway().await, Some(NO_ERROR));
    is_counted(&running, "idle").await;
}

#[tokio::test]
async fn a_caller_that_does_not_answer_a_ping_is_disconnected() {
    let running = limited(|limits| {
        limits.keepalive_interval = Duration::from_millis(50);
        limits.keepalive_timeout = Duration::from_millis(50);
    })
    .await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    assert_eq!(raw.next_of(PING).await.unwrap().payload.len(), 8);
    assert_eq!(raw.goaway().await, None);
    is_counted(&running, "keepalive").await;

    let mut answering = Raw::open(running.grpc, &[]).await;
    for _ in 0..10 {
        let ping = answering.next_of(PING).await.expect("a caller that answers stays connected");
        answering.send(&frame(PING, ACK, 0, &ping.payload)).await;
    }
}

#[tokio::test]
async fn floods_of_frames_without_content_end_the_connection() {
    let running = limited(|_| {}).await;
    let frames = [
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("unsolicited PING acknowledgement", frame(PING, ACK, 0, b"12345678")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
        ("unknown", frame(0x42, 0, 0, &[])),
    ];
    for (name, flood) in frames {
        let mut raw = Raw::open(running.grpc, &[]).await;
        raw.send(&flood.repeat(20_000)).await;
        assert_eq!(raw.goaway().await, Some(ENHANCE_YOUR_CALM), "{name}");
    }
    is_counted(&running, "flood").await;
}

#[tokio::test]
async fn cancelling_every_call_once_is_not_a_flood_and_doing_so_repeatedly_is() {
    let running = limited(|limits| limits.max_concurrent_streams = 1_000).await;
    let cancelled = |stream: u32| [call(stream, WATCH), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    let mut raw = Raw::open(running.grpc, &[]).await;
    let burst: Vec<u8> = (0..1_000).flat_map(|call| cancelled(2 * call + 1)).collect();
    raw.send(&burst).await;
    raw.send(&frame(PING, 0, 0, b"is alive")).await;
    while raw.next().await.expect("the connection stays").payload != b"is alive" {}

    let flood: Vec<u8> = (1_000..20_000).flat_map(|call| cancelled(2 * call + 1)).collect();
    raw.send(&flood).await;
    assert_eq!(raw.goaway().await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn health_is_served_while_callers_use_every_connection() {
    let running = limited(|limits| limits.max_connections = Some(1)).await;
    let _only = Raw::open(running.grpc, &[]).await;
    let silent: Vec<_> = futures::future::join_all((0..200).map(|_| Raw::connect(running.health))).await;
    assert!(get(running.health, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(serves(running.health).await);
    drop(silent);
}

#[tokio::test]
async fn a_caller_that_ignores_goaway_does_not_delay_the_shutdown() {
    let running =
        Running::start(ServerSettings { shutdown_grace: Duration::from_hours(1), ..settings() }).await;
    let mut raw = Raw::open(running.grpc, &[]).await;
    assert_eq!(raw.next_of(SETTINGS).await.unwrap().flags, 0);
    running.stop().await;
}

#[tokio::test]
async fn streams_of_health_and_reflection_do_not_delay_the_shutdown() {
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let running =
        Running::start(ServerSettings { shutdown_grace: Duration::from_hours(1), ..settings() }).await;
    // SETTINGS_INITIAL_WINDOW_SIZE of 0: the server cannot send a response body.
    let mut raw = Raw::open(running.grpc, &[0, 4, 0, 0, 0, 0]).await;
    raw.send(&call(1, WATCH)).await;
    raw.send(&frame(HEADERS, END_HEADERS, 3, &head(REFLECTION))).await;
    raw.send(&[frame(HEADERS, END_HEADERS, 5, &head(CHECK)), frame(DATA, 0, 5, &[0, 0, 0, 0, 9])].concat())
        .await;
    raw.send(&frame(PING, 0, 0, b"are here")).await;
    while raw.next().await.unwrap().payload != b"are here" {}
    running.stop().await;
}
