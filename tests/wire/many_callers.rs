//! Many calls at the same time. Those that wait for an S3 that does not respond, or for a caller that does not read or
//! send, must not block the others, whether on their connection or by holding memory.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client};
use http::{HeaderMap, Method, Request, header::HeaderName};
use longshore::{
    auth::AuthMode,
    pb::{self, upload_request::Message as Part},
    server::{MemorySettings, Server, ServerSettings},
    tenants::TenantSettings,
};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::scripted::{Answer, Scripted, bytes};

const MIB: usize = 1024 * 1024;

/// A timeout that only a failing test reaches.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with two stores: `default`, whose GET returns 8 MiB and whose HEAD says 4 bytes, and `silent`, whose S3
/// never responds.
struct TestServer {
    address: SocketAddr,
    health: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    _stores: [Scripted; 2],
}

impl TestServer {
    async fn start(settings: ServerSettings) -> Self {
        let page = page();
        let object = move |seen: &crate::scripted::Seen| match seen.method.as_str() {
            "GET" if seen.target.contains("list-type") => Answer::Reply(bytes(200, &[], page.as_bytes())),
            "HEAD" => Answer::Reply(b"HTTP/1.1 200 x\r\ncontent-length: 4\r\netag: \"e\"\r\n\r\n".to_vec()),
            _ => Answer::Reply(bytes(200, &[("etag", "\"e\"")], &vec![7; 8 * MIB])),
        };
        let whole = Scripted::start(move |_, seen| object(seen)).await;
        let silent = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
        let stores = BTreeMap::from([
            ("default".to_owned(), whole.settings()),
            ("silent".to_owned(), silent.settings()),
        ]);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(ServerSettings {
            listen_addr: any_port,
            health_addr: any_port,
            auth: AuthMode::None,
            tenants: vec![TenantSettings::new("acme", stores).into()],
            ..settings
        });
        let server = server.await.unwrap();
        let (address, health, (stop, stopped)) =
            (server.listen_addr(), server.health_addr(), oneshot::channel());
        tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, health, stop: Some(stop), _stores: [whole, silent] }
    }

    /// Opens a connection whose streams have windows of `window` bytes.
    async fn connect(&self, window: u32) -> Connection {
        self.connect_by(TcpStream::connect(self.address).await.unwrap(), window).await
    }

    async fn connect_by<T>(&self, socket: T, window: u32) -> Connection
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size((1 << 31) - 1);
        let (calls, connection) = builder.handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Connection(calls)
    }
}

/// A page of 1,000 keys.
fn page() -> String {
    let entries = (0..1_000).map(|number| {
        format!("<Contents><Key>{number:04}{}</Key><Size>1</Size></Contents>", "k".repeat(900))
    });
    format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
        entries.collect::<String>()
    )
}

/// A socket that writes but never reads.
struct Unread(TcpStream);

impl AsyncRead for Unread {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Unread {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Connection(client::SendRequest<Bytes>);

/// A call whose request headers have been sent.
struct Call {
    request: SendStream<Bytes>,
    response: client::ResponseFuture,
}

impl Connection {
    async fn call(&mut self, method: &str, headers: &[(&str, &str)]) -> Call {
        let uri = format!("http://x/longshore.v1.ObjectService/{method}");
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-longshore-tenant", "acme");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        std::future::poll_fn(|cx| self.0.poll_ready(cx)).await.unwrap();
        let (response, request) = self.0.send_request(request.body(()).unwrap(), false).unwrap();
        Call { request, response }
    }

    async fn head(&mut self) -> String {
        let mut call = self.call("Head", &[]).await;
        call.send(&pb::HeadRequest { key: "k".to_owned(), ..Default::default() }, true);
        let mut response = call.response().await;
        while let Some(data) = response.data().await {
            data.unwrap();
        }
        status(response.trailers().await.unwrap())
    }
}

impl Call {
    /// Queues a message. HTTP/2 sends as much of it as the windows allow.
    fn send(&mut self, message: &impl Message, end: bool) {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut framed).unwrap();
        self.request.send_data(framed.freeze(), end).unwrap();
    }

