//! What a profile of the AWS SDKs' shared files says besides credentials. It is read once, with the settings.

use std::{path::Path, time::Duration};

use crate::{
    credentials::{
        ImdsSettings, MAX_SHARED_FILE, ProfileSettings, ProfileValues, ProviderSettings, check_imds_endpoint,
    },
    s3::{BucketLayer, EndpointUrl, RegionName, check_bucket_in_host},
    settings::{Field, Notes, Number, PlaceId, Scalar, quoted},
    transport::{CertificatesFile, ClientLayer},
};

use super::environment::{self, IMDS_ATTEMPTS, IMDS_ENDPOINTS, IMDS_TIMEOUT};

/// Settings that change requests to S3, and that this version does not support.
const UNSUPPORTED: [&str; 3] = ["use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint"];

/// The profile, and where a store names it.
struct Named<'a> {
    profile: &'a ProfileSettings,
    place_id: PlaceId,
    notes: &'a Notes,
}

impl Named<'_> {
    /// What the profile says. `None` if that cannot be read, for which a problem has been recorded.
    fn values(&self) -> Option<ProfileValues> {
        if self.notes.variables().skip_secrets() {
            return None;
        }
        // What they say is part of the settings. Their contents are read below.
        for path in [&self.profile.config_file, &self.profile.credentials_file] {
            let _ = self.notes.read_file(&path.into(), MAX_SHARED_FILE as u64 + 1);
        }
        let found = ProfileValues::read(self.profile);
        found.map_err(|error| self.notes.problem(self.place_id, format!("uses a profile: {error}"))).ok()
    }

    fn problem(&self, why: &str) {
        self.notes.problem(self.place_id, format!("uses the profile {}, which {why}", self.profile.name));
    }

    /// A setting that passes a check.
    fn checked<S: Scalar>(&self, key: &str, text: Option<&str>) -> Option<S::Value> {
        let wrong = |why| self.problem(&format!("has an invalid {key}: {why}"));
        S::from_text(text?).map_err(wrong).ok()
    }

    fn metadata_url(&self, url: &str) -> Option<String> {
        let wrong = |why| self.problem(&format!("has an ec2_metadata_service_endpoint that {why}"));
        check_imds_endpoint(url).map_err(wrong).ok()?;
        Some(url.trim_end_matches('/').to_owned())
    }

    /// Sets a field that the store does not set.
    fn fill<S: Scalar>(&self, field: &mut Field<S>, key: &str, text: Option<&str>) {
        if !field.is_given()
            && let Some(value) = self.checked::<S>(key, text)
        {
            *field = Field::derived(value, Some(self.place_id));
        }
    }

    /// As in boto3, the file replaces the certificates of the system.
    fn ca_bundle(&self, client: &mut ClientLayer, path: Option<&str>) {
        let Some(path) = path.filter(|_| !client.root_certificates.is_given()) else { return };
        let path = environment::in_home(Path::new(path), self.notes).display().to_string();
        let read = |file| CertificatesFile::admit(file, self.notes);
        match CertificatesFile::from_text(&path).and_then(read) {
            Ok(file) => {
                client.root_certificates = Field::derived(file, Some(self.place_id));
                if !client.disable_system_certificates.is_given() {
                    client.disable_system_certificates = Field::derived(true, Some(self.place_id));
                }
            }
            Err(why) => self.problem(&format!("has an invalid ca_bundle: {why}")),
        }
    }

    fn addressing(&self, bucket: &mut BucketLayer, style: Option<&str>) {
        let is_hosted = match style {
            None => return,
            Some("path") => false,
            Some("virtual") => true,
            // As in boto3, unless the store or the profile sets the endpoint.
            Some("auto") => {
                let has_endpoint = bucket.endpoint.value().flatten().is_some();
                let name = bucket.bucket.get().map_or("", String::as_str);
                !has_endpoint && check_bucket_in_host(name).is_ok()
            }
            Some(other) => {
                let found = quoted(other);
                self.problem(&format!(
                    "has an invalid s3.addressing_style: expected path, virtual or auto, found {found}"
                ));
                return;
            }
        };
        if !bucket.virtual_hosted_style.is_given() {
            bucket.virtual_hosted_style = Field::derived(is_hosted, Some(self.place_id));
        }
    }

    /// Records a problem for each setting that would change the requests to S3, but is not supported.
    fn refuse(&self, values: &ProfileValues) {
        if let Some(version) =
            values.s3("signature_version").filter(|version| !matches!(*version, "s3v4" | "v4"))
        {
            let found = quoted(version);
            self.problem(&format!(
                "has s3.signature_version {found}: Longshore signs with s3v4 only, so remove it"
            ));
        }
        for key in UNSUPPORTED {
            let is_on = |text: &str| text.eq_ignore_ascii_case("true");
            if values.get(key).is_some_and(is_on) || values.s3(key).is_some_and(is_on) {
                self.problem(&format!("has {key}, which this version does not support: remove it"));
            }
        }
    }
}

