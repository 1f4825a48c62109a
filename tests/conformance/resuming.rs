use bytes::Bytes;
use longshore::pb::{
    Attributes, CancelUploadRequest, ChecksumAlgorithm, Chunk, FinishUploadRequest, ListUploadsRequest,
    ObjectMeta, QueryUploadRequest, StartUploadRequest, UnfinishedUpload, WriteUploadEnd, WriteUploadRequest,
    WriteUploadSpec, query_upload_response::Progress, write_upload_request::Message,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::limits::Ability;
use crate::support::{
    calls::{create, noise},
    failure::{field, told},
    house::House,
};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

fn chunks(data: &Bytes) -> impl Iterator<Item = Message> {
    (0..data.len()).step_by(MIB).map(|at| {
        let data = data.slice(at..data.len().min(at + MIB));
        Message::Chunk(Chunk { crc32c: Some(crc32c(&data)), data })
    })
}

fn crc32c(data: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data)).unwrap()
}

fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

/// A start of an upload to `k` in parts of 5 MiB.
fn start() -> StartUploadRequest {
    StartUploadRequest { key: "k".to_owned(), part_size: Some(size(PART)), ..Default::default() }
}

impl House {
    async fn start(&self, request: StartUploadRequest) -> String {
        self.uploads.clone().start_upload(request).await.unwrap().into_inner().upload_id
    }

    async fn write(
        &self,
        upload_id: &str,
        offset: usize,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<i64, Status> {
        let spec = WriteUploadSpec { upload_id: upload_id.to_owned(), offset: size(offset) };
        let messages: Vec<_> = std::iter::once(Message::Spec(spec)).chain(messages).collect();
        let messages = messages.into_iter().map(|message| WriteUploadRequest { message: Some(message) });
        let stream = futures::stream::iter(messages.collect::<Vec<_>>());
        Ok(self.uploads.clone().write_upload(stream).await?.into_inner().persisted_size)
    }

    async fn query(&self, upload_id: &str) -> Result<Progress, Status> {
        let request = QueryUploadRequest { upload_id: upload_id.to_owned() };
        Ok(self.uploads.clone().query_upload(request).await?.into_inner().progress.unwrap())
    }

    async fn finish(&self, request: FinishUploadRequest) -> Result<ObjectMeta, Status> {
        Ok(self.uploads.clone().finish_upload(request).await?.into_inner().meta.unwrap())
    }

    async fn cancel(&self, upload_id: &str) -> Result<(), Status> {
        let request = CancelUploadRequest { upload_id: upload_id.to_owned() };
        self.uploads.clone().cancel_upload(request).await.map(drop)
    }

    async fn unfinished(&self, prefix: &str) -> Vec<UnfinishedUpload> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        let page_size = if self.judges(Ability::PagesOfUploads) { 2 } else { 0 };
        loop {
            let prefix = prefix.to_owned();
            let request = ListUploadsRequest { prefix, page_token, page_size, ..Default::default() };
            let page = self.uploads.clone().list_uploads(request).await.unwrap().into_inner();
            found.extend(page.uploads);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return found;
            }
        }
    }
}

fn of(upload_id: &str, length: usize) -> FinishUploadRequest {
    FinishUploadRequest { upload_id: upload_id.to_owned(), size: Some(size(length)), ..Default::default() }
}

#[tokio::test]
async fn an_upload_goes_on_from_its_whole_parts() {
    let house = House::open().await;
    let data = noise(13 * MIB);
    let attributes = Attributes { content_type: "text/plain".to_owned(), ..Attributes::default() };
    let id = house.start(StartUploadRequest { attributes: Some(attributes), ..start() }).await;
    assert_eq!(house.query(&id).await.unwrap(), Progress::PersistedSize(0));
    // Seven MiB are one part of five.
    assert_eq!(house.write(&id, 0, chunks(&data.slice(..7 * MIB))).await.unwrap(), size(PART));
    assert_eq!(house.query(&id).await.unwrap(), Progress::PersistedSize(size(PART)));
    let wrong = house.write(&id, 7 * MIB, chunks(&data.slice(7 * MIB..))).await.unwrap_err();
    assert_eq!(wrong.get_details_error_info().unwrap().metadata["persisted_size"], PART.to_string());
    assert_eq!(told(Err::<(), _>(wrong)), (Code::OutOfRange, "UPLOAD_OFFSET_MISMATCH".to_owned()));
    let tail = data.slice(PART..);
    let rest = chunks(&tail).chain([Message::End(WriteUploadEnd {})]);
    assert_eq!(house.write(&id, PART, rest).await.unwrap(), size(data.len()));
    let meta = house.finish(of(&id, data.len())).await.unwrap();
    assert_eq!((meta.key.as_str(), meta.size), ("k", size(data.len())));
    let read = house.get("k").await.unwrap();
    assert!(read.data == data);
    assert_eq!(read.info.attributes.unwrap().content_type, "text/plain");
    assert!(house.unfinished("").await.is_empty());
    house.close().await;
}

