//! `limits` of a tenant.

use crate::settings::{Optional, Size, UNSUPPORTED, settings};

const MIB: u64 = 1024 * 1024;

settings! {
    /// Limits on what a tenant may use of the process's resources.
    pub struct Limits(LimitsLayer) {
        /// How many bytes of the memory budget the tenant may hold at the same time.
        max_buffered: Option<u64> as Optional<Size<MIB, { 1024 * 1024 * MIB }>> =
            None => "half of the budget; all of it if there is one tenant",
    }
    reject {
        "max_in_flight" => UNSUPPORTED,
        "requests_per_second" => UNSUPPORTED,
        "bytes_per_second" => UNSUPPORTED,
    }
}
