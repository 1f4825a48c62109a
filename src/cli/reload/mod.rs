//! Reloads files when they change, or on SIGHUP.

mod checks;
mod file_reads;
mod tenants;
mod tls;

use std::time::Duration;

pub(super) use self::{
    tenants::{Reloader, requests},
    tls::TlsReloader,
};

/// How long files must stay the same after a change before the change takes effect: a file may be written in several
/// steps, and the files of a folder one after the other.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the files are read if some of them keep changing, before the next check or signal is waited for.
const ATTEMPTS: u32 = 3;
