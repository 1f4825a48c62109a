//! What a client learns from S3's errors: the bucket's region, the clock, and that credentials are no longer valid.

use std::{
    mem::Discriminant,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::Client;
use crate::{
    credentials::Credentials,
    s3::{
        Error,
        endpoint::Endpoint,
        failed_attempt::{Correction, FailedAttempt},
    },
    transport::Retry,
};

/// What an attempt is signed for and with.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) place: Place,
    /// `None`: the request is unsigned.
    pub(super) credentials: Option<Arc<Credentials>>,
}

/// The bucket's location, as far as it is known.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) endpoint: Endpoint,
}

impl Client {
    /// Applies the correction in a failure, each kind at most once per request. A region that the attempt already
    /// used is not a correction.
    pub(super) fn correct(
        &self,
        failure: &FailedAttempt,
        used: &Signer,
        corrected: &mut Vec<Discriminant<Correction>>,
    ) -> Retry {
        let Some(correction) = &failure.correction else { return failure.again };
        let kind = std::mem::discriminant(correction);
        if corrected.contains(&kind) {
            return failure.again;
        }
        let applied = match correction {
            Correction::Region(region) => self.move_to(region, &used.place.region),
            Correction::Credentials => used
                .credentials
                .as_ref()
                .is_some_and(|credentials| self.bucket.credentials.report_rejected(credentials)),
            Correction::Clock(theirs) => {
                self.bucket
                    .clock_offset
                    .store(seconds_between(SystemTime::now(), *theirs), Ordering::Relaxed);
                true
            }
            Correction::Replay => true,
        };
        corrected.push(kind);
        if applied { Retry::Now } else { failure.again }
    }

    /// Switches to `region` and returns true if it is valid and differs from `used`, the region that the attempt was
    /// signed for. A concurrent call may already have switched.
    fn move_to(&self, region: &str, used: &str) -> bool {
        let plausible = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plausible || region == used {
            return false;
        }
        let Ok(endpoint) = Endpoint::of(&self.bucket.settings, region) else { return false };
        let mut place = self.bucket.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.region != region {
            let bucket = &self.bucket.settings.bucket;
            tracing::info!(bucket, from = place.region, to = region, "the bucket is in another region");
            *place = Place { region: region.to_owned(), endpoint };
        }
        true
    }

    /// The bucket's region, as far as it is known, and its address for users of presigned URLs.
    pub(in crate::s3) fn public_place(&self) -> Result<(String, Endpoint), Error> {
        let region = self.place().region;
        let endpoint = Endpoint::public(&self.bucket.settings, &region)?;
        Ok((region, endpoint))
    }

    pub(super) fn place(&self) -> Place {
        self.bucket.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time of S3's clock.
    pub(in crate::s3) fn server_time(&self) -> SystemTime {
        let offset = self.bucket.clock_offset.load(Ordering::Relaxed);
        let amount = Duration::from_secs(offset.unsigned_abs());
        let ours = SystemTime::now();
        if offset < 0 { ours - amount } else { ours + amount }
    }
}

fn seconds_between(ours: SystemTime, theirs: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}
