//! Bits of objects that flip in transit between Longshore and S3, in either direction.

use std::sync::{Arc, atomic::Ordering};

use longshore::{
    credentials::{Credentials, ProviderSettings},
    embedded::Embedded,
    s3::{BucketSettings, ChecksumAlgorithm, ErrorKind},
    store::{ReadOptions, S3Store, StoreSettings, UploadClaim, UploadOptions, WriteOptions},
};

use crate::{
    proxy::{Flips, NONE, Protocol, damaging},
    scripted::store,
};

const MIB: usize = 1024 * 1024;

struct Line {
    store: S3Store,
    flips: Arc<Flips>,
    _embedded: Embedded,
    _folder: tempfile::TempDir,
}

/// A store with unsigned payloads, which only a checksum protects. Each request has its own connection.
async fn line() -> Line {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::start(folder.path(), ([127, 0, 0, 1], 0).into(), &["damaged"]).await.unwrap();
    let flips = Arc::<Flips>::default();
    let address = damaging(embedded.address(), Protocol::S3, Arc::clone(&flips)).await;
    let bucket = BucketSettings {
        endpoint: Some(format!("http://{address}")),
        unsigned_payload: Some(true),
        checksum_algorithm: Some(ChecksumAlgorithm::Crc64Nvme),
        ..BucketSettings::new("damaged")
    };
    let keys = Credentials::new(embedded.access_key_id(), embedded.secret_access_key(), None);
    let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    settings.client_options.allow_http = true;
    settings.client_options.pool_max_idle_per_host = Some(0);
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
async fn a_bit_flip_in_a_small_object_is_detected() {
    let line = line().await;
    let (data, other) = (payload(40), payload(41));
    line.put(&data).await.unwrap();
    for bit in 0..data.len() * 8 {
        line.flips.down.store(bit, Ordering::SeqCst);
        assert_eq!(line.read().await, Err(ErrorKind::BytesDamaged), "bit {bit} down");
        line.flips.down.store(NONE, Ordering::SeqCst);

        line.flips.up.store(bit, Ordering::SeqCst);
        assert_eq!(line.put(&other).await, Err(ErrorKind::BytesDamaged), "bit {bit} up");
        line.flips.up.store(NONE, Ordering::SeqCst);
    }
    assert_eq!(line.read().await.unwrap(), data, "no corrupted bytes were written");
}

#[tokio::test]
async fn a_bit_flip_in_a_part_is_detected() {
    let line = line().await;
    let data = payload(9 * MIB);
    line.upload(&data).await.unwrap();
    for byte in [0, 7, 64 * 1024, 5 * MIB + 1, 8 * MIB - 1] {
        let bit = byte * 8 + byte % 8;
        line.flips.down.store(bit, Ordering::SeqCst);
        assert_eq!(line.read().await, Err(ErrorKind::BytesDamaged), "bit {bit} down");
        line.flips.down.store(NONE, Ordering::SeqCst);

        line.flips.up.store(bit, Ordering::SeqCst);
        assert_eq!(line.upload(&payload(10 * MIB)).await, Err(ErrorKind::BytesDamaged), "bit {bit} up");
        line.flips.up.store(NONE, Ordering::SeqCst);
    }
    assert!(line.read().await.unwrap() == data, "no corrupted bytes were written");
}
