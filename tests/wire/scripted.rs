//! A server that sends scripted responses, byte for byte, and records the requests.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use longshore::{
    credentials::{Credentials, ProviderSettings, Providers},
    s3::BucketSettings,
    store::{S3Store, StoreSettings, TenantBudget},
    tasks::Tasks,
    telemetry::Metrics,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The client's address, which is different for each connection.
    pub(crate) peer: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The bytes of a header's value.
    pub(crate) fn raw(&self, name: &str) -> Vec<u8> {
        self.header(name).unwrap().chars().map(|c| u8::try_from(c).unwrap()).collect()
    }

    /// Method and target on one line.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A scripted response.
pub(crate) enum Answer {
    /// Sends these bytes and keeps the connection.
    Reply(Vec<u8>),
    /// Sends these bytes after a delay.
    Later(std::time::Duration, Vec<u8>),
    /// Sends these bytes after a delay, which starts once the server has received this number of requests in total.
    Behind(usize, std::time::Duration, Vec<u8>),
    /// Sends these bytes once this is true, and keeps the connection.
    Once(watch::Receiver<bool>, Vec<u8>),
    /// Sends these bytes, a hundred at a time, with a pause after each hundred.
    Slowly(std::time::Duration, Vec<u8>),
    /// Sends these bytes, then closes the connection.
    Cut(Vec<u8>),
    /// Sends these bytes, then nothing until the client closes the connection.
    Hang(Vec<u8>),
}

/// A response with a status, headers and a body. Adds `content-length` if `headers` does not contain it.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    Answer::Reply(bytes(status, headers, body.as_bytes()))
}

pub(crate) fn bytes(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} x\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(crate) fn error(status: u16, code: &str) -> Answer {
    reply(status, &[], &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

type Script = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

/// The server. It ends with the runtime of its test.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    hung_up: watch::Receiver<usize>,
    open: watch::Receiver<usize>,
}

impl Scripted {
    /// Responds to each request by `script`, which gets the number of the request, counted from 0, and the request.
    pub(crate) async fn start(script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (closing, hung_up) = watch::channel(0);
        let (counting, open) = watch::channel(0);
        let (script, record): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, Arc::clone(&script), Arc::clone(&record), closing.clone());
                let counting = counting.clone();
                counting.send_modify(|count| *count += 1);
                tokio::task::spawn(async move {
                    serving.await;
                    counting.send_modify(|count| *count -= 1);
                });
            }
        };
        tokio::task::spawn(accept);
        Self { address, seen, hung_up, open }
    }

    /// The requests received, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The method and target of each request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// Waits until the client has closed a hanging connection.
    pub(crate) async fn hung_up(&mut self) {
        self.all_hung_up(1).await;
    }

    /// Waits until the client has closed this number of hanging connections.
    pub(crate) async fn all_hung_up(&mut self, connections: usize) {
        self.hung_up.wait_for(|count| *count >= connections).await.unwrap();
    }

    /// Waits until exactly this number of connections are open.
    pub(crate) async fn has_open(&mut self, connections: usize) {
        self.open.wait_for(|count| *count == connections).await.unwrap();
    }

    /// Waits for a request that matches `wanted`. Fails after a minute by the real clock: the clock of tokio may be
    /// paused.
    pub(crate) async fn asked(&self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_mins(1) {
            if let Some(found) = self.seen().into_iter().find(&wanted) {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let seen = self.seen();
        let arrived: Vec<_> = seen.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
        panic!("no request matched within a minute; these arrived: {arrived:?}");
    }

    /// Settings of a store on bucket `b`, with short pauses between attempts.
    pub(crate) fn settings(&self) -> StoreSettings {
        let bucket =
            BucketSettings { endpoint: Some(format!("http://{}", self.address)), ..BucketSettings::new("b") };
        let keys = Credentials::new("AKID", "s3cret-key".to_owned(), Some("t0ken".into()));
        let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(keys));
        settings.client_options.allow_http = true;
        settings.retry_config.backoff.init_backoff = std::time::Duration::from_millis(1);
        settings.retry_config.max_retries = 3;
        settings
    }

    pub(crate) fn store(&self) -> S3Store {
        store(self.settings())
    }
}

pub(crate) fn store(settings: StoreSettings) -> S3Store {
    sharing(settings, TenantBudget::default())
}

/// A store that takes its memory from `budget`.
pub(crate) fn sharing(settings: StoreSettings, budget: TenantBudget) -> S3Store {
    S3Store::new(settings, &Providers::default(), Metrics::default(), Tasks::default(), budget).unwrap()
}

/// The number of bytes reserved from the budget with these metrics.
pub(crate) fn reserved(metrics: &Metrics) -> u64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with("longshore_memory_reserved_bytes")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Script>,
    record: Arc<Mutex<Vec<Seen>>>,
    closing: watch::Sender<usize>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let number = {
            let mut record = record.lock().unwrap();
            record.push(request.clone());
            record.len() - 1
        };
        match script(number, &request) {
            Answer::Reply(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
            Answer::Later(time, bytes) => {
                tokio::time::sleep(time).await;
                stream.write_all(&bytes).await.unwrap_or_default();
            }
            Answer::Behind(requests, time, bytes) => {
                while record.lock().unwrap().len() < requests {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                tokio::time::sleep(time).await;
                stream.write_all(&bytes).await.unwrap_or_default();
            }
            Answer::Once(mut released, bytes) => {
                if released.wait_for(|released| *released).await.is_ok() {
                    stream.write_all(&bytes).await.unwrap_or_default();
                }
            }
            Answer::Slowly(pause, bytes) => {
                for piece in bytes.chunks(100) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            Answer::Cut(bytes) => {
                stream.write_all(&bytes).await.unwrap_or_default();
                return;
            }
            Answer::Hang(bytes) => {
                stream.write_all(&bytes).await.unwrap_or_default();
                while stream.read(&mut [0; 64]).await.is_ok_and(|count| count > 0) {}
                closing.send_modify(|count| *count += 1);
                return;
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    // Byte by byte, because headers from other clients need not be UTF-8.
    let head: String = buffer.drain(..end).map(char::from).collect();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // RFC 9112, 3.2: a request without it is invalid.
    assert!(headers.iter().any(|(name, _)| name == "host"), "{method} {target} has no Host header");
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let peer = stream.peer_addr().ok()?;
    Some(Seen { peer, method, target, headers, body: buffer.drain(..length).collect() })
}
