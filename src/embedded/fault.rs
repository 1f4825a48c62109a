//! Faults that a test asks an embedded server to show: S3's bad days, on request.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

/// The faults of one server. There are none until a test adds some; without any, a request costs one load
/// of an atomic.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    /// Adds a fault. Of several that select a request, the one added first strikes.
    pub fn add(&self, fault: Fault) {
        let mut armed = self.armed();
        let (skip, left) = (fault.skip, fault.times);
        armed.push(Armed { fault, skip, left });
        self.any.store(true, Ordering::Relaxed);
    }

    /// Takes all faults away, also from requests that are under way but have not been struck yet.
    pub fn clear(&self) {
        let mut armed = self.armed();
        armed.clear();
        self.any.store(false, Ordering::Relaxed);
    }

    /// What is to happen to a request, if anything.
    pub(super) fn strike(&self, method: &Method, uri: &Uri) -> Option<Effect> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.armed()
            .iter_mut()
            .filter(|armed| armed.fault.requests.select(method, uri))
            .find_map(Armed::strike)
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed>> {
        // What a panicking test leaves is as good as before: nothing is changed in several steps.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault and how far it has come.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    skip: u64,
    /// None for one that never wears out.
    left: Option<u64>,
}

impl Armed {
    fn strike(&mut self) -> Option<Effect> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(self.fault.effect.clone())
    }
}

/// Which requests go wrong, how often, and in what way.
///
/// ```
/// use longshore::embedded::{Effect, Failure, Fault, Requests};
///
/// // The second and the third part of any upload are asked to come again.
/// let parts = Requests::all().method(http::Method::PUT).query("partNumber");
/// let status = http::StatusCode::SERVICE_UNAVAILABLE;
/// let slow_down = Failure::new(status, "SlowDown", "Please reduce your request rate.");
/// let fault = Fault::new(parts, Effect::Answer(slow_down)).skip(1).times(2);
/// # let _ = fault;
/// ```
#[derive(Debug, Clone)]
pub struct Fault {
    requests: Requests,
    skip: u64,
    times: Option<u64>,
    effect: Effect,
}

impl Fault {
    /// A fault that strikes once, at the first request that `requests` selects.
    pub fn new(requests: Requests, effect: Effect) -> Self {
        Self { requests, skip: 0, times: Some(1), effect }
    }

    /// Leaves the first `count` of the selected requests alone.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Strikes `count` times instead of once.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Strikes until [`Faults::clear`].
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

/// Selects requests. Each condition that is given has to hold.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    method: Option<Method>,
    path: Option<Path>,
    query: Vec<String>,
}

/// `/BUCKET/KEY` without percent-encoding.
#[derive(Debug, Clone)]
enum Path {
    Whole(String),
    Prefix(String),
    Containing(String),
}

impl Requests {
    /// Every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Those with this path: `/BUCKET/KEY`, the key as it is rather than percent-encoded.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(Path::Whole(path.into()));
        self
    }

    /// Those whose path begins with this.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path = Some(Path::Prefix(prefix.into()));
        self
    }

    /// Those whose path has this somewhere.
    #[must_use]
    pub fn path_containing(mut self, part: impl Into<String>) -> Self {
        self.path = Some(Path::Containing(part.into()));
        self
    }

    /// Those that have a query parameter of this name, with whatever value: `uploadId`, `partNumber`,
    /// `list-type`. Given several times, each has to be there.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.query.push(name.into());
        self
    }

    fn select(&self, method: &Method, uri: &Uri) -> bool {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let has = |name: &String| {
            let mut names = uri.query().unwrap_or_default().split('&').map(|pair| {
                let name = pair.split_once('=').map_or(pair, |(name, _)| name);
                percent_decode_str(name).decode_utf8_lossy()
            });
            names.any(|found| found == **name)
        };
        self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.path.as_ref().is_none_or(|wanted| match wanted {
                Path::Whole(whole) => path == **whole,
                Path::Prefix(prefix) => path.starts_with(prefix),
                Path::Containing(part) => path.contains(part),
            })
            && self.query.iter().all(has)
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The operation does not run; the answer is a failure. The request's body is read to its end first, so
    /// that the caller is sure to see the answer rather than a broken connection.
    Answer(Failure),
    /// The operation runs to its end, but its answer is lost: the caller is told a failure.
    AnswerAfterwards(Failure),
    /// The operation runs after this long.
    Delay(Duration),
    /// The operation runs; of its answer's body so many bytes are sent under the headers of the whole, then
    /// the connection is closed. An answer that is no longer than that stays whole.
    Truncate {
        /// Bytes of the body.
        after: u64,
    },
    /// The connection is reset (RST) in place of an answer, without the operation having run.
    Reset,
    /// The operation runs; the connection is reset (RST) once so many bytes of its answer's body have been
    /// sent. The operating system may throw away some that the caller has not read by then. An answer that
    /// is no longer than that stays whole.
    ResetAfter {
        /// Bytes of the body.
        bytes: u64,
    },
}

