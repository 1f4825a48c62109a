//! The settings of limits: `limits` of a tenant and of a caller, and the limits of the process.

use std::time::Duration;

use crate::settings::{Keyword, Keywords, Number, Optional, OrUnlimited, Period, Size, Timeout, settings};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;

settings! {
    /// Limits on what a tenant may use of the process's resources.
    pub struct Limits(LimitsLayer) {
        /// How many bytes of the memory budget the tenant may hold at the same time, in each process.
        max_buffered: Option<u64> as Optional<Size<MIB, { 1024 * 1024 * MIB }>> =
            None => "half of the budget; all of it if there is one tenant",
    }
    include {
        /// Limits on the tenant's calls.
        calls: CallLimits,
    }
}

settings! {
    /// Limits on the calls of a tenant or of a caller.
    pub struct CallLimits(CallLimitsLayer) {
        /// How many calls may be in flight. For a tenant, `unlimited` means half of `LONGSHORE_MAX_IN_FLIGHT` if there
        /// are several tenants.
        max_in_flight: Option<u32> as OrUnlimited<Number<1, 1_000_000>> = None,
        /// How many of these calls may be streams, which can last long: Get, GetRanges, Upload, Walk, WalkVersions, DeleteMany,
        /// DeletePrefix, CopyPrefix, WriteUpload, and the calls with progress.
        max_streams: Option<u32> as OrUnlimited<Number<1, 1_000_000>> = None,
        /// How many calls may begin per second.
        requests_per_second: Option<u32> as OrUnlimited<Number<1, 10_000_000>> = None,
        /// How many bytes of objects may be uploaded per second, and how many may be downloaded. Transfers slow down to
        /// this rate.
        bytes_per_second: Option<u64> as OrUnlimited<Size<{ 64 * KIB }, TIB>> = None,
        /// `bytes_per_second` for uploads: Put, Upload, WriteUpload and WriteUploadWithProgress.
        upload_bytes_per_second: Option<u64> as OrUnlimited<Size<{ 64 * KIB }, TIB>> =
            None => "`bytes_per_second`",
        /// `bytes_per_second` for downloads: Get and GetRanges.
        download_bytes_per_second: Option<u64> as OrUnlimited<Size<{ 64 * KIB }, TIB>> =
            None => "`bytes_per_second`",
        /// How large an object may be that a call writes.
        max_object_size: Option<u64> as OrUnlimited<Size<1, { 1024 * TIB }>> = None,
        /// How many keys a call may name in total: the objects of a DeleteMany.
        max_keys_per_call: Option<u32> as OrUnlimited<Number<1, 1_000_000_000>> = None,
        /// How long a call beyond a limit waits until it fails with RESOURCE_EXHAUSTED, reason LIMIT_EXCEEDED. A call
        /// waits at most as long as its tenant's and its caller's `max_wait` allow. Transfers that have begun wait
        /// longer.
        max_wait: Duration as Period = Duration::from_secs(5),
        /// How much of an unused rate can be used later, as the time in which it accumulates; at least one call, and
        /// one message of `LONGSHORE_MAX_MESSAGE_BYTES`.
        burst: Duration as Timeout = Duration::from_secs(1),
        /// What `max_in_flight`, `max_streams` and the rates apply to: each process, or all `LONGSHORE_REPLICAS`
        /// processes together. With `fleet`, each process has an equal part, but at least one call or stream.
        scope: LimitScope as Keyword<LimitScope> = LimitScope::Process,
    }
}

impl CallLimits {
    /// The bytes per second of uploads.
    pub(super) fn uploads(&self) -> Option<u64> {
        self.upload_bytes_per_second.or(self.bytes_per_second)
    }

    /// The bytes per second of downloads.
    pub(super) fn downloads(&self) -> Option<u64> {
        self.download_bytes_per_second.or(self.bytes_per_second)
    }
}

/// What a limit on rates and on calls in flight applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Each process.
    Process,
    /// All replicas together, of which each has an equal part.
    Fleet,
}

impl Keywords for LimitScope {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("process", Self::Process), ("fleet", Self::Fleet)];
}

settings! {
    /// Limits on the calls of the whole process.
    #[derive(Copy)]
    pub struct ProcessLimits(ProcessLimitsLayer), variables "LONGSHORE_" {
        /// How many calls may be in flight in this process. As many more may wait, each as long as `limits.max_wait` of
        /// its tenant allows; the server rejects further calls before it reads their messages. If there are several
        /// tenants, each may have at most half of these calls, unless its `limits.max_in_flight` sets another limit.
        max_in_flight: Option<u32> as OrUnlimited<Number<1, 1_000_000>> = Some(10_000),
    }
}
