//! A caller that uses the object_store crate with its default settings, without a gateway.

use std::fs;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Certificate, ClientOptions, ObjectStore as _, ObjectStoreExt as _, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use crate::{
    Outcome,
    content::Content,
    job::{Job, MIB, Target, Work},
    shipped::{ACCESS_KEY_ID, SECRET_ACCESS_KEY},
};

/// The part size of an upload, in bytes.
const PART: u64 = 8 * MIB;

/// The number of parts in flight.
const PARTS_AT_ONCE: usize = 10;

/// A caller with its own connections.
pub(super) struct Caller(AmazonS3);

impl Caller {
    pub(super) fn new(target: &Target, job: &Job) -> Outcome<Self> {
        let scheme = if target.authority.is_some() { "https" } else { "http" };
        let mut options = ClientOptions::new().with_allow_http(true);
        if let Some(authority) = &target.authority {
            options = options.with_root_certificate(Certificate::from_pem(&fs::read(authority)?)?);
        }
        let builder = AmazonS3Builder::new()
            .with_client_options(options)
            .with_endpoint(format!("{scheme}://{}", target.address))
            .with_region("us-east-1")
            .with_bucket_name(job.bucket())
            .with_access_key_id(ACCESS_KEY_ID)
            .with_secret_access_key(SECRET_ACCESS_KEY);
        Ok(Self(builder.build()?))
    }

    /// Makes one call and reads the whole response.
    pub(super) async fn ask(&self, job: &Job) -> Outcome<()> {
        let path = Path::from(job.key());
        let seen = match job.work {
            Work::Get => self.get(&path).await?,
            Work::Upload => self.upload(job, &path).await?,
            Work::Walk => self.0.list(None).try_fold(0, async |seen, _| Ok(seen + 1)).await?,
            Work::GetRanges => {
                let ranges: Vec<_> = job.ranges().collect();
                let pieces = self.0.get_ranges(&path, &ranges).await?;
                pieces.iter().map(|piece| piece.len() as u64).sum()
            }
            Work::DeleteMany => {
                let paths = job.batches().flatten().map(|key| Ok(Path::from(key)));
                self.0
                    .delete_stream(stream::iter(paths).boxed())
                    .try_fold(0, async |seen, _| Ok(seen + 1))
                    .await?
            }
            Work::Put | Work::Head => return Err("no row uses this method of object_store".into()),
        };
        if seen == job.amount() { Ok(()) } else { Err(format!("received {seen} of {}", job.amount()).into()) }
    }

    async fn get(&self, path: &Path) -> Outcome<u64> {
        let mut pieces = self.0.get(path).await?.into_stream();
        let mut seen = 0;
        while let Some(piece) = pieces.next().await {
            seen += piece?.len() as u64;
        }
        Ok(seen)
    }

    async fn upload(&self, job: &Job, path: &Path) -> Outcome<u64> {
        let upload = self.0.put_multipart(path).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, usize::try_from(PART)?);
        let mut content = Content::whole(job.size);
        while let Some(piece) = content.piece(usize::try_from(job.message)?) {
            writer.wait_for_capacity(PARTS_AT_ONCE).await?;
            writer.put(piece);
        }
        writer.finish().await?;
        Ok(job.size)
    }
}
