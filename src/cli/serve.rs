//! `longshore serve`: runs the server.

use std::{ffi::OsString, future::pending, io, process::ExitCode};

use super::{
    USAGE, failed, output,
    reload::{Reloader, TlsReloader, requests},
    signals::{FirstSignal, Hangups, until_signalled},
};
use crate::{
    config::{self, Loaded},
    server::{Server, ServerError},
    telemetry,
};

pub(super) async fn run(variables: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    // First, because SIGHUP would otherwise end the process.
    let hangups = match listen() {
        Ok(hangups) => hangups,
        Err(error) => return failed(&format!("cannot listen for signals: {error}")),
    };
    let loaded = match config::load(variables) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            for warning in &invalid.warnings {
                output::problem(&format!("warning: {warning}"));
            }
            output::problem(&invalid.to_string());
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = telemetry::init_logs(&loaded.settings.log) {
        output::problem(&error.to_string());
        return ExitCode::from(USAGE);
    }
    until_signalled(|signal| async {
        match serve(loaded, signal, hangups).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error.to_string()),
        }
    })
    .await
}

/// Listeners for SIGHUP: for the tenants, the TLS files and the audit log.
fn listen() -> io::Result<[Hangups; 3]> {
    Ok([Hangups::listen()?, Hangups::listen()?, Hangups::listen()?])
}

async fn serve(
    loaded: Loaded,
    signal: FirstSignal,
    [hangups, tls_hangups, mut audit_hangups]: [Hangups; 3],
) -> Result<(), ServerError> {
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "a setting is valid, but probably a mistake");
    }
    for problem in &loaded.problems_of_rejected {
        tracing::error!(%problem, "a tenant was rejected");
    }
    let mut server = Server::bind(loaded.settings.server).await?;
    let reloader = loaded.source.map(|source| Reloader::new(source, server.tenants()));
    let (reload, wanted) = requests();
    if reloader.is_some() {
        server.reload_with(reload);
    }
    let reloads = async {
        match reloader {
            Some(reloader) => reloader.run(hangups, wanted, loaded.settings.reload_interval).await,
            None => pending().await,
        }
    };
    let tls_reloader = server.tls().map(TlsReloader::new);
    let tls_reloads = async {
        match tls_reloader {
            Some(reloader) => reloader.run(tls_hangups, loaded.settings.reload_interval).await,
            None => pending().await,
        }
    };
    let audit = server.audit();
    let audit_reopened = async {
        match audit {
            Some(audit) => loop {
                audit_hangups.next().await;
                audit.reopen();
            },
            None => pending::<()>().await,
        }
    };
    tokio::select! {
        ended = server.run(signal.received()) => ended,
        () = reloads => Ok(()),
        () = tls_reloads => Ok(()),
        () = audit_reopened => Ok(()),
    }
}
