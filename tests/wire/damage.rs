//! Bits that change on the way between Longshore and S3, in either direction.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use longshore::{
    credentials::{Credentials, ProviderSettings},
    embedded::Embedded,
    s3::{BucketSettings, ChecksumAlgorithm, ErrorKind},
    store::{ReadOptions, S3Store, StoreSettings, UploadClaim, UploadOptions, WriteOptions},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::scripted::store;

const MIB: usize = 1024 * 1024;

/// Which bit of the payload to turn round, counted from 0 in each connection and direction; `NONE` for none.
#[derive(Default)]
struct Flips {
    up: AtomicUsize,
    down: AtomicUsize,
}

const NONE: usize = usize::MAX;

/// Passes everything on, but for one bit of the payload. All else that HTTP and S3 send is ASCII, so bytes beyond it are
/// payload.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, flip: impl Fn() -> usize) {
    let (mut buffer, mut payload) = (vec![0; 64 * 1024], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        for byte in buffer[..count].iter_mut().filter(|byte| !byte.is_ascii()) {
            if flip() / 8 == payload {
                *byte ^= 1 << (flip() % 8);
            }
            payload += 1;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// A proxy that damages what passes; it ends with the runtime of its test.
async fn damaging(target: SocketAddr, flips: Arc<Flips>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (from_near, to_near) = near.into_split();
            let (from_far, to_far) = TcpStream::connect(target).await.unwrap().into_split();
            let (up, down) = (Arc::clone(&flips), Arc::clone(&flips));
            tokio::spawn(pass(from_near, to_far, move || up.up.load(Ordering::SeqCst)));
            tokio::spawn(pass(from_far, to_near, move || down.down.load(Ordering::SeqCst)));
        }
    });
    address
}

struct Line {
    store: S3Store,
    flips: Arc<Flips>,
    _embedded: Embedded,
    _folder: tempfile::TempDir,
}

/// A store whose payloads are not signed: its checksum is all that protects them. Each request has a connection of its
/// own.
async fn line() -> Line {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::start(folder.path(), ([127, 0, 0, 1], 0).into(), &["damaged"]).await.unwrap();
    let flips = Arc::new(Flips { up: NONE.into(), down: NONE.into() });
    let address = damaging(embedded.address(), Arc::clone(&flips)).await;
    let bucket = BucketSettings {
        endpoint: Some(format!("http://{address}")),
        unsigned_payload: Some(true),
        checksum_algorithm: Some(ChecksumAlgorithm::Crc64Nvme),
        ..BucketSettings::new("damaged")
    };
    let keys = Credentials::new(embedded.access_key_id(), embedded.secret_access_key(), None);
    let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    settings.client_options.allow_http = true;
    settings.client_options.pool_max_idle_per_host = 0;
    Line { store: store(settings), flips, _embedded: embedded, _folder: folder }
}

impl Line {
    async fn read(&self) -> Result<Vec<u8>, ErrorKind> {
        let reader = self.store.get("k", None, &ReadOptions::default()).await;
        let mut reader = reader.map_err(|error| error.kind())?;
        let mut data = Vec::new();
        while let Some(piece) = reader.next().await {
            data.extend_from_slice(&piece.map_err(|error| error.kind())?);
        }
        Ok(data)
    }

    async fn put(&self, data: &[u8]) -> Result<(), ErrorKind> {
        let put = self.store.put("k", data.to_vec().into(), WriteOptions::default()).await;
        put.map(drop).map_err(|error| error.kind())
    }

    async fn upload(&self, data: &[u8]) -> Result<(), ErrorKind> {
        let mut upload = self.store.upload("k", UploadOptions::default()).map_err(|error| error.kind())?;
        upload.write(data.to_vec().into()).await.map_err(|error| error.kind())?;
        upload.finish(UploadClaim::default()).await.map(drop).map_err(|error| error.kind())
    }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| 0x80 | u8::try_from(at % 127).unwrap()).collect()
}

#[tokio::test]
async fn no_bit_of_a_small_object_changes_unnoticed() {
    let line = line().await;
    let (data, other) = (payload(40), payload(41));
    line.put(&data).await.unwrap();
    for bit in 0..data.len() * 8 {
        line.flips.down.store(bit, Ordering::SeqCst);
        assert_eq!(line.read().await, Err(ErrorKind::ChecksumMismatch), "bit {bit} down");
        line.flips.down.store(NONE, Ordering::SeqCst);

        line.flips.up.store(bit, Ordering::SeqCst);
        assert_eq!(line.put(&other).await, Err(ErrorKind::ChecksumMismatch), "bit {bit} up");
        line.flips.up.store(NONE, Ordering::SeqCst);
    }
    assert_eq!(line.read().await.unwrap(), data, "nothing damaged was written");
}

#[tokio::test]
async fn no_bit_of_a_part_changes_unnoticed() {
    let line = line().await;
    let data = payload(9 * MIB);
    line.upload(&data).await.unwrap();
    for byte in [0, 7, 64 * 1024, 5 * MIB + 1, 8 * MIB - 1] {
        let bit = byte * 8 + byte % 8;
        line.flips.down.store(bit, Ordering::SeqCst);
        assert_eq!(line.read().await, Err(ErrorKind::ChecksumMismatch), "bit {bit} down");
        line.flips.down.store(NONE, Ordering::SeqCst);

        line.flips.up.store(bit, Ordering::SeqCst);
        assert_eq!(line.upload(&payload(10 * MIB)).await, Err(ErrorKind::ChecksumMismatch), "bit {bit} up");
        line.flips.up.store(NONE, Ordering::SeqCst);
    }
    assert!(line.read().await.unwrap() == data, "nothing damaged was written");
}
