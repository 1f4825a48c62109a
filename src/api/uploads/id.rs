//! Upload ids: everything that Longshore must know about an upload, sealed so that the caller can keep it.

use prost::Message;

use super::seal::UploadKeys;
use crate::{
    api::{
        failure::Failure,
        gate::{Call, store_name},
    },
    store::{ChecksumAlgorithm, ResumableUpload},
};

/// Seals and opens upload ids.
#[derive(Debug, Clone)]
pub(super) struct UploadIds {
    /// `None` if other replicas could not open the ids of this one.
    keys: Option<UploadKeys>,
}

/// The upload that an id identifies.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    /// The store's name within the tenant.
    pub(super) store: String,
    pub(super) upload: UploadOrigin,
}

#[derive(Debug, PartialEq)]
pub(super) enum UploadOrigin {
    /// Started by Longshore.
    Started(ResumableUpload),
    /// Found in S3 by ListUploads: the key and S3's upload id.
    Found(String, String),
}

/// The content of an id. Later versions may add fields but never change the meaning of a field number.
#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(string, tag = "1")]
    store: String,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(string, tag = "3")]
    s3_upload_id: String,
    /// Absent for an upload that ListUploads found.
    #[prost(message, optional, tag = "4")]
    started: Option<Started>,
}

#[derive(Clone, PartialEq, Message)]
struct Started {
    /// The algorithm's name in S3; empty for none.
    #[prost(string, tag = "1")]
    checksum_algorithm: String,
    #[prost(uint64, optional, tag = "2")]
    size: Option<u64>,
    #[prost(uint64, tag = "3")]
    part_size: u64,
    #[prost(uint64, tag = "4")]
    max_in_flight_bytes: u64,
    // Tag 6 was the storage class.
    #[prost(string, tag = "5")]
    write_id: String,
    /// Whether all parts except the last have the same size, even if `size` is not known.
    #[prost(bool, tag = "7")]
    equal_parts: bool,
}

impl UploadIds {
    /// Uses `keys` for the ids. Without keys, uses a random key of this process if it is the only replica.
    pub(super) fn new(keys: Option<UploadKeys>, replicas: u32) -> Self {
        Self { keys: keys.or_else(|| (replicas <= 1).then(UploadKeys::random)) }
    }

    /// The keys. Fails if ids cannot be sealed and opened here.
    pub(super) fn check(&self) -> Result<&UploadKeys, Failure> {
        self.keys.as_ref().ok_or(Failure::UploadKeyRequired)
    }

    /// The id of an upload that was started in `store`.
    pub(super) fn started(
        &self,
        call: &Call,
        store: &str,
        upload: ResumableUpload,
    ) -> Result<String, Failure> {
        let started = Started {
            checksum_algorithm: upload.checksum_algorithm.map_or("", ChecksumAlgorithm::name).to_owned(),
            size: upload.size,
            part_size: upload.part_size,
            max_in_flight_bytes: upload.max_in_flight_bytes,
            write_id: upload.write_id,
            equal_parts: !upload.parts_grow,
        };
        self.seal(call.tenant().name(), store, upload.key, upload.s3_upload_id, Some(started))
    }

    /// The id of an upload that ListUploads found in `store`.
    pub(super) fn found(
        &self,
        call: &Call,
        store: &str,
        key: String,
        s3_upload_id: String,
    ) -> Result<String, Failure> {
        self.seal(call.tenant().name(), store, key, s3_upload_id, None)
    }

    fn seal(
        &self,
        tenant: &str,
        store: &str,
        key: String,
        s3_upload_id: String,
        started: Option<Started>,
    ) -> Result<String, Failure> {
        let content = Content { store: store_name(store).to_owned(), key, s3_upload_id, started };
        let sealed = self.check()?.seal(tenant, &content.encode_to_vec());
        sealed.ok_or_else(|| Failure::internal("the upload id could not be encrypted"))
    }

    /// Opens the `id` for the call's tenant. `field` is the request's field that contains it.
    pub(super) fn open(&self, call: &Call, id: &str, field: &'static str) -> Result<Named, Failure> {
        if id.is_empty() {
            return Err(Failure::field(field, "must not be empty"));
        }
        self.read(call.tenant().name(), id)?.ok_or_else(|| {
            Failure::field(
                field,
                "is not an upload id of this tenant, or was sealed with a key that is no longer in LONGSHORE_UPLOAD_KEY",
            )
        })
    }

    fn read(&self, tenant: &str, id: &str) -> Result<Option<Named>, Failure> {
        let Some(content) = self.check()?.open(tenant, id) else { return Ok(None) };
        Ok(Content::decode(&*content).ok().and_then(named))
    }
}

/// The upload that the content identifies. `None` if a later version wrote something that this version does not know.
fn named(content: Content) -> Option<Named> {
    let Content { store, key, s3_upload_id, started } = content;
    let upload = match started {
        None => UploadOrigin::Found(key, s3_upload_id),
        Some(started) => {
            let name = started.checksum_algorithm;
            let algorithm = ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
            if algorithm.is_none() && !name.is_empty() {
                return None;
            }
            UploadOrigin::Started(ResumableUpload {
                key,
                s3_upload_id,
                checksum_algorithm: algorithm,
                size: started.size,
                part_size: started.part_size,
                max_in_flight_bytes: started.max_in_flight_bytes,
                write_id: started.write_id,
                // Ids of earlier versions do not contain this.
                parts_grow: started.size.is_none() && !started.equal_parts,
            })
        }
    };
    Some(Named { store, upload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(algorithm: Option<ChecksumAlgorithm>, size: Option<u64>) -> ResumableUpload {
        ResumableUpload {
            key: "a/b".to_owned(),
            s3_upload_id: "u/1".to_owned(),
            checksum_algorithm: algorithm,
            size,
            parts_grow: size.is_none(),
            part_size: 5 << 20,
            max_in_flight_bytes: 128 << 20,
            write_id: "w".to_owned(),
        }
    }

    #[test]
    fn an_id_contains_the_whole_upload() {
        let algorithms = ChecksumAlgorithm::ALL.into_iter().map(Some).chain([None]);
        for (algorithm, size) in algorithms.flat_map(|algorithm| [(algorithm, None), (algorithm, Some(0))]) {
            let started = Started {
                checksum_algorithm: algorithm.map_or("", ChecksumAlgorithm::name).to_owned(),
                size,
                part_size: 5 << 20,
                max_in_flight_bytes: 128 << 20,
                equal_parts: false,
                write_id: "w".to_owned(),
            };
            let ids = UploadIds::new(None, 1);
            let id = ids.seal("acme", "", "a/b".to_owned(), "u/1".to_owned(), Some(started)).unwrap();
            let expected =
                Named { store: "default".to_owned(), upload: UploadOrigin::Started(upload(algorithm, size)) };
            assert_eq!(ids.read("acme", &id).unwrap(), Some(expected));
            assert_eq!(ids.read("zeta", &id).unwrap(), None);
        }
    }

    #[test]
    fn several_replicas_need_a_shared_key() {
        assert!(matches!(UploadIds::new(None, 2).read("acme", "x"), Err(Failure::UploadKeyRequired)));
        assert!(UploadIds::new(Some(UploadKeys::random()), 2).check().is_ok());
    }

    #[test]
    fn an_id_with_an_unknown_algorithm_is_rejected() {
        let started = Started { checksum_algorithm: "CRC99".to_owned(), ..Started::default() };
        assert_eq!(named(Content { started: Some(started), ..Content::default() }), None);
    }
}
