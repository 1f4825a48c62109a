//! Looking whether a store works, and saying what would mend it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;

use super::{CheckStep, Error, ErrorKind, ListOptions, ObjectId, S3Store, WriteMode, WriteOptions};

impl S3Store {
    /// Looks whether the store works, step by step, up to the first that fails. `probe_writes` writes one scratch key
    /// and deletes it, to see whether the server honours conditions: if it ignores them, conditional writes are refused
    /// from then on. If the future is dropped, the scratch key may stay.
    pub async fn check(&self, probe_writes: bool) -> Vec<CheckStep> {
        let mut steps = Vec::new();
        let credentials = async {
            self.client().find_credentials().await?;
            Ok(format!("provider: {}", self.settings().credential_provider.kind()))
        };
        let list = async {
            let options = ListOptions { page_size: 1, ..ListOptions::default() };
            self.list(&options).await.map(|_| "a signed request was answered".to_owned())
        };
        let proceed =
            run(&mut steps, "credentials", credentials).await && run(&mut steps, "list", list).await;
        if proceed && probe_writes {
            self.probe(&mut steps).await;
        }
        steps
    }

    async fn probe(&self, steps: &mut Vec<CheckStep>) {
        let key = format!(".longshore-check-{:016x}", fastrand::u64(..));
        let put = async |data: &'static str, mode: WriteMode| {
            let options = WriteOptions { mode, ..WriteOptions::default() };
            self.put(&key, Bytes::from_static(data.as_bytes()), options).await
        };
        let created = async {
            put("1", WriteMode::Create).await?;
            refused(put("2", WriteMode::Create).await, ErrorKind::AlreadyExists)
        };
        let other =
            WriteMode::Update { etag: "\"00000000000000000000000000000000\"".to_owned(), version: None };
        let updated = async { refused(put("3", other).await, ErrorKind::PreconditionFailed) };
        let honoured =
            run(steps, "create_condition", created).await && run(steps, "update_condition", updated).await;
        let ignored = steps.last().and_then(|step| step.outcome.as_ref().err()).map(Error::kind)
            == Some(ErrorKind::ConditionsNotSupported);
        if honoured || ignored {
            self.inner.ignores_conditions.store(ignored, Ordering::Relaxed);
        }
        let object = ObjectId { key: key.clone(), version: None };
        let deleted = async { self.delete(&object).await.map(|_| "the scratch key is gone".to_owned()) };
        run(steps, "delete", deleted).await;
    }
}

/// What should have been refused, and was or was not.
fn refused(outcome: Result<super::ObjectMeta, Error>, expected: ErrorKind) -> Result<String, Error> {
    match outcome {
        Err(error) if error.kind() == expected => Ok("a condition that does not hold was refused".to_owned()),
        Err(error) => Err(error),
        Ok(_) => {
            let message = "the server wrote although the condition does not hold";
            Err(Error::new(ErrorKind::ConditionsNotSupported, message))
        }
    }
}

async fn run(
    steps: &mut Vec<CheckStep>,
    name: &'static str,
    step: impl Future<Output = Result<String, Error>>,
) -> bool {
    let begun = Instant::now();
    let outcome = step.await;
    let fix = outcome.as_ref().err().map(|error| fix(error.kind())).unwrap_or_default().to_owned();
    let good = outcome.is_ok();
    steps.push(CheckStep { name, duration: begun.elapsed(), outcome, fix });
    good
}

fn fix(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::CredentialsUnavailable => {
            "Give the store credentials that its credential_provider can find."
        }
        ErrorKind::CredentialsRejected => {
            "Give the store an access key that its S3 knows, with the secret that belongs to it."
        }
        ErrorKind::CredentialsExpired => "Renew the store's session token.",
        ErrorKind::AccessDenied => {
            "Allow the store's credentials s3:ListBucket on the bucket, and what its callers do on its objects."
        }
        ErrorKind::BucketNotFound => "Make the bucket, or correct the store's bucket and endpoint.",
        ErrorKind::WrongRegion => "Set the store's region to the bucket's.",
        ErrorKind::ClockSkewed => "Set the clock of Longshore's machine.",
        ErrorKind::ConnectionFailed => {
            "Look whether the store's endpoint can be reached from here, and its certificate be trusted."
        }
        ErrorKind::BackendTimeout | ErrorKind::BackendUnavailable | ErrorKind::Throttled => {
            "Wait for S3, or raise client_options.read_timeout."
        }
        ErrorKind::BackendProtocol => "Look whether the store's endpoint is an S3 server.",
        ErrorKind::ConditionsNotSupported => {
            "Use only overwrite on this store: set conditional_put to disabled."
        }
        ErrorKind::StoreMisconfigured => "Correct the store's settings.",
        _ => "",
    }
}
