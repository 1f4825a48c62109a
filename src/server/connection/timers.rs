//! The timers of a connection: when to act on it although nothing happens.

use std::{
    future::Future,
    pin::Pin,
    task::Context,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{end::End, metered::Meter};
use crate::server::ConnectionSettings;

/// How long a connection that is being closed may take to send the remaining bytes.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long an idle connection is kept while the connection limit is nearly reached.
const IDLE_IF_CROWDED: Duration = Duration::from_secs(10);

/// How often to check whether the caller reads.
const RECHECK: Duration = Duration::from_secs(1);

/// How many times as long as a header block any other frame may take to arrive.
const FRAME_FACTOR: u32 = 6;

/// What to do with the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing yet.
    Wait,
    /// Send a PING.
    Ping,
    /// Ask the caller to open another connection for its next calls.
    GoAway(End),
    /// Close the connection immediately; its in-flight calls are lost.
    Close(End),
}

/// Tracks whether the caller reads.
#[derive(Debug)]
struct Reading {
    /// When to check next.
    check: Instant,
    /// The last value of [`ConnectionUnsent::progress`](super::unsent::ConnectionUnsent::progress).
    seen: Option<u64>,
    /// When that value was first seen.
    since: Instant,
}

impl Reading {
    fn new(now: Instant) -> Self {
        Self { check: now, seen: None, since: now }
    }

    /// When the caller's idle timeout ends, or when to check again.
    fn due(&mut self, meter: &Meter) -> Option<Instant> {
        let (now, seen) = (Instant::now(), meter.unsent.progress());
        if seen != self.seen {
            (self.seen, self.since) = (seen, now);
        }
        seen?;
        if now >= self.check {
            self.check = now + RECHECK;
        }
        let end = meter.unsent.idle_timeout().and_then(|idle| self.since.checked_add(idle));
        Some(end.unwrap_or(self.check))
    }
}

/// The timers of one connection.
#[derive(Debug)]
pub(super) struct Timers {
    sleep: Pin<Box<Sleep>>,
    settings: ConnectionSettings,
    /// When the connection reaches its maximum age. The age is varied, so that connections that were opened together do
    /// not end together.
    aged: Option<Instant>,
    /// When the caller's certificate expires.
    certificate_expires: Option<Instant>,
    /// When the connection became idle; `None` while it has calls.
    idle_since: Option<Instant>,
    /// When the last PING was sent.
    pinged: Option<Instant>,
    reading: Reading,
    going_away: Option<(Instant, End)>,
    /// When the connection is closed even if bytes remain to be sent.
    closing: Option<(Instant, End)>,
}

impl Timers {
    pub(super) fn new(settings: ConnectionSettings, began: Instant) -> Self {
        let varied = |age: Duration| age.mul_f64(0.9 + 0.2 * fastrand::f64());
        let aged = settings.max_age.and_then(|age| began.checked_add(varied(age)));
        let sleep = Box::pin(sleep_until(began + settings.handshake_timeout));
        Self {
            sleep,
            settings,
            aged,
            certificate_expires: None,
            idle_since: Some(began),
            pinged: None,
            reading: Reading::new(began),
            going_away: None,
            closing: None,
        }
    }

    /// Ends the connection when the caller's certificate expires.
    pub(super) fn expire_certificate(&mut self, not_after: SystemTime) {
        let left = not_after.duration_since(SystemTime::now()).unwrap_or_default();
        self.certificate_expires = Instant::now().checked_add(left);
    }

    /// Records whether the connection has calls.
    pub(super) fn set_has_calls(&mut self, some: bool) {
        match (some, self.idle_since) {
            (true, _) => self.idle_since = None,
            (false, None) => self.idle_since = Some(Instant::now()),
            (false, Some(_)) => {}
        }
    }

    /// Records that GOAWAY was sent.
    pub(super) fn went_away(&mut self, end: End) {
        if end == End::Shutdown || self.going_away.is_none() {
            self.going_away = Some((Instant::now(), end));
        }
    }

    /// Records that the connection is being closed.
    pub(super) fn closing(&mut self, end: End) {
        self.closing.get_or_insert((Instant::now() + CLOSE_GRACE, end));
    }

    /// Why the connection ends, if that has been decided.
    pub(super) fn end(&self) -> Option<End> {
        self.closing.or(self.going_away).map(|(_, end)| end)
    }

    /// What to do now. Wakes the task when it has to be polled again. `crowded`: whether the connection limit is nearly
    /// reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter, crowded: bool) -> Action {
        loop {
            let (due, action) = self.next(meter, crowded);
            if due > Instant::now() {
                if due != self.sleep.deadline() {
                    self.sleep.as_mut().reset(due);
                }
                if self.sleep.as_mut().poll(cx).is_pending() {
                    return Action::Wait;
                }
                continue;
            }
            if action == Action::Ping {
                self.pinged = Some(Instant::now());
            }
            return action;
        }
    }

    /// The next action, and when it is due.
    fn next(&mut self, meter: &Meter, crowded: bool) -> (Instant, Action) {
        if let Some((at, end)) = self.closing {
            return (at, Action::Close(end));
        }
        let ConnectionSettings { handshake_timeout, max_age_grace, .. } = self.settings;
        let read_idle = self.reading.due(meter);
        let mut next = self.keepalive(meter);
        let mut sooner = |at: Option<Instant>, action| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, action);
            }
        };
        if !meter.has_settings() {
            sooner(Some(meter.began() + handshake_timeout), Action::Close(End::Handshake));
        }
        sooner(meter.block_since().map(|since| since + handshake_timeout), Action::Close(End::HeaderBlock));
        let frame = meter.frame_since().map(|since| since + handshake_timeout * FRAME_FACTOR);
        sooner(frame, Action::Close(End::Frame));
        sooner(read_idle, Action::Close(End::ReadIdle));
        if let Some((at, end)) = self.going_away {
            let over = max_age_grace.and_then(|grace| at.checked_add(grace));
            let has_grace = matches!(end, End::Age | End::Certificate);
            sooner(over.filter(|_| has_grace), Action::Close(End::AgeGrace));
            // A caller that keeps a connection without calls open after GOAWAY is disconnected.
            let patience = if end == End::Shutdown { CLOSE_GRACE } else { handshake_timeout };
            sooner(self.idle_since.map(|since| since.max(at) + patience), Action::Close(end));
        } else {
            sooner(self.aged, Action::GoAway(End::Age));
            sooner(self.certificate_expires, Action::GoAway(End::Certificate));
            sooner(self.idle_until(crowded), Action::GoAway(End::Idle));
        }
        next
    }

    fn idle_until(&self, crowded: bool) -> Option<Instant> {
        let max_idle = if crowded {
            Some(self.settings.max_idle.map_or(IDLE_IF_CROWDED, |idle| idle.min(IDLE_IF_CROWDED)))
        } else {
            self.settings.max_idle
        };
        self.idle_since?.checked_add(max_idle?)
    }

    fn keepalive(&self, meter: &Meter) -> (Instant, Action) {
        let last = meter.last_read();
        match self.pinged {
            // Any bytes that arrive show that the caller is alive.
            Some(pinged) if last <= pinged => {
                (pinged + self.settings.keepalive_timeout, Action::Close(End::Keepalive))
            }
            _ => (last + self.settings.keepalive_interval, Action::Ping),
        }
    }
}