/// Adds what the profile of a store's provider says to the settings that the store does not set, as boto3 does.
pub(in crate::config::store) fn complete(
    bucket: &mut BucketLayer,
    client: &mut ClientLayer,
    provider: &ProviderSettings,
    place_id: PlaceId,
    notes: &Notes,
) {
    let profile = match provider {
        ProviderSettings::Profile(profile) => profile,
        ProviderSettings::Default(settings) => &settings.profile,
        _ => return,
    };
    let named = Named { profile, place_id, notes };
    let Some(values) = named.values() else { return };
    if profile.is_named && !values.exists() {
        let (config, credentials) = (profile.config_file.display(), profile.credentials_file.display());
        let text = format!(
            "names the profile {}, which is in neither of {config} and {credentials}: its \
             region and endpoint are used once it is added",
            profile.name
        );
        notes.warn(notes.place(place_id), text);
    }
    named.fill::<RegionName>(&mut bucket.region, "region", values.get("region"));
    named.fill::<EndpointUrl>(&mut bucket.endpoint, "endpoint_url", values.endpoint());
    named.addressing(bucket, values.s3("addressing_style"));
    named.ca_bundle(client, values.get("ca_bundle"));
    named.refuse(&values);
}

/// Which settings of the metadata service the provider sets.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) endpoint: bool,
    pub(super) timeout: bool,
    pub(super) attempts: bool,
}

/// The metadata service, with the settings of the profile where neither the provider nor variables set them.
pub(super) fn imds(
    imds: ImdsSettings,
    given: Given,
    profile: &ProfileSettings,
    place_id: PlaceId,
    notes: &Notes,
) -> ImdsSettings {
    let named = Named { profile, place_id, notes };
    let Some(values) = named.values() else { return imds };
    let unless = |key: &str, is_given: bool, variables: &[&str]| {
        let is_set = variables.iter().any(|name| environment::is_set(name, notes));
        values.get(key).filter(|_| !is_given && !is_set)
    };
    let endpoint = unless("ec2_metadata_service_endpoint", given.endpoint, &IMDS_ENDPOINTS);
    let timeout = unless("metadata_service_timeout", given.timeout, &[IMDS_TIMEOUT]);
    let attempts = unless("metadata_service_num_attempts", given.attempts, &[IMDS_ATTEMPTS]);
    let timeout = named.checked::<Number<1, 3_600>>("metadata_service_timeout", timeout);
    let attempts = named.checked::<Number<1, 10>>("metadata_service_num_attempts", attempts);
    ImdsSettings {
        endpoint: endpoint.and_then(|url| named.metadata_url(url)).unwrap_or(imds.endpoint),
        timeout: timeout.map_or(imds.timeout, |seconds| Duration::from_secs(seconds.into())),
        attempts: attempts.unwrap_or(imds.attempts),
        v1_fallback: imds.v1_fallback,
    }
}
