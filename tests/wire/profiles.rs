//! Profiles: what is sent to IAM Identity Center and to STS. Which credentials a profile has is compared with botocore
//! in `tests/python/test_profiles.py`.

use std::{fs, path::Path, time::Duration};

use longshore::{
    credentials::{ImdsSettings, ProfileSettings, ProviderSettings},
    s3::{BucketSettings, ErrorKind},
    store::{Error, ReadOptions, StoreSettings},
};

use crate::scripted::{Answer, Scripted, bytes, reply, store};

/// The folder with the files of a profile.
struct Home(tempfile::TempDir);

/// `hashlib.sha1(b"mine").hexdigest()`
const CACHED: &str = "8034c43d15bb7ef42e2cc24255217acfc5f4b2f4.json";

const SSO: &str = "[profile p]\nsso_session = mine\nsso_account_id = 123456789012\nsso_role_name = reader\n\
                   [sso-session mine]\nsso_start_url = https://start.example\nsso_region = eu-west-1\n";

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), config).unwrap();
        Self(folder)
    }

    fn token(&self, text: &str) {
        fs::write(self.0.path().join(CACHED), text).unwrap();
    }

    /// The profile `p`, whose services are all at `server`.
    fn profile(&self, server: &Scripted) -> ProviderSettings {
        let url = Some(format!("http://{}", server.address));
        let file = |name: &str| Path::new(self.0.path()).join(name);
        ProviderSettings::Profile(ProfileSettings {
            name: "p".to_owned(),
            is_named: true,
            config_file: file("config"),
            credentials_file: file("credentials"),
            endpoint: url.clone(),
            container: None,
            imds: None::<ImdsSettings>,
            sso_cache: self.0.path().to_owned(),
            sso_endpoint: url.clone(),
            sso_oidc_endpoint: url,
        })
    }
}

/// The profile with its tokens in a folder where files can be read and none can be created. Permissions would not stop
/// root, so the path is so long that there is no room for a longer name than that of the token.
fn that_cannot_be_changed(profile: ProviderSettings) -> ProviderSettings {
    let ProviderSettings::Profile(mut profile) = profile else { panic!("not a profile") };
    let mut folder = profile.sso_cache.into_os_string();
    while folder.len() + CACHED.len() < 4090 {
        folder.push("/.");
    }
    profile.sso_cache = folder.into();
    ProviderSettings::Profile(profile)
}

/// The answer of a successful renewal.
fn renewed(token: &str, refresh_token: &str, seconds: u64) -> String {
    format!(r#"{{"accessToken": "{token}", "refreshToken": "{refresh_token}", "expiresIn": {seconds}}}"#)
}

/// The tokens that the portal got.
fn tokens(server: &Scripted) -> Vec<String> {
    server.seen().iter().filter_map(|seen| seen.header("x-amz-sso_bearer_token").map(str::to_owned)).collect()
}

/// The refresh tokens of the renewals.
fn renewals(server: &Scripted) -> Vec<String> {
    let seen = server.seen();
    let forms = seen.iter().filter(|seen| seen.line() == "POST /token");
    let parsed = forms.map(|seen| serde_json::from_str::<serde_json::Value>(seen.text()).unwrap());
    parsed.map(|form| form["refreshToken"].as_str().unwrap().to_owned()).collect()
}

/// A token that expires after `period`, and can be renewed.
fn token(text: &str, period: Duration) -> String {
    let now = std::time::SystemTime::now() + period;
    let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let time = jiff::Timestamp::from_second(seconds.try_into().unwrap()).unwrap();
    format!(
        r#"{{"accessToken": "{text}", "expiresAt": "{time}", "clientId": "client", "clientSecret": "hush-client",
            "refreshToken": "hush-refresh", "registrationExpiresAt": "2199-01-01T00:00:00Z"}}"#
    )
}

fn role_credentials(id: &str) -> Answer {
    let text = format!(
        r#"{{"roleCredentials": {{"accessKeyId": "{id}", "secretAccessKey": "s", "sessionToken": "t", "expiration": 7226582400000}}}}"#
    );
    reply(200, &[("content-type", "application/json")], &text)
}

/// Sends a HEAD to S3 with the credentials of a provider, in the region us-west-2. Returns the signature's scope.
async fn signed_by(provider: ProviderSettings) -> Result<String, Error> {
    let s3 = Scripted::start(|_, _| reply(200, &[("etag", "\"e\""), ("content-length", "3")], "")).await;
    let bucket = BucketSettings { region: "us-west-2".to_owned(), ..s3.settings().bucket };
    let settings = StoreSettings { credential_provider: provider, bucket, ..s3.settings() };
    store(settings).head("k", &ReadOptions::default()).await?;
    Ok(scope(s3.seen().last().unwrap().header("authorization").unwrap()))
}