#[tokio::test]
async fn finishing_again_gives_the_same_answer_and_so_does_asking() {
    let house = House::open().await;
    let data = noise(MIB);
    let id = house.start(StartUploadRequest { size: Some(size(data.len())), ..start() }).await;
    assert_eq!(house.write(&id, 0, chunks(&data)).await.unwrap(), size(data.len()), "its end is known");
    let meta = house.finish(FinishUploadRequest { size: None, ..of(&id, 0) }).await.unwrap();
    let again = house.finish(of(&id, data.len())).await.unwrap();
    assert_eq!((again.key.as_str(), again.size, again.etag.as_str()), ("k", meta.size, meta.etag.as_str()));
    let Progress::Meta(found) = house.query(&id).await.unwrap() else { panic!("it is finished") };
    assert_eq!(found.etag, meta.etag);
    let over = house.write(&id, data.len(), []).await;
    assert_eq!(told(over), (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned()));
    // Of an object that is another's nobody can say that it was this upload's.
    house.put("k", b"other".as_slice()).await;
    if house.judges(Ability::FreshMetadata) {
        assert_eq!(told(house.query(&id).await), (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned()));
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_there_is_held_against_what_should_be() {
    let house = House::open().await;
    let data = noise(6 * MIB);
    let lists_checksums = house.judges(Ability::PartChecksums);
    let algorithm = if lists_checksums { ChecksumAlgorithm::Crc32c } else { ChecksumAlgorithm::Unspecified };
    let crc = StartUploadRequest { checksum_algorithm: algorithm.into(), ..start() };
    let id = house.start(crc).await;
    house.write(&id, 0, chunks(&data).chain([Message::End(WriteUploadEnd {})])).await.unwrap();
    assert_eq!(field(house.finish(FinishUploadRequest { size: None, ..of(&id, 0) }).await), "size");
    let short = house.finish(of(&id, data.len() + 1)).await;
    assert_eq!(told(short), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    let claim = |crc32c| FinishUploadRequest { crc32c: Some(crc32c), ..of(&id, data.len()) };
    if lists_checksums {
        let wrong = house.finish(claim(crc32c(&data) ^ 1)).await;
        assert_eq!(told(wrong), (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()));
        house.finish(claim(crc32c(&data))).await.unwrap();
    } else {
        // It is not taken and then not checked.
        assert_eq!(field(house.finish(claim(crc32c(&data))).await), "crc32c");
        house.finish(of(&id, data.len())).await.unwrap();
    }
    assert!(house.get("k").await.unwrap().data == data);
    house.close().await;
}

#[tokio::test]
async fn an_empty_object_can_be_uploaded() {
    let house = House::open().await;
    let id = house.start(start()).await;
    assert_eq!(house.write(&id, 0, [Message::End(WriteUploadEnd {})]).await.unwrap(), 0);
    assert_eq!(house.finish(of(&id, 0)).await.unwrap().size, 0);
    assert!(house.get("k").await.unwrap().data.is_empty());
    house.close().await;
}

#[tokio::test]
async fn an_upload_may_replace_only_what_its_end_says() {
    let house = House::open().await;
    if !house.judges(Ability::CreateByMultipart) {
        return house.close().await;
    }
    house.put("k", b"there".as_slice()).await;
    let id = house.start(start()).await;
    house.write(&id, 0, chunks(&noise(PART))).await.unwrap();
    let created = house.finish(FinishUploadRequest { mode: Some(create()), ..of(&id, PART) }).await;
    assert_eq!(told(created), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    assert_eq!(house.get("k").await.unwrap().data, b"there");
    house.cancel(&id).await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn what_is_given_up_is_gone_and_can_be_found_before() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "a/3", "b"] {
        ids.push(house.start(StartUploadRequest { key: key.to_owned(), ..start() }).await);
    }
    house.write(&ids[0], 0, chunks(&noise(PART))).await.unwrap();
    let found = house.unfinished("a/").await;
    let keys: Vec<_> = found.iter().map(|upload| upload.key.as_str()).collect();
    assert_eq!(keys, ["a/1", "a/2", "a/3"]);
    assert!(found.iter().all(|upload| upload.started.is_some()));
    assert_eq!(field(house.query(&found[0].upload_id).await), "upload_id", "it can only be given up");
    for id in [&found[0].upload_id, &ids[0], &ids[1]] {
        house.cancel(id).await.unwrap();
    }
    let gone = house.write(&ids[0], PART, chunks(&noise(PART))).await;
    assert_eq!(told(gone), (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned()));
    let left: Vec<_> = house.unfinished("").await.into_iter().map(|upload| upload.key).collect();
    assert_eq!(left, ["a/3", "b"]);
    for id in &ids[2..] {
        house.cancel(id).await.unwrap();
    }
    house.close().await;
}

#[tokio::test]
async fn messages_out_of_order_and_ids_that_are_none_are_refused() {
    let house = House::open().await;
    let id = house.start(StartUploadRequest { size: Some(3), ..start() }).await;
    let chunk = |data: &'static [u8]| Message::Chunk(Chunk { crc32c: None, data: data.into() });
    let end = || Message::End(WriteUploadEnd {});
    assert_eq!(field(house.write(&id, 0, [end(), chunk(b"abc")]).await), "end");
    let spec = Message::Spec(WriteUploadSpec::default());
    assert_eq!(field(house.write(&id, 0, [spec]).await), "spec");
    assert_eq!(field(house.write("", 0, []).await), "spec.upload_id");
    assert_eq!(field(house.write(&id[1..], 0, []).await), "spec.upload_id");
    assert_eq!(field(house.query("x").await), "upload_id");
    let long = house.write(&id, 0, [chunk(b"abcd")]).await;
    assert_eq!(told(long), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    let damaged = Message::Chunk(Chunk { crc32c: Some(1), data: b"abc".as_slice().into() });
    assert_eq!(told(house.write(&id, 0, [damaged]).await), (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()));
    assert_eq!(house.query(&id).await.unwrap(), Progress::PersistedSize(0), "none of it is there");
    house.cancel(&id).await.unwrap();
    let token = ListUploadsRequest { page_token: "x".to_owned(), ..Default::default() };
    assert_eq!(field(house.uploads.clone().list_uploads(token).await), "page_token");
    house.close().await;
}
