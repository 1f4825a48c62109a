//! Checks whether a store works, and says how to fix it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    CheckStep, Error, ErrorKind, ListOptions, Properties, S3Store, StoreCheck, WriteMode,
    transfer::multipart::Multipart,
};
use crate::s3::{ChecksummedPayload, NewObject, WriteCondition};

impl S3Store {
    /// Checks the store step by step. It stops early if `credentials`, `list` or `write` fails. With `probe_writes`, it
    /// writes a scratch key and deletes it, to find out whether the server honours conditions. If the server ignores
    /// conditions on one kind of write, the store rejects conditional writes of that kind from then on. If the future
    /// is dropped, the scratch key may stay.
    pub async fn check(&self, probe_writes: bool) -> StoreCheck {
        let mut steps = Vec::new();
        let mut credentials = None;
        let find = async {
            let origin = self.client().find_credentials().await?;
            let text = origin.to_string();
            credentials = Some(origin);
            Ok(text)
        };
        let list = async {
            let options = ListOptions { page_size: 1, ..ListOptions::default() };
            self.list(&options).await.map(|_| "the server answered a signed request".to_owned())
        };
        let found = run(&mut steps, "credentials", find).await;
        if !found && let Some(step) = steps.last_mut() {
            self.settings().credential_provider.advice().clone_into(&mut step.fix);
        }
        if found && run(&mut steps, "list", list).await && probe_writes {
            self.probe(&mut steps).await;
        }
        StoreCheck { steps, credentials }
    }

    async fn probe(&self, steps: &mut Vec<CheckStep>) {
        let key = self.full_prefix(&format!(".longshore-check-{:016x}", fastrand::u64(..)));
        let written = async {
            self.probe_put(&key, &WriteCondition::None).await.map(|_| "a scratch key was written".to_owned())
        };
        if !run(steps, "write", written).await {
            return;
        }
        let puts = self.probe_put(&key, &WriteCondition::Absent);
        if run(steps, "create_condition", refused(puts)).await {
            let other = other();
            run(steps, "update_condition", refused(self.probe_put(&key, &other))).await;
        }
        remember(steps, &self.inner.puts_ignore_conditions);
        let completes = Box::pin(self.probe_complete(&key, WriteCondition::Absent));
        if run(steps, "multipart_create_condition", refused(completes)).await {
            let completes = Box::pin(self.probe_complete(&key, other()));
            run(steps, "multipart_update_condition", refused(completes)).await;
        }
        remember(steps, &self.inner.completes_ignore_conditions);
        let deleted = async {
            let deleted = self.client().delete_object(&key, None, None).await;
            deleted.map(|_| "the scratch key was deleted".to_owned())
        };
        run(steps, "delete", deleted).await;
    }

    async fn probe_put(&self, full_key: &str, condition: &WriteCondition) -> Result<Properties, Error> {
        let (client, object) = (self.client(), NewObject::default());
        let payload =
            ChecksummedPayload::new(client.checksum_for(None), Bytes::from_static(b"1").into()).await;
        client.put_object(full_key, payload, &object, condition).await
    }

    async fn probe_complete(&self, full_key: &str, condition: WriteCondition) -> Result<Properties, Error> {
        let (object, key) = (NewObject::default(), full_key.to_owned());
        let multipart = Multipart::begin(self, key, object, WriteMode::Overwrite, None)?;
        // The condition is not set through the mode, which would be rejected if an earlier check had found that
        // conditions are ignored.
        let mut multipart = multipart.completed_on(condition);
        let (store, target) = (self.clone(), multipart.target().clone());
        multipart.parts.start(1, async move {
            let payload = ChecksummedPayload { bytes: Bytes::from_static(b"1").into(), checksum: None };
            store.client().upload_part(&target.await?, 1, payload).await
        });
        multipart.complete().await.map(|(meta, _)| meta)
    }
}

/// A condition that the scratch key does not meet.
fn other() -> WriteCondition {
    WriteCondition::Unchanged("\"00000000000000000000000000000000\"".to_owned())
}

/// Records whether the last step found that conditions are honoured or ignored. Other errors change nothing.
fn remember(steps: &[CheckStep], ignored: &AtomicBool) {
    match steps.last().map(|step| step.outcome.as_ref().map_err(Error::kind)) {
        Some(Ok(_)) => ignored.store(false, Ordering::Relaxed),
        Some(Err(ErrorKind::ConditionsNotSupported)) => ignored.store(true, Ordering::Relaxed),
        _ => {}
    }
}

/// Succeeds if the server rejected the write because of its condition.
async fn refused(write: impl Future<Output = Result<Properties, Error>>) -> Result<String, Error> {
    match write.await {
        Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists) => {
            Ok("the server rejected a write whose condition does not hold".to_owned())
        }
        Err(error) => Err(error),
        Ok(_) => {
            let message = "the server accepted a write whose condition does not hold";
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
            "Check the credential provider, which returned credentials a moment ago."
        }
        ErrorKind::CredentialsRejected => {
            "Give the store an access key id that its S3 server knows, and the secret that belongs to it."
        }
        ErrorKind::CredentialsExpired => "Renew the store's session token.",
        ErrorKind::AccessDenied => {
            "Allow the store's credentials s3:ListBucket on the bucket, and the actions that its callers need on its objects."
        }
        ErrorKind::BucketNotFound => "Create the bucket, or correct the store's bucket and endpoint.",
        ErrorKind::WrongRegion => "Set the store's region to the region of the bucket.",
        ErrorKind::ClockSkewed => "Correct the clock of the machine that runs Longshore.",
        ErrorKind::ConnectionFailed => {
            "Check that this machine can reach the store's endpoint and trusts its certificate."
        }
        ErrorKind::BackendTimeout | ErrorKind::BackendUnavailable | ErrorKind::Throttled => {
            "Wait for S3, or raise client_options.read_timeout."
        }
        ErrorKind::BackendProtocol => "Check that the store's endpoint is an S3 server.",
        ErrorKind::ConditionsNotSupported => {
            "Use only overwrite on this store: set conditional_put to disabled."
        }
        ErrorKind::StoreMisconfigured => "Correct the store's settings.",
        _ => "",
    }
}
