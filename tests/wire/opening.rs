//! How connections are opened: so many at once, whatever becomes of those that are begun and of those who wait for them.

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

/// Long enough for all that is about to happen to happen.
const SOON: Duration = Duration::from_millis(200);

/// No test takes as long where all is well.
const LATE: Duration = Duration::from_secs(20);

/// None of these tests runs beside another: each has some 250 sockets, and a process may have 1,024.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How many connections a store opens at once.
const AT_ONCE: usize = 128;

/// The settings of a store that does not give up on its endpoint while a test lasts.
async fn settings(endpoint: String) -> StoreSettings {
    let mut settings = Scripted::start(|_, _| Answer::Cut(Vec::new())).await.settings();
    settings.bucket.endpoint = Some(endpoint);
    settings.client_options.connect_timeout = 3 * LATE;
    settings.client_options.read_timeout = 3 * LATE;
    // Another attempt of a call that has failed could not be told from the first of one that waits.
    settings.retry_config.max_retries = 0;
    settings
}

/// A server that says nothing when TLS begins, and the settings of a store of it.
async fn silent() -> (MutexGuard<'static, ()>, TcpListener, StoreSettings) {
    let alone = ALONE.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(format!("https://{}", listener.local_addr().unwrap())).await;
    (alone, listener, settings)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(LATE, listener.accept()).await.expect("nobody connects").unwrap().0
}

fn head(store: &S3Store) -> BoxFuture<'static, ErrorKind> {
    let store = store.clone();
    async move { store.head("k", &ReadOptions::default()).await.unwrap_err().kind() }.boxed()
}

/// So many calls that all turns are taken and ten wait, with the connections of those that have one.
async fn all_turns_and_ten_more(
    store: &S3Store,
    listener: &TcpListener,
) -> (Vec<JoinHandle<ErrorKind>>, Vec<TcpStream>) {
    let calls = (0..AT_ONCE + 10).map(|_| tokio::spawn(head(store))).collect();
    let mut opening = Vec::new();
    for _ in 0..AT_ONCE {
        opening.push(accept(listener).await);
    }
    (calls, opening)
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let (_alone, listener, settings) = silent().await;
    let store = store(settings);
    let (calls, opening) = all_turns_and_ten_more(&store, &listener).await;
    assert!(timeout(SOON, listener.accept()).await.is_err(), "more than {AT_ONCE} at once");
    // Those that wait have their turn once others have failed.
    drop(opening);
    for _ in 0..10 {
        drop(accept(&listener).await);
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), ErrorKind::ConnectionFailed);
    }
}

#[tokio::test]
async fn a_turn_is_given_back_when_its_caller_leaves() {
    let (_alone, listener, settings) = silent().await;
    let store = store(settings);
    let (calls, _opening) = all_turns_and_ten_more(&store, &listener).await;
    // Those that have a turn and those that wait for one.
    calls.iter().for_each(JoinHandle::abort);
    let _late = tokio::spawn(head(&store));
    let _its = accept(&listener).await;
    assert!(timeout(SOON, listener.accept()).await.is_err(), "one who has left connects");
}

#[tokio::test]
async fn a_turn_ends_in_time_though_nobody_looks_at_its_call() {
    let (_alone, listener, mut settings) = silent().await;
    settings.client_options.connect_timeout = SOON;
    let store = store(settings);
    let mut calls: Vec<_> = (0..AT_ONCE).map(|_| head(&store)).collect();
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
async fn a_write_that_had_no_connection_in_time_is_not_unclear() {
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

/// Here others hang where TCP begins, and the first does not: its connection is the one that comes free.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn whose_turn_comes_takes_a_connection_that_has_come_free() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
    };

    let _alone = ALONE.lock().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // Two that are not accepted are as good as open (listen(2)); the kernel answers no others.
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
    let hanging: Vec<_> = (0..AT_ONCE + 20).map(|_| get()).collect();
    let waiting = get();
    // For the others to take all turns, and for this one to wait for one before a connection comes free.
    tokio::time::sleep(SOON).await;
    stream.write_all(answer).await.unwrap();
    first.await.unwrap();
    hanging.iter().for_each(JoinHandle::abort);
    assert!(timeout(LATE, stream.read(&mut [0; 4096])).await.unwrap().unwrap() > 0);
    stream.write_all(answer).await.unwrap();
    waiting.await.unwrap();
}
