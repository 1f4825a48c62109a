//! Which connections requests travel on, and how long those are kept.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use bytes::Bytes;
use longshore::store::{ErrorKind, ReadOptions, S3Store, WriteOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
};

use crate::scripted::{Answer, Scripted, bytes, error, reply, store};

fn object() -> Vec<u8> {
    bytes(200, &[("etag", "\"e\"")], b"data")
}

async fn get(store: &S3Store) {
    let mut reader = store.get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "data");
    assert!(reader.next().await.is_none());
}

fn connections(server: &Scripted) -> HashSet<SocketAddr> {
    server.seen().iter().map(|seen| seen.peer).collect()
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection() {
    let server = Scripted::start(|_, seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("GET", "/b/k") => Answer::Reply(object()),
        ("GET", _) => error(404, "NoSuchKey"),
        ("HEAD", _) => Answer::Reply(b"HTTP/1.1 200 x\r\ncontent-length: 4\r\netag: \"e\"\r\n\r\n".to_vec()),
        _ => reply(200, &[("etag", "\"e\"")], ""),
    })
    .await;
    let store = server.store();
    get(&store).await;
    store.head("k", &ReadOptions::default()).await.unwrap();
    store.put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap();
    store.get("missing", None, &ReadOptions::default()).await.unwrap_err();
    get(&store).await;
    assert_eq!((server.seen().len(), connections(&server).len()), (5, 1));
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each() {
    let server = Scripted::start(|_, _| Answer::Behind(3, Duration::ZERO, object())).await;
    let store = server.store();
    tokio::join!(get(&store), get(&store), get(&store));
    assert_eq!(connections(&server).len(), 3);
}

#[tokio::test]
async fn another_store_has_connections_of_its_own() {
    let server = Scripted::start(|_, _| Answer::Reply(object())).await;
    get(&server.store()).await;
    get(&server.store()).await;
    assert_eq!(connections(&server).len(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_costs_no_attempt() {
    let server = Scripted::start(|_, _| Answer::Cut(object())).await;
    let mut settings = server.settings();
    settings.retry_config.max_retries = 0;
    let store = store(settings);
    for _ in 0..3 {
        get(&store).await;
        // For the close to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections(&server).len(), 3);
}

#[tokio::test]
async fn a_connection_that_is_idle_for_its_time_is_closed() {
    let mut server = Scripted::start(|_, _| Answer::Hang(object())).await;
    let mut settings = server.settings();
    settings.client_options.pool_idle_timeout = Duration::from_millis(50);
    let store = store(settings);
    get(&store).await;
    server.hung_up().await;
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_may_be() {
    let mut server = Scripted::start(|_, _| Answer::Hang(object())).await;
    let mut settings = server.settings();
    settings.client_options.pool_max_idle_per_host = 1;
    let store = store(settings);
    tokio::join!(get(&store), get(&store), get(&store));
    server.all_hung_up(2).await;
}

#[tokio::test]
async fn without_idle_time_a_request_may_take_as_long_as_it_takes() {
    let server = Scripted::start(|_, _| Answer::Later(Duration::from_millis(50), object())).await;
    let mut settings = server.settings();
    settings.client_options.pool_idle_timeout = Duration::ZERO;
    settings.retry_config.max_retries = 0;
    let store = store(settings);
    get(&store).await;
    get(&store).await;
    assert_eq!(connections(&server).len(), 2);
}

#[tokio::test]
async fn an_answer_that_comes_before_all_is_sent_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (read_on, may_read) = oneshot::channel();
    let server = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(&bytes(503, &[], b"")).await.unwrap();
        may_read.await.unwrap();
        // To the end, which only comes where the other side closes.
        while stream.read(&mut [0; 65_536]).await.is_ok_and(|count| count > 0) {}
    });
    let mut settings = Scripted::start(|_, _| Answer::Reply(object())).await.settings();
    settings.bucket.endpoint = Some(format!("http://{address}"));
    settings.retry_config.max_retries = 0;
    // More than the sockets between take.
    let store = store(settings);
    let put = store.put("k", vec![0; 64 << 20].into(), WriteOptions::default()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::BackendUnavailable);
    read_on.send(()).unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_dropped_closes_its_idle_connections() {
    let mut server = Scripted::start(|_, _| Answer::Hang(object())).await;
    get(&server.store()).await;
    server.hung_up().await;
}
