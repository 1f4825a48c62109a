//! Stops new calls while a server answers nothing.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::CircuitBreaker;

/// An attempt that is abandoned after this time without a response counts as failed: callers with short deadlines
/// would otherwise never find out that a server hangs.
const HANGS: Duration = Duration::from_secs(1);

/// Counts the failed attempts of a store in a row. Once there have been enough for long enough, the circuit is open: new
/// calls are refused at once, except for one at a time that tests the server.
///
/// Calls that have begun are not affected. Their retries have limits of their own, and test the server too.
#[derive(Debug)]
pub struct Circuit {
    policy: CircuitBreaker,
    /// Whether the last attempt that ended was successful. A success then changes nothing, and takes no lock.
    is_sound: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the first of these attempts failed.
    since: Option<Instant>,
    /// When the next call may test the server; `None` while the circuit is closed.
    next_test: Option<Instant>,
    /// Whether an abandoned attempt has opened the circuit, which has not been reported yet.
    is_unreported: bool,
}

/// An attempt that waits for its response.
#[derive(Debug)]
pub struct Awaited<'a> {
    circuit: &'a Circuit,
    since: Instant,
    counts_if_abandoned: bool,
}

/// A change of a circuit, to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New calls are refused from now on.
    Opened,
    /// The server answers again.
    Closed,
}

impl Circuit {
    /// A closed circuit.
    pub fn new(policy: CircuitBreaker) -> Self {
        Self { policy, is_sound: AtomicBool::new(true), state: Mutex::default() }
    }

    /// Admits a call, or returns how long to wait before the next one.
    pub fn admit(&self) -> Result<(), Duration> {
        if self.is_sound.load(Relaxed) {
            return Ok(());
        }
        let (mut state, now) = (self.state(), Instant::now());
        match state.next_test {
            Some(next) if now < next => Err(next - now),
            Some(_) => {
                // This call tests the server. If it does not get there, another one tests it later.
                state.next_test = Some(now + self.policy.open_time);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Begins to wait for a response. `counts_if_abandoned`: whether the server should have answered soon, because the
    /// request was small.
    pub fn awaiting(&self, counts_if_abandoned: bool) -> Awaited<'_> {
        Awaited { circuit: self, since: Instant::now(), counts_if_abandoned }
    }

    fn answered(&self) -> Option<Change> {
        if self.is_sound.load(Relaxed) {
            return None;
        }
        let mut state = self.state();
        let was_open = state.next_test.is_some();
        *state = State::default();
        self.is_sound.store(true, Relaxed);
        was_open.then_some(Change::Closed)
    }

    fn failed(&self) -> Option<Change> {
        let CircuitBreaker { failures, open_time } = self.policy;
        if failures == 0 {
            return None;
        }
        let (mut state, now) = (self.state(), Instant::now());
        self.is_sound.store(false, Relaxed);
        state.failures = state.failures.saturating_add(1);
        let since = *state.since.get_or_insert(now);
        let opens =
            state.next_test.is_none() && state.failures >= failures && now.duration_since(since) >= open_time;
        if opens {
            state.next_test = Some(now + open_time);
        }
        opens.then_some(Change::Opened)
    }

    /// Whether an abandoned attempt has opened the circuit. Returns true once.
    pub fn has_opened_unnoticed(&self) -> bool {
        mem::take(&mut self.state().is_unreported)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited<'_> {
    /// The response has begun: the server does not hang, even if the rest of the response is not awaited.
    pub fn has_begun(&mut self) {
        self.counts_if_abandoned = false;
    }

    /// The server answered, be it with an error that concerns the request.
    pub fn answered(mut self) -> Option<Change> {
        self.counts_if_abandoned = false;
        self.circuit.answered()
    }

    /// There was no response, or a server error.
    pub fn failed(mut self) -> Option<Change> {
        self.counts_if_abandoned = false;
        self.circuit.failed()
    }

    /// The state of the server is unknown.
    pub fn undecided(mut self) {
        self.counts_if_abandoned = false;
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if self.counts_if_abandoned && self.since.elapsed() >= HANGS {
            let change = self.circuit.failed();
            self.circuit.state().is_unreported |= change.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn circuit() -> Circuit {
        Circuit::new(CircuitBreaker { failures: 3, open_time: 5 * SECOND })
    }

    fn fail(circuit: &Circuit) -> Option<Change> {
        circuit.awaiting(true).failed()
    }

    async fn open() -> Circuit {
        let circuit = circuit();
        assert_eq!([fail(&circuit), fail(&circuit)], [None; 2]);
        advance(5 * SECOND).await;
        assert_eq!(fail(&circuit), Some(Change::Opened));
        circuit
    }

    #[tokio::test(start_paused = true)]
    async fn a_circuit_opens_after_enough_failures_in_a_row_over_enough_time() {
        let circuit = circuit();
        for _ in 0..10 {
            assert_eq!(fail(&circuit), None, "a short outage");
        }
        assert!(circuit.admit().is_ok());
        advance(4 * SECOND).await;
        assert_eq!(circuit.awaiting(true).answered(), None);
        advance(2 * SECOND).await;
        assert_eq!(fail(&circuit), None, "the run begins anew");
        advance(5 * SECOND).await;
        assert_eq!([fail(&circuit), fail(&circuit)], [None, Some(Change::Opened)]);
        assert_eq!(circuit.admit(), Err(5 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_tests_the_server_until_it_answers() {
        let circuit = open().await;
        advance(3 * SECOND).await;
        assert_eq!(circuit.admit(), Err(2 * SECOND));
        advance(2 * SECOND).await;
        assert_eq!(circuit.admit(), Ok(()));
        assert_eq!(circuit.admit(), Err(5 * SECOND));
        assert_eq!(fail(&circuit), None, "it is open already");
        advance(5 * SECOND).await;
        assert_eq!(circuit.admit(), Ok(()));
        assert_eq!(circuit.awaiting(true).answered(), Some(Change::Closed));
        assert_eq!([circuit.admit(), circuit.admit()], [Ok(()); 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_request_that_is_abandoned_after_a_second_counts_as_failed() {
        for (counts, wait, opens) in [(true, 1, true), (true, 0, false), (false, 9, false)] {
            let circuit = circuit();
            for _ in 0..9 {
                let awaited = circuit.awaiting(counts);
                advance(wait * SECOND).await;
                drop(awaited);
            }
            assert_eq!(circuit.admit().is_err(), opens, "{counts} {wait}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_circuit_of_zero_failures_never_opens() {
        let circuit = Circuit::new(CircuitBreaker { failures: 0, open_time: Duration::ZERO });
        for _ in 0..100 {
            assert_eq!(fail(&circuit), None);
        }
        assert!(circuit.admit().is_ok());
    }
}
