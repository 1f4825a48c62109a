//! The settings of `type: grpc`.

use std::time::Duration;

use crate::{
    credentials::{GrpcSettings, ProviderSettings},
    settings::{Field, FilePath, Form as _, LocalPath, Notes, Optional, PlaceId},
};

use super::{
    kind::Kind,
    provider::{Names, Provider, ProviderLayer, required, url},
};

impl ProviderLayer {
    /// The service that returns the credentials of this store.
    pub(super) fn grpc(
        &self,
        place_id: PlaceId,
        names: Names<'_>,
        notes: &Notes,
    ) -> Option<ProviderSettings> {
        required(&self.endpoint, "endpoint", Kind::Grpc, place_id, notes);
        let client_certificate = self.client_certificate(notes);
        let file = |field: &Field<Optional<FilePath>>| field.get().cloned();
        let settings = GrpcSettings {
            endpoint: url(&self.endpoint, GrpcSettings::check_endpoint, notes)?,
            tenant: names.tenant.to_owned(),
            store: names.store.to_owned(),
            ca_file: file(&self.ca_file),
            token_file: file(&self.token_file),
            client_certificate,
            refuse_local: !notes.trusts_author(),
            timeout: Provider::resolve(self).timeout,
        };
        self.check_timeout(settings.timeout, notes);
        if settings.is_plaintext() {
            self.refuse_tls(notes);
        }
        Some(ProviderSettings::Grpc(settings))
    }

    /// The client's certificate and its key.
    fn client_certificate(&self, notes: &Notes) -> Option<(LocalPath, LocalPath)> {
        let (cert, key) = (&self.cert_file, &self.key_file);
        for (given, name, other) in [(cert, "key_file", key), (key, "cert_file", cert)] {
            if let Some(place_id) = given.place_id().filter(|_| !other.is_given()) {
                notes.problem(place_id, format!("needs `{name}`: set both, or neither"));
            }
        }
        cert.get().cloned().zip(key.get().cloned())
    }

    fn check_timeout(&self, timeout: Duration, notes: &Notes) {
        if let Some(place_id) = self.timeout.place_id().filter(|_| timeout > GrpcSettings::LONGEST_TIMEOUT) {
            notes.problem(place_id, "must be at most 18s");
        }
    }

    /// Records a problem for each file that only a connection with TLS needs.
    fn refuse_tls(&self, notes: &Notes) {
        for file in [&self.ca_file, &self.cert_file, &self.key_file] {
            if let Some(place_id) = file.place_id() {
                notes.problem(place_id, "needs an `endpoint` with https://: remove it, or change `endpoint`");
            }
        }
    }
}