    async fn response(self) -> RecvStream {
        timeout(PATIENCE, self.response).await.expect("no response").unwrap().into_body()
    }
}

fn status(trailers: Option<HeaderMap>) -> String {
    let name = HeaderName::from_static("grpc-status");
    trailers.unwrap().get(name).unwrap().to_str().unwrap().to_owned()
}

/// Reads a short response to its end, and returns the status of the call.
async fn end(call: Call) -> String {
    let response = timeout(PATIENCE, call.response).await.expect("no response").unwrap();
    let (head, mut body) = response.into_parts();
    if head.headers.contains_key("grpc-status") {
        // The response has a status and no message.
        return status(Some(head.headers));
    }
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    status(body.trailers().await.unwrap())
}

/// Reads what has arrived without opening the stream's window for more, and returns the status of the call.
async fn end_unread(mut response: RecvStream) -> String {
    let mut taken = 0;
    while let Some(data) = timeout(PATIENCE, response.data()).await.expect("the call does not end") {
        // The capacity is not released to the stream's window.
        taken += data.unwrap().len();
    }
    assert!(taken < MIB, "{taken} bytes arrived");
    status(response.trailers().await.unwrap())
}

fn upload(store: &str, key: usize) -> [pb::UploadRequest; 2] {
    let spec = pb::UploadSpec { store: store.to_owned(), key: key.to_string(), ..Default::default() };
    let chunk = pb::Chunk { data: vec![7; MIB].into(), crc32c: None };
    [Part::Spec(spec), Part::Chunk(chunk)].map(|part| pb::UploadRequest { message: Some(part) })
}

async fn get(connection: &mut Connection, headers: &[(&str, &str)]) -> RecvStream {
    let mut call = connection.call("Get", headers).await;
    call.send(&pb::GetRequest { key: "k".to_owned(), ..Default::default() }, true);
    call.response().await
}

#[tokio::test]
async fn uploads_that_wait_for_s3_do_not_block_other_calls_on_their_connection() {
    let server = TestServer::start(ServerSettings::default()).await;
    let mut connection = server.connect(65_535).await;
    let mut uploads = Vec::new();
    for key in 0..60 {
        let mut call = connection.call("Upload", &[]).await;
        let [spec, chunk] = upload("silent", key);
        call.send(&spec, false);
        (0..16).for_each(|_| call.send(&chunk, false));
        uploads.push(call);
    }
    for _ in 0..20 {
        assert_eq!(timeout(PATIENCE, connection.head()).await.expect("Head waits for the uploads"), "0");
    }
}

#[tokio::test]
async fn unread_responses_do_not_block_other_calls_on_their_connection() {
    let server = TestServer::start(ServerSettings::default()).await;
    let mut connection = server.connect(1_000).await;
    let mut unread = Vec::new();
    for _ in 0..50 {
        unread.push(get(&mut connection, &[]).await);
    }
    for _ in 0..20 {
        assert_eq!(timeout(PATIENCE, connection.head()).await.expect("Head waits for the reads"), "0");
    }
}

#[tokio::test]
async fn a_read_ends_at_its_deadline_even_if_its_caller_does_not_read() {
    let server = TestServer::start(ServerSettings::default()).await;
    let mut connection = server.connect(1_000).await;
    let response = get(&mut connection, &[("grpc-timeout", "300m")]).await;
    assert_eq!(end_unread(response).await, "4");
}

#[tokio::test]
async fn a_shutdown_ends_a_read_even_if_its_caller_does_not_read() {
    let settings = ServerSettings { shutdown_grace: Duration::from_millis(50), ..Default::default() };
    let mut server = TestServer::start(settings).await;
    let mut connection = server.connect(1_000).await;
    let response = get(&mut connection, &[]).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(end_unread(response).await, "14");
}

#[tokio::test]
async fn an_unread_response_ends_when_other_calls_wait_for_memory() {
    let memory = MemorySettings {
        budget: 16 << 20,
        wait: Duration::from_mins(10),
        idle_timeout: Duration::from_millis(200),
    };
    let server = TestServer::start(ServerSettings { memory, ..Default::default() }).await;
    let mut reading = server.connect(1_000).await;
    let alone = get(&mut reading, &[]).await;
    let mut uploading = server.connect(65_535).await;
    let mut uploads = Vec::new();
    for key in 0..4 {
        let mut call = uploading.call("Upload", &[]).await;
        let [spec, chunk] = upload("silent", key);
        call.send(&spec, false);
        (0..16).for_each(|_| call.send(&chunk, false));
        uploads.push(call);
    }
    assert_eq!(end_unread(alone).await, "10");
}

#[tokio::test]
async fn incomplete_messages_are_evicted_when_other_messages_wait_for_memory() {
    let memory =
        MemorySettings { budget: 16 << 20, wait: Duration::from_secs(6), ..MemorySettings::default() };
    let server = TestServer::start(ServerSettings { memory, ..Default::default() }).await;
    let mut connection = server.connect(65_535).await;
    let put = pb::PutRequest { key: "k".to_owned(), data: vec![7; 3 * MIB].into(), ..Default::default() };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(put.encoded_len()).unwrap());
    put.encode(&mut framed).unwrap();
    let framed = framed.freeze();
    let mut unfinished = Vec::new();
    for number in 0..10 {
        let mut call = connection.call("Put", &[]).await;
        // Some callers send the whole message but do not end the stream.
        let sent = if number % 2 == 0 { framed.slice(..20_000) } else { framed.clone() };
        call.request.send_data(sent, false).unwrap();
        unfinished.push(call);
    }
    let mut whole = connection.call("Put", &[]).await;
    whole.request.send_data(framed, true).unwrap();
    assert_eq!(end(whole).await, "0");
    for call in unfinished.into_iter().take(2) {
        assert_eq!(end(call).await, "8");
    }
}

