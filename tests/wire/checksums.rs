//! Verifies that the checksums of writes match their bytes.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use longshore::{
    s3::ChecksumAlgorithm,
    store::{UploadClaim, UploadOptions, WriteOptions},
};
use sha2::Digest as _;

use crate::scripted::{Scripted, reply, store};

const MIB: usize = 1024 * 1024;

fn sum(algorithm: ChecksumAlgorithm, data: &[u8]) -> String {
    let crc32 = |crc| checksum(crc, data).to_be_bytes()[4..].to_vec();
    BASE64_STANDARD.encode(match algorithm {
        ChecksumAlgorithm::Crc32 => crc32(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => crc32(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => checksum(CrcAlgorithm::Crc64Nvme, data).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Sha1 => sha1::Sha1::digest(data).to_vec(),
        ChecksumAlgorithm::Sha256 => sha2::Sha256::digest(data).to_vec(),
    })
}

/// Like [`upload_by`], with pieces that do not align with parts.
async fn upload(algorithm: ChecksumAlgorithm, size: usize, threshold: usize) -> Vec<usize> {
    upload_by(700_001, algorithm, size, threshold).await
}

/// Uploads `size` bytes in parts of 5 MiB, written in pieces of `piece` bytes. Returns the number of bytes in each
/// write request.
async fn upload_by(piece: usize, algorithm: ChecksumAlgorithm, size: usize, threshold: usize) -> Vec<usize> {
    let server =
        Scripted::start(|_, seen| match (seen.method.as_str(), seen.target.ends_with("?uploads=")) {
            ("POST", true) => {
                let created =
                    "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
                reply(200, &[], created)
            }
            ("POST", false) => {
                let done =
                    "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
                reply(200, &[], done)
            }
            _ => reply(200, &[("etag", "\"e\"")], ""),
        })
        .await;
    let mut settings = server.settings();
    (settings.transfer.part_size, settings.transfer.multipart_threshold) = (5 * MIB as u64, threshold as u64);
    let write = WriteOptions { checksum_algorithm: Some(algorithm), ..WriteOptions::default() };
    let mut upload =
        store(settings).upload("k", UploadOptions { write, ..UploadOptions::default() }).unwrap();
    let mut data = (0..251).collect::<Vec<u8>>().repeat(size / 251 + 1);
    data.truncate(size);
    for piece in data.chunks(piece) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    upload.finish(UploadClaim::default()).await.unwrap();

    let header = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
    let mut writes: Vec<_> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    writes.sort_by(|one, other| one.target.cmp(&other.target));
    for write in &writes {
        assert_eq!(write.header(&header), Some(&*sum(algorithm, &write.body)), "{}", write.line());
    }
    assert!(writes.iter().map(|write| &*write.body).collect::<Vec<_>>().concat() == data);
    writes.iter().map(|write| write.body.len()).collect()
}

#[tokio::test]
async fn each_part_carries_the_checksum_of_its_bytes() {
    for algorithm in ChecksumAlgorithm::ALL {
        let last = 3 * MIB + 7;
        assert_eq!(
            upload(algorithm, 10 * MIB + last, 5 * MIB).await,
            [5 * MIB, 5 * MIB, last],
            "{algorithm:?}"
        );
        assert_eq!(upload(algorithm, 10 * MIB, 5 * MIB).await, [5 * MIB; 2], "{algorithm:?}");
    }
}

#[tokio::test]
async fn each_part_of_a_piece_larger_than_a_part_carries_the_checksum_of_its_bytes() {
    for algorithm in ChecksumAlgorithm::ALL {
        assert_eq!(
            upload_by(11 * MIB, algorithm, 11 * MIB, 5 * MIB).await,
            [5 * MIB, 5 * MIB, MIB],
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn a_put_of_buffered_bytes_carries_the_checksum_of_all_of_them() {
    for algorithm in ChecksumAlgorithm::ALL {
        for size in [0, 7, 5 * MIB, 11 * MIB] {
            assert_eq!(upload(algorithm, size, 12 * MIB).await, [size], "{algorithm:?}");
        }
        let last = 3 * MIB;
        assert_eq!(
            upload(algorithm, 10 * MIB + last, 12 * MIB).await,
            [5 * MIB, 5 * MIB, last],
            "an upload above the threshold is sent in parts"
        );
    }
}
