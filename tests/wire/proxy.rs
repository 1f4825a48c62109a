//! A proxy that flips one bit of the payload.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The bit of the payload to flip, counted from 0 in each connection and direction. `NONE` flips no bit.
pub(crate) struct Flips {
    pub(crate) up: AtomicUsize,
    pub(crate) down: AtomicUsize,
}

pub(crate) const NONE: usize = usize::MAX;

impl Default for Flips {
    fn default() -> Self {
        Self { up: NONE.into(), down: NONE.into() }
    }
}

/// The protocol of the connection, which determines what counts as payload.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// Non-ASCII bytes are payload: everything else that HTTP/1.1 and S3 send is ASCII.
    S3,
    /// The contents of DATA frames are payload, including the framing of gRPC and protobuf.
    Http2,
}

impl Protocol {
    fn up(self) -> Payload {
        match self {
            Self::S3 => Payload::BeyondAscii,
            Self::Http2 => Payload::DataFrames(Frames { left: PREFACE, ..Frames::default() }),
        }
    }

    fn down(self) -> Payload {
        match self {
            Self::S3 => Payload::BeyondAscii,
            Self::Http2 => Payload::DataFrames(Frames::default()),
        }
    }
}

enum Payload {
    BeyondAscii,
    DataFrames(Frames),
}

impl Payload {
    /// Whether the next byte is payload.
    fn has(&mut self, byte: u8) -> bool {
        match self {
            Self::BeyondAscii => !byte.is_ascii(),
            Self::DataFrames(frames) => frames.are_data(byte),
        }
    }
}

/// What a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// The position in the HTTP/2 frames of one direction of a connection.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    /// The number of bytes left before the next frame header.
    left: usize,
    data: bool,
}

impl Frames {
    fn are_data(&mut self, byte: u8) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return self.data;
        }
        self.head.push(byte);
        // Length, type, flags and stream (RFC 9113, section 4.1).
        if let [high, middle, low, kind, _, _, _, _, _] = self.head[..] {
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.data = kind == 0;
            self.head.clear();
        }
        false
    }
}

/// Forwards all bytes and flips one bit of the payload.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut payload: Payload,
    flip: impl Fn() -> usize,
) {
    let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        for byte in &mut buffer[..count] {
            if payload.has(*byte) {
                if flip() / 8 == passed {
                    *byte ^= 1 << (flip() % 8);
                }
                passed += 1;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Starts a proxy that flips bits. It ends with the runtime of its test.
pub(crate) async fn damaging(target: SocketAddr, protocol: Protocol, flips: Arc<Flips>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(target).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            let (up, down) = (Arc::clone(&flips), Arc::clone(&flips));
            tokio::spawn(pass(from_near, to_far, protocol.up(), move || up.up.load(Ordering::SeqCst)));
            tokio::spawn(pass(from_far, to_near, protocol.down(), move || down.down.load(Ordering::SeqCst)));
        }
    });
    address
}
