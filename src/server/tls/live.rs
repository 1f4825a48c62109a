//! The TLS files of a running server, which are read again when they change.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use arc_swap::ArcSwap;
use secrecy::zeroize::Zeroizing;

use super::{
    Acceptance, TlsFiles,
    client_trust::{Authorities, RevocationLists},
    materials::{Materials, Trust},
    server_certificate::ServerCertificate,
};
use crate::{
    server::ServerError,
    settings::{LocalPath, ReadFiles},
    telemetry::Metrics,
};

/// The largest file that is read, in bytes. A revocation list can have hundreds of thousands of entries.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How often the files are read at once if they change in the meantime, as when Kubernetes replaces a volume.
const ATTEMPTS: u32 = 3;

/// The TLS files of a running server. Cheap to clone.
#[derive(Clone)]
pub struct LiveTls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    acceptance: ArcSwap<Acceptance>,
    state: Mutex<State>,
    metrics: Metrics,
}

struct State {
    materials: Materials,
    /// What the files contained when they were last read, usable or not.
    read: ReadFiles,
    /// The files whose contents cannot be used.
    unusable: Vec<TlsFile>,
}

/// One of the settings that name TLS files. The certificate and its key count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsFile {
    Certificate,
    Authorities,
    RevocationLists,
}

/// What the files contained when they were read.
pub struct TlsReading {
    read: ReadFiles,
    certificate: Result<ServerCertificate, ServerError>,
    authorities: Option<Result<Authorities, ServerError>>,
    lists: Option<Result<RevocationLists, ServerError>>,
}

impl TlsFile {
    /// The setting's key: its variable's name without `LONGSHORE_TLS_`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Certificate => "cert",
            Self::Authorities => "client_ca",
            Self::RevocationLists => "client_crl",
        }
    }
}

impl TlsReading {
    /// Reads the files. Should they change meanwhile, they are read again, so that a certificate is not combined with
    /// the key of another one.
    pub(super) fn of(files: &TlsFiles) -> Self {
        let mut reading = Self::once(files);
        for _ in 1..ATTEMPTS {
            if reading.is_current() {
                break;
            }
            reading = Self::once(files);
        }
        reading
    }

    fn once(files: &TlsFiles) -> Self {
        let mut read = ReadFiles::default();
        let mut bytes = |what, path: &std::path::Path| bytes(&mut read, what, path);
        let (cert, key) = (bytes("certificate", &files.cert), bytes("key", &files.key));
        let certificate = cert.and_then(|cert| {
            let refused =
                |reason| ServerError::Tls { cert: files.cert.clone(), key: files.key.clone(), reason };
            ServerCertificate::read(&cert, &key?).map_err(refused)
        });
        let authorities = files.client_ca.as_ref().map(|path| {
            let refused = |reason| ServerError::ClientTrust { path: path.clone(), reason };
            Authorities::read(&bytes("client CAs", path)?).map_err(refused)
        });
        let lists = files.client_crl.as_ref().map(|path| {
            let refused = |reason| ServerError::ClientTrust { path: path.clone(), reason };
            RevocationLists::read(&bytes("revocation lists", path)?).map_err(refused)
        });
        Self { read, certificate, authorities, lists }
    }

    /// Whether the files still contain the same. Reads them.
    pub fn is_current(&self) -> bool {
        self.read.are_unchanged()
    }

    /// The files that cannot be used.
    pub(super) fn into_problems(self) -> Vec<(TlsFile, ServerError)> {
        let certificate = self.certificate.err().map(|error| (TlsFile::Certificate, error));
        let authorities = self.authorities.and_then(Result::err).map(|error| (TlsFile::Authorities, error));
        let lists = self.lists.and_then(Result::err).map(|error| (TlsFile::RevocationLists, error));
        [certificate, authorities, lists].into_iter().flatten().collect()
    }
}

