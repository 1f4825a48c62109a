//! Ctrl-C and SIGTERM: the first signal starts a graceful shutdown, the second ends the process at once.

use std::{future::Future, io, process::ExitCode};

use tokio::sync::oneshot;

use super::{INTERRUPTED, failed};

/// Runs `work` with a future that completes at the first signal. A second signal drops `work` even if it
/// has not finished.
pub(super) async fn until_signalled<W>(work: impl FnOnce(FirstSignal) -> W) -> ExitCode
where
    W: Future<Output = ExitCode>,
{
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("cannot listen for signals: {error}")),
    };
    let (first, told) = oneshot::channel();
    let second = async {
        signals.next().await;
        let _ = first.send(());
        signals.next().await;
    };
    tokio::select! {
        code = work(FirstSignal(told)) => code,
        () = second => {
            tracing::warn!("received a second signal: exiting without waiting for in-flight calls");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// Resolves when the first signal arrives.
#[derive(Debug)]
pub(super) struct FirstSignal(oneshot::Receiver<()>);

impl FirstSignal {
    pub(super) async fn received(self) {
        // The sender is not dropped before this future is.
        let _ = self.0.await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// SIGHUP, which asks for a reload. Where there is no such signal, it never arrives.
#[derive(Debug)]
pub(super) struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Hangups {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { signal: signal(SignalKind::hangup())? })
    }

    pub(super) async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
impl Hangups {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(super) async fn next(&mut self) {
        std::future::pending().await
    }
}
