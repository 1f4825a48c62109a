//! `longshore check`: reads and validates every setting without opening a listener.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;

use super::{connect::check_stores, explain};
use crate::{
    config::{self, Loaded, Secrets, Settings, Sources},
    store::StoreSettings,
    tenants::TenantSettings,
};

/// The exit code for invalid settings, `EX_USAGE` in sysexits.h.
pub const BAD_SETTINGS: u8 = 64;

/// The arguments of `longshore check`.
#[derive(Debug, Default, Args)]
pub struct Check {
    /// The tenants file, or a folder of tenants files, instead of the one that LONGSHORE_TENANTS_FILE names
    file: Option<PathBuf>,
    /// Do not read secrets in files and variables, nor the TLS files: for machines that do not have them
    #[arg(long)]
    no_secrets: bool,
    /// Also try every store: request its credentials and list its bucket. Exits with 1 if a store fails
    #[arg(long, conflicts_with = "no_secrets")]
    connect: bool,
    /// Say which grant allows CALLER to call METHOD, such as Get, on STORE/KEY, or why no grant does. For Copy and Rename,
    /// add the source. Exits with 1 if the call is denied
    #[arg(long, num_args = 3..=4, value_names = ["CALLER", "METHOD", "STORE/KEY", "SOURCE"], conflicts_with = "connect")]
    explain: Vec<String>,
    /// The caller's tenant, if there are several
    #[arg(long, value_name = "TENANT", requires = "explain")]
    tenant: Option<String>,
}

/// The exit code if all settings are valid, but a store does not work, or a call is denied.
const NEGATIVE: u8 = 1;

impl Check {
    /// Checks the settings in `variables` and in the files that they name. Writes a summary of valid settings to
    /// `summary`, or the problems to `problems`, one per line, and warnings too. If all settings are valid, tries the
    /// stores if that was asked for. Returns the exit code of the process.
    pub async fn run(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        summary: &mut impl Write,
        problems: &mut impl Write,
    ) -> io::Result<u8> {
        let secrets = if self.no_secrets { Secrets::Skip } else { Secrets::Read };
        let sources = Sources { tenants_file: self.file.clone(), secrets };
        let (settings, found, warnings) = match config::load_from(variables, sources) {
            Ok(Loaded { settings, problems_of_rejected, warnings, .. }) => {
                (Some(settings), problems_of_rejected, warnings)
            }
            Err(invalid) => (None, invalid.problems, invalid.warnings),
        };
        // If standard error is closed, the exit code still reports failures.
        for warning in &warnings {
            let _ = writeln!(problems, "warning: {warning}");
        }
        if let Some(settings) = settings.filter(|_| found.is_empty()) {
            if let Some(request) = self.question() {
                return explained(&settings, &request, summary, problems);
            }
            write_summary(&settings, summary)?;
            let failed = if self.connect { check_stores(&settings.server, summary).await? } else { 0 };
            return Ok(if failed == 0 { 0 } else { NEGATIVE });
        }
        let _ = writeln!(problems, "{found}");
        Ok(BAD_SETTINGS)
    }

    fn question(&self) -> Option<explain::Request<'_>> {
        let [caller, method, target, source @ ..] = &self.explain[..] else { return None };
        let source = source.first().map(String::as_str);
        Some(explain::Request { tenant: self.tenant.as_deref(), caller, method, target, source })
    }
}

fn explained(
    settings: &Settings,
    request: &explain::Request<'_>,
    summary: &mut impl Write,
    problems: &mut impl Write,
) -> io::Result<u8> {
    match explain::write_explanation(&settings.server, request, summary)? {
        Ok(is_allowed) => Ok(if is_allowed { 0 } else { NEGATIVE }),
        Err(sentence) => {
            let _ = writeln!(problems, "--explain: {sentence}");
            Ok(BAD_SETTINGS)
        }
    }
}

fn write_summary(settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    let tenants = &settings.server.tenants;
    let stores = tenants.iter().map(|tenant| tenant.stores.len()).sum();
    writeln!(out, "settings are valid: {}, {}", counted(tenants.len(), "tenant"), counted(stores, "store"))?;
    for tenant in tenants {
        write_tenant(tenant, out)?;
    }
    Ok(())
}

fn write_tenant(tenant: &TenantSettings, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", tenant.name, counted(tenant.callers.len(), "caller"))?;
    for (name, store) in &tenant.stores {
        writeln!(out, "  {name}: {}", describe(store))?;
    }
    Ok(())
}

fn describe(store: &StoreSettings) -> String {
    let StoreSettings { bucket, prefix, credential_provider, .. } = store;
    let path = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    let at = bucket.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
    format!(
        "s3://{}{path}{at} in {}, credentials: {}",
        bucket.bucket,
        bucket.region,
        credential_provider.kind()
    )
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn check(tenants: &Path) -> (u8, String, String) {
        let (mut summary, mut problems) = (Vec::new(), Vec::new());
        let variables = [("LONGSHORE_TENANTS_FILE".into(), tenants.into())];
        let code = Check::default().run(variables, &mut summary, &mut problems).await.unwrap();
        (code, String::from_utf8(summary).unwrap(), String::from_utf8(problems).unwrap())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    const GOOD: &str = "\
tenants:
  acme:
    callers: []
    stores:
      default: {url: s3://acme-data/prod, config: {region: eu-west-1, skip_signature: true}}
      local:
        bucket: scratch
        config: {endpoint: 'http://127.0.0.1:9000', access_key_id: AKID, secret_access_key: topsecret}
        client_options: {allow_http: true}
";

    #[tokio::test]
    async fn valid_settings_are_summarized() {
        let (code, summary, problems) = check(file(GOOD).path()).await;
        assert_eq!((code, problems.as_str()), (0, ""));
        assert_eq!(
            summary,
            "settings are valid: 1 tenant, 2 stores\n\
             acme: 0 callers\n\
             \x20 default: s3://acme-data/prod/ in eu-west-1, credentials: anonymous\n\
             \x20 local: s3://scratch at http://127.0.0.1:9000 in us-east-1, credentials: static\n"
        );
    }

    #[tokio::test]
    async fn one_invalid_tenant_beside_a_valid_one_fails_the_check() {
        let file = file(&format!("{GOOD}  b2: {{}}\n"));
        let (code, summary, problems) = check(file.path()).await;
        assert_eq!((code, summary.as_str()), (64, ""));
        let path = file.path().display();
        assert_eq!(
            problems,
            format!("{path}:10: tenants.b2: has no stores: define at least one under `stores`\n")
        );
    }
}
