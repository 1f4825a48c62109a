//! Faults that a test injects into an embedded server, to imitate failures of S3.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;

/// The faults of one server. There are none until a test adds some. Without faults, a request costs one atomic load.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    armed: Mutex<Vec<ActiveFault>>,
}

impl Faults {
    /// Adds a fault. If several faults apply to a request, the one that was added first takes effect.
    pub fn add(&self, fault: Fault) {
        let mut armed = self.armed();
        let (skip, left) = (fault.skip, fault.times);
        armed.push(ActiveFault { fault, skip, left });
        self.any.store(true, Ordering::Relaxed);
    }

    /// Removes all faults. Requests that no fault has affected yet, including in-flight ones, are no longer affected.
    pub fn clear(&self) {
        let mut armed = self.armed();
        armed.clear();
        self.any.store(false, Ordering::Relaxed);
    }

    /// The effect on a request, if any.
    pub(super) fn strike(&self, method: &Method, uri: &Uri) -> Option<Effect> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.armed()
            .iter_mut()
            .filter(|armed| armed.fault.requests.select(method, uri))
            .find_map(ActiveFault::strike)
    }

    fn armed(&self) -> MutexGuard<'_, Vec<ActiveFault>> {
        // A test that panics leaves the list consistent, since no change takes several steps.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault, and how often it still skips a request or affects one.
#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    skip: u64,
    /// `None` if there is no limit.
    left: Option<u64>,
}

impl ActiveFault {
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

/// Which requests fail, how often, and how.
///
/// ```
/// use longshore::embedded::{Effect, InjectedError, Fault, Requests};
///
/// // The second and the third part of any upload fail with SlowDown.
/// let parts = Requests::all().method(http::Method::PUT).query("partNumber");
/// let status = http::StatusCode::SERVICE_UNAVAILABLE;
/// let slow_down = InjectedError::new(status, "SlowDown", "Please reduce your request rate.");
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
    /// A fault that affects one request, the first that `requests` selects.
    pub fn new(requests: Requests, effect: Effect) -> Self {
        Self { requests, skip: 0, times: Some(1), effect }
    }

    /// Does not affect the first `count` of the selected requests.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Affects `count` requests instead of one.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Affects every selected request until [`Faults::clear`] is called.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

/// Selects requests. A request must meet every condition given.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    method: Option<Method>,
    path: Option<Path>,
    query: Vec<String>,
}

/// A condition on the path, `/BUCKET/KEY` without percent-encoding.
#[derive(Debug, Clone)]
enum Path {
    Whole(String),
    Prefix(String),
    Containing(String),
}

impl Requests {
    /// Selects every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Selects requests with this path: `/BUCKET/KEY`, with the key not percent-encoded.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(Path::Whole(path.into()));
        self
    }

    /// Selects requests whose path begins with `prefix`.
    #[must_use]
    pub fn path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path = Some(Path::Prefix(prefix.into()));
        self
    }

    /// Selects requests whose path contains `part`.
    #[must_use]
    pub fn path_containing(mut self, part: impl Into<String>) -> Self {
        self.path = Some(Path::Containing(part.into()));
        self
    }

    /// Selects requests that have a query parameter with this name and any value: `uploadId`, `partNumber`,
    /// `list-type`. After several calls, a request must have every parameter.
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

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The operation does not run, and the response is this error. The server reads the request's body to its end
    /// first, so that the caller sees the error and not a broken connection.
    Answer(InjectedError),
    /// The operation runs to its end, but its response is lost: the caller receives this error.
    AnswerAfterwards(InjectedError),
    /// The operation runs after this delay.
    Delay(Duration),
    /// The operation runs. The server sends the headers of its response and the first `after` bytes of the body, then
    /// closes the connection. A body that is not longer than that is sent whole.
    Truncate {
        /// The number of bytes of the body.
        after: u64,
    },
    /// The operation does not run, and the connection is reset (RST) instead of a response.
    Reset,
    /// The operation runs. The connection is reset (RST) after `bytes` bytes of the response's body have been sent. The
    /// operating system may discard some of them if the caller has not read them by then. A body that is not longer
    /// than that is sent whole.
    ResetAfter {
        /// The number of bytes of the body.
        bytes: u64,
    },
}

/// An error in S3's form: XML with a code.
#[derive(Debug, Clone)]
pub struct InjectedError {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after: Option<u64>,
}

impl InjectedError {
    /// An error such as `503`, `SlowDown`, `Please reduce your request rate.`
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

    /// Sends a PUT to each URI and returns the indices of the requests that the fault affects.
    fn struck(fault: Fault, uris: &[&'static str]) -> Vec<usize> {
        let faults = Faults::default();
        faults.add(fault);
        let uris = uris.iter().map(|uri| Uri::from_static(uri)).enumerate();
        uris.filter(|(_, uri)| faults.strike(&Method::PUT, uri).is_some()).map(|(index, _)| index).collect()
    }

    #[test]
    fn requests_must_meet_every_condition() {
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
    fn a_fault_skips_requests_and_affects_a_number_of_them() {
        const FIVE: &[&str] = &["/"; 5];
        let fault = || Fault::new(Requests::all(), Effect::Reset);
        assert_eq!(struck(fault(), FIVE), [0]);
        assert_eq!(struck(fault().skip(1).times(2), FIVE), [1, 2]);
        assert_eq!(struck(fault().skip(3).always(), FIVE), [3, 4]);
        assert_eq!(struck(fault().times(0), FIVE), [0; 0]);
    }

    #[test]
    fn a_used_up_fault_leaves_requests_to_the_next_until_all_are_cleared() {
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
