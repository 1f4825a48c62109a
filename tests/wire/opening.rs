//! The limit on connections that are being opened at the same time, even when connections hang or callers leave.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use longshore::store::{ErrorKind, ReadOptions, S3Store, StoreSettings, WriteMode, WriteOptions};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::timeout,
};

use crate::scripted::{Answer, Scripted, store};

/// Long enough for everything that is about to happen.
const SOON: Duration = Duration::from_millis(200);

/// A timeout that only a failing test reaches.
const LATE: Duration = Duration::from_secs(20);

/// Serialises these tests: each has about 250 sockets, and a process may have 1,024.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The number of connections that a store opens at the same time.
const MAX_OPENING: usize = 128;

/// The settings of a store that does not time out during a test.
async fn settings(endpoint: String) -> StoreSettings {
    let mut settings = Scripted::start(|_, _| Answer::Cut(Vec::new())).await.settings();
    settings.bucket.endpoint = Some(endpoint);
    settings.client_options.connect_timeout = 3 * LATE;
    settings.client_options.read_timeout = 3 * LATE;
    // A retry of a failed call would look like the first attempt of a waiting call.
    settings.retry_config.max_retries = 0;
    settings
}

/// A server that does not respond to the TLS handshake, and the settings of a store on it.
async fn silent() -> (MutexGuard<'static, ()>, TcpListener, StoreSettings) {
    let alone = ALONE.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(format!("https://{}", listener.local_addr().unwrap())).await;
    (alone, listener, settings)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(LATE, listener.accept()).await.expect("no connection arrived").unwrap().0
}

fn head(store: &S3Store) -> BoxFuture<'static, ErrorKind> {
    let store = store.clone();
    async move { store.head("k", &ReadOptions::default()).await.unwrap_err().kind() }.boxed()
}

/// Starts calls until all slots are taken and ten calls wait. Returns the calls, and the connections of the calls that
/// have a slot.
async fn all_turns_and_ten_more(
    store: &S3Store,
    listener: &TcpListener,
) -> (Vec<JoinHandle<ErrorKind>>, Vec<TcpStream>) {
    let calls = (0..MAX_OPENING + 10).map(|_| tokio::spawn(head(store))).collect();
    let mut opening = Vec::new();
    for _ in 0..MAX_OPENING {
        opening.push(accept(listener).await);
    }
    (calls, opening)
}

#[tokio::test]
async fn no_more_connections_are_opened_at_once_than_the_limit() {
    let (_alone, listener, settings) = silent().await;
    let store = store(settings);
    let (calls, opening) = all_turns_and_ten_more(&store, &listener).await;
    assert!(timeout(SOON, listener.accept()).await.is_err(), "more than {MAX_OPENING} at once");
    // The waiting calls get a slot once others have failed.
    drop(opening);
    for _ in 0..10 {
        drop(accept(&listener).await);
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), ErrorKind::ConnectionFailed);
    }
}

#[tokio::test]
async fn a_slot_is_released_when_its_caller_leaves() {
    let (_alone, listener, settings) = silent().await;
    let store = store(settings);
    let (calls, _opening) = all_turns_and_ten_more(&store, &listener).await;
    // Aborts the calls that have a slot and the calls that wait for one.
    calls.iter().for_each(JoinHandle::abort);
    let _late = tokio::spawn(head(&store));
    let _its = accept(&listener).await;
    assert!(timeout(SOON, listener.accept()).await.is_err(), "an aborted call connects");
}

#[tokio::test]
async fn a_slot_times_out_even_if_its_call_is_not_polled() {
    let (_alone, listener, mut settings) = silent().await;
    settings.client_options.connect_timeout = SOON;
    let store = store(settings);
    let mut calls: Vec<_> = (0..MAX_OPENING).map(|_| head(&store)).collect();
    let mut opening = Vec::new();
    for call in &mut calls {
        assert_eq!(call.now_or_never(), None);
        opening.push(accept(&listener).await);
    }
    let late = tokio::spawn(head(&store));
    accept(&listener).await;
    drop((late, calls));
}

#[tokio::test]
async fn a_write_that_gets_no_connection_in_time_is_not_unclear() {
    let (_alone, _listener, mut settings) = silent().await;
    settings.write_id = false;
    let (mut impatient, mut hurried) = (settings.clone(), settings);
    impatient.client_options.read_timeout = SOON;
    hurried.client_options.timeout = Some(SOON);
    for (settings, limit) in [(impatient, "client_options.read_timeout"), (hurried, "client_options.timeout")]
    {
        let create = WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() };
        let failed = store(settings).put("k", Bytes::from_static(b"x"), create).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConnectionFailed);
        assert!(failed.to_string().contains(&format!("none within {limit};")), "{failed}");
    }
}

/// Here all connections but the first hang in the TCP handshake. The first becomes idle, and a waiting call reuses it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_call_that_gets_a_slot_takes_a_connection_that_has_become_idle() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
    };

    let _alone = ALONE.lock().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // The kernel opens two connections that are not yet accepted (listen(2)) and answers no others.
    let listener = socket.listen(1).unwrap();
    let store = store(settings(format!("http://{}", listener.local_addr().unwrap())).await);
    let get = || {
        let store = store.clone();
        tokio::spawn(async move { store.head("k", &ReadOptions::default()).await.unwrap() })
    };
    let answer = b"HTTP/1.1 200 x\r\ncontent-length: 4\r\netag: \"e\"\r\n\r\n";
    let first = get();
    let mut stream = accept(&listener).await;
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    let hanging: Vec<_> = (0..MAX_OPENING + 20).map(|_| get()).collect();
    let waiting = get();
    // Lets the others take all slots, and lets this call wait for one before a connection becomes idle.
    tokio::time::sleep(SOON).await;
    stream.write_all(answer).await.unwrap();
    first.await.unwrap();
    hanging.iter().for_each(JoinHandle::abort);
    assert!(timeout(LATE, stream.read(&mut [0; 4096])).await.unwrap().unwrap() > 0);
    stream.write_all(answer).await.unwrap();
    waiting.await.unwrap();
}
