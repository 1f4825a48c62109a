//! Which connections requests use, and how long idle connections are kept.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use longshore::store::{ErrorKind, ReadOptions, S3Store, WriteOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime,
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
async fn sequential_requests_share_a_connection() {
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
async fn a_store_that_refuses_local_addresses_does_not_connect_to_this_machine() {
    let server = Scripted::start(|_, _| Answer::Reply(object())).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let mut errors = Vec::new();
        // The error does not say which ports are open.
        for port in [server.address.port(), closed.port()] {
            let mut settings = server.settings();
            settings.bucket.endpoint = Some(format!("http://{host}:{port}"));
            settings.client_options.refuse_local = true;
            settings.retry_config.max_retries = 0;
            let failed = store(settings).head("k", &ReadOptions::default()).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::ConnectionFailed, "{host}");
            errors.push(failed.to_string());
        }
        assert!(errors[0].contains("LONGSHORE_TENANTS_TRUSTED"), "{errors:?}");
        assert_eq!(errors[0], errors[1]);
    }
    assert_eq!(server.seen().len(), 0);
    get(&server.store()).await;
}

#[tokio::test]
async fn concurrent_requests_have_a_connection_each() {
    let server = Scripted::start(|_, _| Answer::Behind(3, Duration::ZERO, object())).await;
    let store = server.store();
    tokio::join!(get(&store), get(&store), get(&store));
    assert_eq!(connections(&server).len(), 3);
}

#[tokio::test]
async fn stores_do_not_share_connections() {
    let server = Scripted::start(|_, _| Answer::Reply(object())).await;
    get(&server.store()).await;
    get(&server.store()).await;
    assert_eq!(connections(&server).len(), 2);
}

#[tokio::test]
async fn an_idle_connection_closed_by_the_server_costs_no_attempt() {
    let server = Scripted::start(|_, _| Answer::Cut(object())).await;
    let mut settings = server.settings();
    settings.retry_config.max_retries = 0;
    let store = store(settings);
    for _ in 0..3 {
        get(&store).await;
        // Gives the close time to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections(&server).len(), 3);
}

#[tokio::test]
async fn an_idle_connection_that_closes_before_a_request_is_sent_costs_no_attempt() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = Scripted::start(|_, _| Answer::Reply(object())).await.settings();
    settings.bucket.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    settings.retry_config.max_retries = 0;
    let (hang_up, may_hang_up) = mpsc::channel::<()>();
    let (hung_up, is_hung_up) = mpsc::channel();
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(&object()).unwrap();
            may_hang_up.recv().unwrap();
            drop(stream);
            hung_up.send(()).unwrap();
        }
    });
    let store = store(settings);
    get(&store).await;
    hang_up.send(()).unwrap();
    // This blocks the thread, so the connection's task does not notice the close.
    is_hung_up.recv().unwrap();
    // Now the runtime notices it. This test resumes before that task does, so the connection still looks open.
    tokio::task::yield_now().await;
    get(&store).await;
    hang_up.send(()).unwrap();
    server.join().unwrap();
}

#[tokio::test]
async fn a_connection_is_kept_until_its_idle_timeout() {
    let mut server = Scripted::start(|number, _| match number {
        0 | 1 => Answer::Reply(object()),
        _ => Answer::Hang(object()),
    })
    .await;
    let mut settings = server.settings();
    settings.client_options.pool_idle_timeout = Duration::from_secs(60);
    let store = store(settings);
    get(&store).await;
    get(&store).await;
    pass(Duration::from_secs(59)).await;
    get(&store).await;
    assert_eq!(connections(&server).len(), 1);
    pass(Duration::from_secs(61)).await;
    server.hung_up().await;
}

/// Advances tokio's clock by `time` and runs the tasks that are then due.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    // The runtime checks the clock, then runs the tasks that are due before this one.
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_the_maximum() {
    let server =
        Scripted::start(|number, _| Answer::Behind((number / 3 + 1) * 3, Duration::ZERO, object())).await;
    let mut settings = server.settings();
    settings.client_options.pool_max_idle_per_host = Some(1);
    let store = store(settings);
    for _ in 0..2 {
        tokio::join!(get(&store), get(&store), get(&store));
    }
    // Three connections at first, then two new ones and the one that was kept.
    assert_eq!(connections(&server).len(), 5);
}

/// A thread with its own runtime, like each worker thread that serves callers.
struct Home {
    gets: tokio::sync::mpsc::UnboundedSender<()>,
    got: mpsc::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

impl Home {
    fn of(store: S3Store) -> Self {
        let (gets, mut wanted) = tokio::sync::mpsc::unbounded_channel();
        let (tell, got) = mpsc::channel();
        let life = async move {
            while let Some(()) = wanted.recv().await {
                get(&store).await;
                tell.send(()).unwrap();
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { gets, got, thread: thread::spawn(move || runtime.block_on(life)) }
    }

    fn get(&self) {
        self.gets.send(()).unwrap();
        self.got.recv().unwrap();
    }

    /// Ends the thread and drops its runtime.
    fn end(self) {
        drop(self.gets);
        self.thread.join().unwrap();
    }
}

#[test]
fn each_runtime_has_its_own_connections_and_outlives_the_others() {
    let outside = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = outside.block_on(Scripted::start(|_, _| Answer::Reply(object())));
    let store = server.store();
    let (one, other) = (Home::of(store.clone()), Home::of(store.clone()));
    for home in [&one, &other, &one, &other] {
        home.get();
    }
    one.end();
    other.get();
    Home::of(store).get();
    let peers: Vec<_> = server.seen().iter().map(|seen| seen.peer).collect();
    let [of_one, of_other, .., of_last] = peers[..] else { panic!("{peers:?}") };
    assert_eq!(peers, [of_one, of_other, of_one, of_other, of_other, of_last]);
    assert_eq!(connections(&server).len(), 3);
}

#[tokio::test]
async fn an_idle_timeout_of_zero_does_not_limit_requests() {
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
async fn a_response_before_the_request_is_complete_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (read_on, may_read) = oneshot::channel();
    let server = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(&bytes(503, &[], b"")).await.unwrap();
        may_read.await.unwrap();
        // Reads to the end, which comes only when the client closes the connection.
        while stream.read(&mut [0; 65_536]).await.is_ok_and(|count| count > 0) {}
    });
    let mut settings = Scripted::start(|_, _| Answer::Reply(object())).await.settings();
    settings.bucket.endpoint = Some(format!("http://{address}"));
    settings.retry_config.max_retries = 0;
    // The put has more bytes than the socket buffers hold.
    let store = store(settings);
    let put = store.put("k", vec![0; 64 << 20].into(), WriteOptions::default()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::BackendUnavailable);
    read_on.send(()).unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn dropping_a_store_closes_its_idle_connections() {
    let mut server = Scripted::start(|_, _| Answer::Hang(object())).await;
    get(&server.store()).await;
    server.hung_up().await;
}