#[tokio::test]
async fn unread_connections_are_closed_while_many_bytes_are_unsent() {
    let memory = MemorySettings { idle_timeout: Duration::from_millis(200), ..Default::default() };
    let mut settings = ServerSettings { memory, ..Default::default() };
    // No keepalive ping is due during the test, so only the memory's idle timeout can close the connections that do not
    // read.
    settings.connections.keepalive_interval = Duration::from_hours(1);
    let server = TestServer::start(settings).await;
    let mut reading = server.connect(65_535).await;
    let mut unread = Vec::new();
    for _ in 0..30 {
        let socket = Unread(TcpStream::connect(server.address).await.unwrap());
        let mut connection = server.connect_by(socket, (1 << 31) - 1).await;
        for _ in 0..10 {
            let mut call = connection.call("Get", &[]).await;
            call.send(&pb::GetRequest { key: "k".to_owned(), ..Default::default() }, true);
            unread.push(call);
        }
    }
    let closed = async {
        while ended_by_read_idle(server.health).await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("no connection is closed");
    assert_eq!(timeout(PATIENCE, reading.head()).await.expect("Head waits for the reads"), "0");
}

#[tokio::test]
async fn unread_pages_count_as_reserved_memory_until_they_are_dropped() {
    const PAGE: u64 = 900_000;
    let server = TestServer::start(ServerSettings::default()).await;
    let mut connection = server.connect(1_000).await;
    let mut unread = Vec::new();
    for method in ["List", "Walk"].into_iter().cycle().take(20) {
        let mut call = connection.call(method, &[]).await;
        call.send(&pb::ListRequest::default(), true);
        unread.push(call.response().await);
    }
    let reserved = async || metric(server.health, "longshore_memory_reserved_bytes", "").await;
    assert!(reserved().await >= 20 * PAGE, "{}", reserved().await);
    assert_eq!(timeout(PATIENCE, connection.head()).await.expect("Head waits for the pages"), "0");
    drop((unread, connection));
    let gone = async {
        while reserved().await > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("memory stays reserved");
}

/// The number of connections that the server has closed because their callers read nothing.
async fn ended_by_read_idle(health: SocketAddr) -> u64 {
    metric(health, "longshore_connections_ended_total", r#"reason="read_idle""#).await
}

/// The value of a metric of the server. 0 if the server has not counted anything yet.
async fn metric(health: SocketAddr, name: &str, label: &str) -> u64 {
    let mut stream = TcpStream::connect(health).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn resetting_the_stream_of_an_upload_writes_no_partial_object() {
    let server = TestServer::start(ServerSettings::default()).await;
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut connection = server.connect(65_535).await;
        let mut call = connection.call("Upload", &[]).await;
        let [spec, chunk] = upload("default", 1);
        call.send(&spec, false);
        call.send(&chunk, false);
        assert_eq!(connection.head().await, "0", "the upload has begun");
        call.request.send_reset(reason);
        assert_eq!(connection.head().await, "0");
    }
    let writes = server._stores[0].seen().iter().filter(|seen| seen.method != "HEAD").count();
    assert_eq!(writes, 0);
}