impl LiveTls {
    /// Reads the files. Fails if one of them cannot be used.
    pub(in crate::server) fn load(files: TlsFiles, metrics: &Metrics) -> Result<Self, ServerError> {
        let TlsReading { read, certificate, authorities, lists } = TlsReading::of(&files);
        let certificate = Arc::new(certificate?);
        let lists = lists.transpose()?.map(Arc::new);
        let trust = authorities.transpose()?.map(|authorities| Trust::new(Arc::new(authorities), lists));
        let materials = Materials { certificate, trust };
        let acceptance = Acceptance::new(&materials).map_err(|reason| ServerError::Tls {
            cert: files.cert.clone(),
            key: files.key.clone(),
            reason,
        })?;
        let state = State { materials, read, unusable: Vec::new() };
        let live = Self(Arc::new(Shared {
            files,
            acceptance: ArcSwap::from_pointee(acceptance),
            state: Mutex::new(state),
            metrics: metrics.clone(),
        }));
        live.export_expiry(&live.state());
        Ok(live)
    }

    /// What new connections are accepted with.
    pub(in crate::server) fn acceptance(&self) -> Arc<Acceptance> {
        self.0.acceptance.load_full()
    }

    /// Whether a file has other contents than in the last reading that was accepted. Reads all of them.
    pub fn has_changed(&self) -> bool {
        let read = self.state().read.clone();
        !read.are_unchanged()
    }

    /// Reads the files again.
    pub fn read(&self) -> TlsReading {
        TlsReading::of(&self.0.files)
    }

    /// Uses what was read for new connections, and verifies the client certificates of open ones again if the CAs or
    /// the revocation lists have changed. If a file cannot be used, its last usable contents stay in use.
    pub fn accept(&self, reading: TlsReading) {
        let mut state = self.state();
        let TlsReading { read, certificate, authorities, lists } = reading;
        state.read = read;
        let mut problems = Vec::new();
        let mut refuse = |file, error: ServerError| problems.push((file, error.to_string()));
        let mut materials = state.materials.clone();
        match certificate {
            Ok(new) => materials.certificate = Arc::new(new),
            Err(error) => refuse(TlsFile::Certificate, error),
        }
        let authorities = authorities
            .and_then(|authorities| authorities.map_err(|error| refuse(TlsFile::Authorities, error)).ok());
        let lists =
            lists.and_then(|lists| lists.map_err(|error| refuse(TlsFile::RevocationLists, error)).ok());
        materials.trust = materials.trust.map(|trust| trust.updated(authorities, lists));
        match Acceptance::new(&materials) {
            Ok(acceptance) => {
                state.materials = materials;
                // The new one first: connections look for it when the old one is cancelled.
                self.0.acceptance.swap(Arc::new(acceptance)).replaced.cancel();
            }
            Err(reason) => problems.push((TlsFile::Authorities, reason)),
        }
        state.unusable = problems.iter().map(|(file, _)| *file).collect();
        self.export_expiry(&state);
        self.report(&problems);
    }

    /// Records that the files could not be read.
    pub fn reload_failed(&self) {
        self.0.metrics.tls_reloaded("failed");
    }

    fn report(&self, problems: &[(TlsFile, String)]) {
        for (_, problem) in problems {
            tracing::error!(%problem, "a TLS file cannot be used, so its last usable contents stay in use");
        }
        if problems.is_empty() {
            tracing::info!("the TLS files have been reloaded");
        }
        self.0.metrics.tls_reloaded(if problems.is_empty() { "ok" } else { "failed" });
    }

    /// A sentence for operators about files that cannot be used, such as `the contents of LONGSHORE_TLS_CERT cannot be
    /// used: see the log`. `None` if all files can be used.
    pub(in crate::server) fn notice(&self) -> Option<String> {
        let unusable = self.unusable();
        let names = unusable.iter().map(|file| format!("LONGSHORE_TLS_{}", file.key().to_ascii_uppercase()));
        let names = names.collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("the contents of {names} cannot be used: see the log"))
    }

    pub(super) fn unusable(&self) -> Vec<TlsFile> {
        self.state().unusable.clone()
    }

    /// The current contents of the files.
    pub(super) fn materials(&self) -> Materials {
        self.state().materials.clone()
    }

    fn export_expiry(&self, state: &State) {
        let seconds =
            |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(not_after) = state.materials.certificate.not_after() {
            self.0.metrics.tls_certificate_expiry(seconds(not_after));
        }
        let lists = state.materials.trust.as_ref().and_then(|trust| trust.lists.as_ref());
        if let Some(next_update) = lists.and_then(|lists| lists.next_update()) {
            self.0.metrics.tls_revocation_list_expiry(seconds(next_update));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTls").field("files", &self.0.files).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsReading").finish_non_exhaustive()
    }
}

