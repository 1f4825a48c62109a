//! What all tenants of the process share.

use super::{BuiltStores, Process};
use crate::{
    auth::{KeySources, ServerJwt},
    store::{MemoryBudget, MemorySettings},
    tasks::Tasks,
    telemetry::{Metrics, Usage},
};

/// What all tenants of the process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The memory budget.
    pub memory: MemoryBudget,
    /// The limits of the process on calls.
    pub process: Process,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// What the tenants have used.
    pub usage: Usage,
    /// The background tasks that shutdown waits for.
    pub tasks: Tasks,
    /// The keys of the issuers of callers' JWTs.
    pub key_sources: KeySources,
    /// The stores of the tenants that are built.
    pub built_stores: BuiltStores,
}

impl Resources {
    /// A new memory budget, with new metrics and tasks.
    pub fn new(memory: MemorySettings) -> Self {
        let (metrics, tasks) = (Metrics::default(), Tasks::default());
        Self {
            memory: MemoryBudget::new(memory, metrics.clone()),
            process: Process::default(),
            metrics,
            usage: Usage::default(),
            key_sources: KeySources::default(),
            built_stores: BuiltStores::default(),
            tasks,
        }
    }

    /// The same, with these limits.
    #[must_use]
    pub fn within(self, process: Process) -> Self {
        process.export(&self.metrics);
        Self { process, ..self }
    }

    /// The same, with the issuer whose tokens name their tenant.
    #[must_use]
    pub fn with_jwt(self, server: Option<ServerJwt>) -> Self {
        Self { key_sources: self.key_sources.with_server(server), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Arc, time::Duration};

    use futures::FutureExt as _;

    use super::*;
    use crate::auth::{
        Access, AuthMode, Authenticator, CallerJwt, CallerSettings, Identities, Jwks, JwksUrl, JwtSettings,
    };

    /// A JWT that is not expired. Its signature does not matter, since the keys are never read.
    const TOKEN: &str = concat!(
        "Bearer eyJhbGciOiJSUzI1NiJ9", // {"alg":"RS256"}
        ".eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6InMiLCJleHAiOjQxMDI0NDQ4MDB9.AAAA", // iss i, aud a, sub s, exp in 2100
    );

    fn caller(url: String) -> CallerSettings {
        let jwks = JwksUrl { url, bearer_token_file: None, ca: None, refuse_local: false };
        let jwt = JwtSettings {
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
            jwks: Jwks::Url(Arc::new(jwks)),
            claims: vec![("/sub".to_owned(), "s".to_owned())],
            leeway: Duration::ZERO,
        };
        CallerSettings {
            name: "c".to_owned(),
            identities: Identities { jwt: Some(CallerJwt::Own(jwt)), ..Identities::default() },
            access: vec![Access::Read],
            stores: None,
            prefixes: None,
        }
    }

    #[tokio::test]
    async fn shutdown_does_not_wait_for_an_issuer_that_hangs() {
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        let resources = Resources::new(MemorySettings::default());
        let callers = [caller(format!("http://{}/", hangs.local_addr().unwrap()))];
        let tenants = [("acme", callers.as_slice())];
        let authenticator =
            Authenticator::new(AuthMode::Required, tenants).with_jwt(tenants, &resources.key_sources);
        assert!(authenticator.authenticate(Some(TOKEN), None).is_err());
        let wanted = authenticator.keys_wanted(Some(TOKEN));
        assert!(wanted.len() == 1 && wanted[0].peek().is_none(), "the request is in progress");
        assert_eq!(resources.tasks.drained().now_or_never(), Some(()));
    }
}