/// The access key id and the region of a signature.
fn scope(authorization: &str) -> String {
    let scope: Vec<_> = authorization.split("Credential=").nth(1).unwrap().split('/').collect();
    format!("{} in {}", scope[0], scope[2])
}

#[tokio::test]
async fn the_portal_gets_the_token_the_role_and_no_signature() {
    let portal = Scripted::start(|_, _| role_credentials("SSO")).await;
    let home = Home::new(SSO);
    home.token(&token("the-token", Duration::from_hours(1)));
    assert_eq!(signed_by(home.profile(&portal)).await.unwrap(), "SSO in us-west-2");
    let seen = portal.seen();
    assert_eq!(seen.len(), 1, "the token needs no renewal");
    assert_eq!(seen[0].line(), "GET /federation/credentials?role_name=reader&account_id=123456789012");
    assert_eq!(seen[0].header("x-amz-sso_bearer_token"), Some("the-token"));
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn a_token_that_expires_soon_is_renewed_and_used_even_if_that_fails() {
    for (status, period, expected) in [
        (200, Duration::ZERO, Some("new")),
        (200, Duration::from_mins(14), Some("new")),
        (400, Duration::from_mins(14), Some("old")),
        (400, Duration::ZERO, None),
    ] {
        let server = Scripted::start(move |_, seen| match seen.line().as_str() {
            "POST /token" if status == 200 => reply(200, &[], r#"{"accessToken": "new", "expiresIn": 3600}"#),
            "POST /token" => {
                let headers = [("x-amzn-errortype", "InvalidGrantException")];
                reply(status, &headers, r#"{"error": "invalid_grant", "error_description": "it has ended"}"#)
            }
            _ => role_credentials("SSO"),
        })
        .await;
        let home = Home::new(SSO);
        home.token(&token("old", period));
        let found = signed_by(home.profile(&server)).await;
        let seen = server.seen();
        let form: serde_json::Value = serde_json::from_str(seen[0].text()).unwrap();
        assert_eq!(form["grantType"], "refresh_token");
        assert_eq!((&form["clientId"], &form["refreshToken"]), (&"client".into(), &"hush-refresh".into()));
        assert_eq!(seen.get(1).and_then(|seen| seen.header("x-amz-sso_bearer_token")), expected);
        if expected.is_none() {
            let error = found.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CredentialsUnavailable);
            let text = error.to_string();
            assert!(text.contains("run `aws sso login --profile p`") && !text.contains("hush"), "{text}");
        }
    }
}

#[tokio::test]
async fn two_stores_that_need_a_token_renew_it_once() {
    let server = Scripted::start(|_, seen| match seen.line().as_str() {
        "POST /token" => {
            let body = renewed("new", "hush-next", 3600);
            Answer::Later(Duration::from_millis(200), bytes(200, &[], body.as_bytes()))
        }
        _ => role_credentials("SSO"),
    })
    .await;
    let home = Home::new(SSO);
    home.token(&token("old", Duration::ZERO));
    let (one, two) = tokio::join!(signed_by(home.profile(&server)), signed_by(home.profile(&server)));
    assert_eq!((one.unwrap(), two.unwrap()), ("SSO in us-west-2".to_owned(), "SSO in us-west-2".to_owned()));
    assert_eq!(renewals(&server), ["hush-refresh"]);
    assert_eq!(tokens(&server), ["new", "new"]);
}

#[tokio::test]
async fn a_token_that_another_program_writes_during_a_renewal_is_kept_and_used() {
    for status in [200, 400] {
        let home = Home::new(SSO);
        home.token(&token("old", Duration::ZERO));
        let file = home.0.path().join(CACHED);
        let login = token("login", Duration::from_hours(1));
        let (written, text) = (file.clone(), login.clone());
        let server = Scripted::start(move |_, seen| match seen.line().as_str() {
            "POST /token" => {
                fs::write(&written, &text).unwrap();
                let headers = [("x-amzn-errortype", "InvalidGrantException")];
                let headers = if status == 200 { &[][..] } else { &headers[..] };
                reply(status, headers, &renewed("new", "hush-next", 7200))
            }
            _ => role_credentials("SSO"),
        })
        .await;
        signed_by(home.profile(&server)).await.unwrap();
        assert_eq!(tokens(&server), ["login"], "{status}");
        assert_eq!(fs::read_to_string(&file).unwrap(), login, "{status}");
    }
}

#[tokio::test]
async fn a_renewed_token_that_cannot_be_saved_is_used_and_renewed() {
    let server = Scripted::start(|_, seen| match seen.line().as_str() {
        "POST /token" if seen.text().contains("hush-refresh") => {
            reply(200, &[], &renewed("second", "hush-next", 60))
        }
        "POST /token" => reply(200, &[], &renewed("third", "hush-last", 3600)),
        _ => role_credentials("SSO"),
    })
    .await;
    let home = Home::new(SSO);
    let first = token("first", Duration::ZERO);
    home.token(&first);
    for _ in 0..3 {
        signed_by(that_cannot_be_changed(home.profile(&server))).await.unwrap();
    }
    assert_eq!(fs::read_to_string(home.0.path().join(CACHED)).unwrap(), first);
    assert_eq!(tokens(&server), ["second", "third", "third"]);
    assert_eq!(renewals(&server), ["hush-refresh", "hush-next"]);
}

#[tokio::test]
async fn a_renewal_that_hangs_does_not_delay_those_of_other_tokens() {
    let hanging = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let working = Scripted::start(|_, seen| match seen.line().as_str() {
        "POST /token" => reply(200, &[], &renewed("new", "hush-next", 3600)),
        _ => role_credentials("SSO"),
    })
    .await;
    let (stuck, home) = (Home::new(SSO), Home::new(SSO));
    for home in [&stuck, &home] {
        home.token(&token("old", Duration::ZERO));
    }
    let waiting = tokio::task::spawn(signed_by(stuck.profile(&hanging)));
    hanging.asked(|seen| seen.line() == "POST /token").await;
    signed_by(home.profile(&working)).await.unwrap();
    assert_eq!(tokens(&working), ["new"]);
    assert!(!waiting.is_finished());
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("it cannot be renewed (it took too long)"), "{error}");
}

#[tokio::test]
async fn errors_of_the_portal_name_the_role_and_no_secret() {
    let unauthorized = ("x-amzn-errortype", "UnauthorizedException");
    let broken = r#"{"roleCredentials": {"accessKeyId": 7, "secretAccessKey": "hush"}}"#;
    let partial = r#"{"roleCredentials": {"accessKeyId": "A", "secretAccessKey": "hush", "expiration": 0}}"#;
    for (status, headers, body, expected) in [
        (401, vec![unauthorized], r#"{"message": "Session token hush"}"#, "run `aws sso login --profile p`"),
        (403, vec![("x-amzn-errortype", "ForbiddenException")], r#"{"message": "No access"}"#, "No access"),
        (200, vec![], broken, "HTTP status 200"),
        (200, vec![], partial, "no valid credentials for the role reader"),
        (403, vec![], "<html>hush</html>", "HTTP status 403"),
    ] {
        let portal = Scripted::start(move |_, _| reply(status, &headers, body)).await;
        let home = Home::new(SSO);
        home.token(&token("hush-token", Duration::from_hours(1)));
        let error = signed_by(home.profile(&portal)).await.unwrap_err();
        let text =
            format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(expected) && !text.contains("hush"), "{body}: {text}");
    }
}

#[tokio::test]
async fn every_role_of_a_chain_is_requested_in_the_region_of_the_store() {
    let sts = Scripted::start(|_, seen| {
        let role = seen.text().split("role%2F").nth(1).unwrap().split('&').next().unwrap();
        let credentials = format!(
            "<Credentials><AccessKeyId>{role}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration></Credentials>"
        );
        let body = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>{credentials}\
             </AssumeRoleResult></AssumeRoleResponse>"
        );
        reply(200, &[("content-type", "text/xml")], &body)
    })
    .await;
    let home = Home::new(
        "[profile p]\nrole_arn = arn:aws:iam::1:role/outer\nsource_profile = q\nregion = eu-west-1\n\
         [profile q]\nrole_arn = arn:aws:iam::1:role/inner\nsource_profile = base\nregion = eu-west-2\n\
         [profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\nregion = eu-west-3\n",
    );
    assert_eq!(signed_by(home.profile(&sts)).await.unwrap(), "outer in us-west-2");
    let scopes: Vec<_> = sts.seen().iter().map(|seen| scope(seen.header("authorization").unwrap())).collect();
    assert_eq!(scopes, ["BASE in us-west-2", "inner in us-west-2"]);
}
