//! The store's bucket: what its server says about it, and its CORS rules.

use std::time::SystemTime;

use super::{CorsRule, Error, ErrorKind, S3Store, Versioning};

/// A bucket, as its server describes it. What the server leaves out is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// The name.
    pub name: String,
    /// The region.
    pub region: Option<String>,
    /// When it was created.
    pub created: Option<SystemTime>,
    /// Whether it keeps old versions of its objects.
    pub versioning: Option<Versioning>,
}

impl S3Store {
    /// Returns what the server says about the bucket. Fails if it does not exist or is not accessible.
    pub async fn bucket(&self) -> Result<BucketInfo, Error> {
        let client = self.client();
        let region = client.head_bucket().await?;
        let region = async {
            match region {
                Some(region) => Ok(Some(region)),
                None => if_allowed(client.bucket_location().await),
            }
        };
        // Only a list of the account's buckets has it. Many stores may not read that list, and some servers have it at
        // another address or not at all, so no failure of this request matters.
        let without_retries = client.without_retries();
        let created = async { without_retries.bucket_created().await.ok().flatten() };
        let versioning = async { if_allowed(client.bucket_versioning().await) };
        let (region, created, versioning) =
            Box::pin(async { tokio::join!(region, created, versioning) }).await;
        let name = self.settings().bucket.bucket.clone();
        Ok(BucketInfo { name, region: region?, created, versioning: versioning? })
    }

    /// Returns the CORS rules of the bucket.
    pub async fn cors_rules(&self) -> Result<Vec<CorsRule>, Error> {
        self.client().get_bucket_cors().await
    }

    /// Replaces the CORS rules of the bucket. If the future is dropped, they may or may not have been replaced.
    pub async fn put_cors_rules(&self, rules: &[CorsRule]) -> Result<(), Error> {
        self.may_change_cors()?;
        self.client().put_bucket_cors(rules).await
    }

    /// Removes the CORS rules of the bucket. If the future is dropped, they may or may not have been removed.
    pub async fn delete_cors_rules(&self) -> Result<(), Error> {
        self.may_change_cors()?;
        self.client().delete_bucket_cors().await
    }

    fn may_change_cors(&self) -> Result<(), Error> {
        let settings = self.settings();
        if settings.prefix.is_empty() || settings.allow_bucket_cors {
            return Ok(());
        }
        let message = "CORS rules apply to the whole bucket, and the store has only a part of it: set the store's \
                       allow_bucket_cors to change them all the same";
        Err(Error::new(ErrorKind::OperationNotSupported, message))
    }
}

/// `None` if the server does not support the request, or the credentials must not send it.
fn if_allowed<T>(outcome: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    use ErrorKind::{AccessDenied, BackendProtocol, InvalidRequest, OperationNotSupported};
    match outcome {
        Err(error)
            if matches!(
                error.kind(),
                AccessDenied | BackendProtocol | InvalidRequest | OperationNotSupported
            ) =>
        {
            Ok(None)
        }
        outcome => outcome,
    }
}