fn bytes(
    read: &mut ReadFiles,
    what: &'static str,
    path: &std::path::Path,
) -> Result<Zeroizing<Vec<u8>>, ServerError> {
    let failed = |source| ServerError::TlsFile { what, path: path.to_owned(), source };
    let bytes = read.read(&LocalPath::from(path), MAX_FILE + 1).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(std::io::Error::other("it is larger than 16 MiB")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn write_pair(folder: &Path) -> (Vec<u8>, Vec<u8>) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("tls.crt"), pair.cert.pem()).unwrap();
        fs::write(folder.join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
        (pair.cert.der().to_vec(), pair.signing_key.serialize_pem().into_bytes())
    }

    fn files(folder: &Path) -> TlsFiles {
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
        TlsFiles { cert, key, client_ca: None, client_crl: None }
    }

    fn served(tls: &LiveTls) -> Vec<u8> {
        tls.materials().certificate.certified_key().cert[0].to_vec()
    }

    #[test]
    fn the_error_for_a_missing_file_names_it() {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path());
        let missing = TlsFiles { key: "/nonexistent/tls.key".into(), ..files(folder.path()) };
        let error = LiveTls::load(missing, &Metrics::default()).unwrap_err().to_string();
        assert_eq!(error, "cannot read the TLS key /nonexistent/tls.key: no such file or directory");
    }

    #[test]
    fn the_key_of_another_certificate_is_rejected_at_startup() {
        let folder = tempfile::tempdir().unwrap();
        let (_, key) = write_pair(folder.path());
        write_pair(folder.path());
        fs::write(folder.path().join("tls.key"), key).unwrap();
        let error = LiveTls::load(files(folder.path()), &Metrics::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot serve TLS with the certificate "), "{error}");
    }

    #[test]
    fn a_pair_that_does_not_match_leaves_the_old_pair_in_use_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let (old, old_key) = write_pair(folder.path());
        let metrics = Metrics::default();
        let tls = LiveTls::load(files(folder.path()), &metrics).unwrap();
        assert!(!tls.has_changed());

        let (new, new_key) = write_pair(folder.path());
        fs::write(folder.path().join("tls.key"), old_key).unwrap();
        assert!(tls.has_changed());
        tls.accept(tls.read());
        assert_eq!(served(&tls), old);
        assert!(!tls.has_changed(), "the problem is reported once");
        let notice = "the contents of LONGSHORE_TLS_CERT cannot be used: see the log";
        assert_eq!(tls.notice().as_deref(), Some(notice));

        fs::write(folder.path().join("tls.key"), new_key).unwrap();
        assert!(tls.has_changed());
        tls.accept(tls.read());
        assert_eq!((served(&tls), tls.notice()), (new, None));
        let rendered = metrics.render();
        for outcome in ["ok", "failed"] {
            let line = format!("longshore_tls_reloads_total{{outcome=\"{outcome}\"");
            let line = rendered.lines().find(|text| text.starts_with(&line)).unwrap();
            assert!(line.ends_with(" 1"), "{line}");
        }
        assert!(rendered.contains("longshore_tls_certificate_expiry_timestamp_seconds{"), "{rendered}");
    }

    #[test]
    fn files_with_the_same_contents_keep_what_verifies_clients() {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path());
        let ca = folder.path().join("ca.crt");
        fs::copy(folder.path().join("tls.crt"), &ca).unwrap();
        let with_ca = TlsFiles { client_ca: Some(ca.clone()), ..files(folder.path()) };
        let tls = LiveTls::load(with_ca, &Metrics::default()).unwrap();
        let first = tls.acceptance();
        write_pair(folder.path());
        tls.accept(tls.read());
        let second = tls.acceptance();
        assert!(first.replaced.is_cancelled() && second.verifies_like(&first));
        fs::write(&ca, "broken").unwrap();
        tls.accept(tls.read());
        assert!(tls.acceptance().verifies_like(&first));
        let notice = "the contents of LONGSHORE_TLS_CLIENT_CA cannot be used: see the log";
        assert_eq!(tls.notice().as_deref(), Some(notice));
        fs::copy(folder.path().join("tls.crt"), &ca).unwrap();
        tls.accept(tls.read());
        assert!(!tls.acceptance().verifies_like(&first));
    }
}