/// A failure in S3's form: an XML error with a code.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after: Option<u64>,
}

impl Failure {
    /// A failure such as `503`, `SlowDown`, `Please reduce your request rate.`
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    /// Adds a `Retry-After` header, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requests, of a row of PUTs to these, that are struck.
    fn struck(fault: Fault, uris: &[&'static str]) -> Vec<usize> {
        let faults = Faults::default();
        faults.add(fault);
        let uris = uris.iter().map(|uri| Uri::from_static(uri)).enumerate();
        uris.filter(|(_, uri)| faults.strike(&Method::PUT, uri).is_some()).map(|(index, _)| index).collect()
    }

    #[test]
    fn requests_are_selected_by_all_that_is_given() {
        const URIS: &[&str] = &["/b/a%20b?uploadId=1&partNumber=2", "/b/c/d?uploadId", "/b"];
        let select = |requests| struck(Fault::new(requests, Effect::Reset).always(), URIS);
        assert_eq!(select(Requests::all()), [0, 1, 2]);
        assert_eq!(select(Requests::all().method(Method::PUT)), [0, 1, 2]);
        assert_eq!(select(Requests::all().method(Method::GET)), [0; 0]);
        assert_eq!(select(Requests::all().path("/b/a b")), [0]);
        assert_eq!(select(Requests::all().path_prefix("/b/")), [0, 1]);
        assert_eq!(select(Requests::all().path_containing("c/d")), [1]);
        assert_eq!(select(Requests::all().query("uploadId")), [0, 1]);
        assert_eq!(select(Requests::all().query("uploadId").query("partNumber")), [0]);
        assert_eq!(select(Requests::all().query("uploadid")), [0; 0]);
    }

    #[test]
    fn a_fault_strikes_after_those_skipped_and_as_often_as_said() {
        const FIVE: &[&str] = &["/"; 5];
        let fault = || Fault::new(Requests::all(), Effect::Reset);
        assert_eq!(struck(fault(), FIVE), [0]);
        assert_eq!(struck(fault().skip(1).times(2), FIVE), [1, 2]);
        assert_eq!(struck(fault().skip(3).always(), FIVE), [3, 4]);
        assert_eq!(struck(fault().times(0), FIVE), [0; 0]);
    }

    #[test]
    fn a_worn_out_fault_lets_the_next_one_strike_until_all_are_cleared() {
        let faults = Faults::default();
        let strike = || faults.strike(&Method::GET, &Uri::from_static("/"));
        faults.add(Fault::new(Requests::all(), Effect::Reset));
        faults.add(Fault::new(Requests::all(), Effect::Truncate { after: 1 }).always());
        assert!(matches!(strike(), Some(Effect::Reset)));
        assert!(matches!(strike(), Some(Effect::Truncate { after: 1 })));
        assert!(matches!(strike(), Some(Effect::Truncate { after: 1 })));
        faults.clear();
        assert!(strike().is_none());
    }
}
