//! Sends the WINDOW_UPDATE frames that `h2` withholds when a connection's stream windows become smaller.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use h2::FlowControl;

/// The streams of a connection whose calls have waited for more bytes, by number.
///
/// `h2` announces the bytes that a call has read only once they make up half of the stream's window, and checks that
/// only when a call reads. A smaller window may be negative (RFC 9113, section 6.9.2). The caller then has to wait for a
/// WINDOW_UPDATE, and the call for the caller.
#[derive(Debug, Default)]
pub(super) struct WindowUpdates(Mutex<HashMap<u32, FlowControl>>);

impl WindowUpdates {
    /// Includes a stream from now on.
    pub(super) fn watch(&self, stream: u32, flow: &FlowControl) {
        let mut flow = flow.clone();
        self.streams().insert(stream, flow.clone());
        // The window may have become smaller just before.
        announce(&mut flow);
    }

    /// Removes a stream whose call reads no more.
    pub(super) fn forget(&self, stream: u32) {
        let forgotten = self.streams().remove(&stream);
        drop(forgotten);
    }

    /// Has `h2` announce the bytes that calls have read wherever a WINDOW_UPDATE is due. Call it when the caller has
    /// acknowledged SETTINGS and `h2` has applied them.
    pub(super) fn send(&self) {
        let mut streams: Vec<_> = self.streams().values().cloned().collect();
        streams.iter_mut().for_each(announce);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u32, FlowControl>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes `h2` check whether a WINDOW_UPDATE is due.
fn announce(flow: &mut FlowControl) {
    // Fails only for more bytes than have arrived.
    let _ = flow.release_capacity(0);
}
