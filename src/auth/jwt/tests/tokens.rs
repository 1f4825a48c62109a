//! Which tokens are accepted.

use super::*;

fn with(jwt: JwtSettings) -> JwtCallers {
    callers(&[("acme", vec![caller("pods", jwt)])], &KeySources::default())
}

fn file() -> JwtCallers {
    with(jwt(Jwks::File(Arc::new(jwks()))))
}

fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::JwtRejected(JwtRejection::Malformed(_)) => "format",
        Refusal::JwtRejected(JwtRejection::Expired) => "expired",
        Refusal::JwtRejected(JwtRejection::NotYetValid) => "not yet",
        Refusal::JwtRejected(JwtRejection::NoCaller) => "caller",
        Refusal::JwtRejected(JwtRejection::KeyUnknown) => "key",
        Refusal::JwtRejected(JwtRejection::Signature) => "signature",
        _ => "other",
    }
}

#[test]
fn valid_tokens_of_every_algorithm_are_accepted() {
    let callers = file();
    for (name, token) in made()["accepted"].as_object().unwrap() {
        let principal = authenticate(&callers, token.as_str().unwrap());
        assert_eq!(principal.map(|found| found.name().to_owned()), Ok("pods".to_owned()), "{name}");
    }
}

#[test]
fn forged_and_invalid_tokens_are_rejected_for_the_reason_that_is_wrong_with_them() {
    let callers = file();
    for (name, case) in made()["rejected"].as_object().unwrap() {
        let token = case[1].as_str().unwrap();
        // The second time, nothing about the first one must have been remembered.
        for _ in 0..2 {
            let refusal = authenticate(&callers, token).unwrap_err();
            assert_eq!(kind(&refusal), case[0], "{name}: {refusal}");
        }
    }
}

#[test]
fn messages_do_not_reveal_which_issuers_audiences_and_claims_are_configured() {
    let callers = file();
    let cases = made()["rejected"].clone();
    let cases = cases.as_object().unwrap().values();
    let hidden = cases.filter(|case| ["caller", "key", "signature"].iter().any(|kind| case[0] == *kind));
    let messages: std::collections::BTreeSet<_> = hidden
        .map(|case| authenticate(&callers, case[1].as_str().unwrap()).unwrap_err().to_string())
        .collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn a_token_that_is_not_a_jwt_is_unknown() {
    let callers = file();
    for token in ["", "a", "a.b", "..", "a..c", ".b.c", "a.b.c.d", "a b.c.d", "a.b=.c"] {
        assert_eq!(authenticate(&callers, token).unwrap_err(), Refusal::TokenUnknown, "{token}");
    }
    assert_eq!(authenticate(&JwtCallers::default(), &good()).unwrap_err(), Refusal::TokenUnknown);
    let long = format!("{}.{}.c", "a".repeat(8 * 1024), "b".repeat(8 * 1024));
    assert_eq!(kind(&authenticate(&callers, &long).unwrap_err()), "format");
}

#[test]
fn a_claim_that_is_a_list_matches_each_of_its_items() {
    let groups = |value: &str| {
        let mut settings = jwt(Jwks::File(Arc::new(jwks())));
        settings.claims.insert(0, ("/groups".to_owned(), value.to_owned()));
        authenticate(&with(settings), &good()).is_ok()
    };
    assert!(groups("readers") && groups("writers"));
    assert!(!groups("reader") && !groups("writers, readers") && !groups("0"));
}

#[test]
fn every_claim_must_match() {
    let mut settings = jwt(Jwks::File(Arc::new(jwks())));
    settings.claims.push(("/sub".to_owned(), "system:serviceaccount:billing:other".to_owned()));
    assert_eq!(kind(&authenticate(&with(settings), &good()).unwrap_err()), "caller");
}

#[test]
fn the_leeway_extends_the_time_in_both_directions() {
    let now = std::time::SystemTime::now();
    let token = good();
    let token = token::Token::parse(&token).unwrap().unwrap();
    let at = |seconds: u64| std::time::UNIX_EPOCH + Duration::from_millis(seconds * 1000);
    let (issued, expires, leeway) = (at(1_600_000_000), at(4_102_444_800), Duration::from_secs(30));
    let second = Duration::from_secs(1);
    let is_valid = |now, leeway| token.problem(now, leeway).is_none();
    assert!(is_valid(now, Duration::ZERO));
    assert!(is_valid(expires + leeway - second, leeway) && !is_valid(expires + leeway, leeway));
    assert!(is_valid(issued - leeway, leeway) && !is_valid(issued - leeway - second, leeway));
    assert_eq!(token.lifetime(expires, leeway), leeway);
    assert_eq!(token.lifetime(expires + leeway, leeway), Duration::ZERO);
}

#[test]
fn keys_serve_the_callers_that_name_them_and_no_others() {
    // Globex has the same issuer, audience and claims, but another key under the same key id.
    let other = made()["jwks"]["keys"][1].clone();
    let mut other = serde_json::json!({"keys": [other]});
    other["keys"][0]["kid"] = "rsa".into();
    let other = Arc::new(KeySet::parse(other.to_string().as_bytes()).unwrap());
    let both = [
        ("acme", vec![caller("pods", jwt(Jwks::File(Arc::new(jwks()))))]),
        ("globex", vec![caller("pods", jwt(Jwks::File(other)))]),
    ];
    let callers = callers(&both, &KeySources::default());
    assert_eq!(tenants(&callers, &good()), ["acme"]);
    // Signed with the key of Globex.
    let signed = made()["rejected"]["a key of the JWKS under the kid of another"][1].clone();
    assert_eq!(tenants(&callers, signed.as_str().unwrap()), ["globex"]);
}

#[test]
fn a_token_that_several_callers_accept_has_the_grants_of_each() {
    let keys = Arc::new(jwks());
    let mut writer = caller("writer", jwt(Jwks::File(Arc::clone(&keys))));
    writer.access = vec![Access::Write];
    let reader = || caller("reader", jwt(Jwks::File(Arc::clone(&keys))));
    let both = [("acme", vec![reader(), writer]), ("globex", vec![reader()])];
    let callers = callers(&both, &KeySources::default());
    assert_eq!(tenants(&callers, &good()), ["acme", "globex"]);
    let principal = authenticate(&callers, &good()).unwrap();
    assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
    let may = |tenant, access| {
        let actor = principal.acting_for(Some(tenant)).unwrap();
        actor.authorize(access, "default", crate::auth::Scope::Key("k")).is_ok()
    };
    assert!(may("acme", Access::Read) && may("acme", Access::Write));
    assert!(may("globex", Access::Read) && !may("globex", Access::Write));
}

#[test]
fn a_jwks_without_usable_keys_or_with_too_much_is_refused() {
    let refused = |jwks: String| KeySet::parse(jwks.as_bytes()).unwrap_err().to_string();
    let keys = made()["jwks"]["keys"].clone();
    let many = serde_json::json!({"keys": vec![keys[0].clone(); 101]}).to_string();
    for (jwks, why) in [
        ("{}".to_owned(), "no list `keys`"),
        (r#"{"keys": []}"#.to_owned(), "no key for signatures"),
        (
            serde_json::json!({"keys": [keys[2], keys[3], keys[7], keys[8], keys[9]]}).to_string(),
            "no key for",
        ),
        (format!(r#"{{"keys": {keys}, "keys": []}}"#), "a name occurs twice"),
        ("<html>".to_owned(), "is not JSON"),
        (many, "more than 100 keys"),
        (" ".repeat(1024 * 1024 + 1), "larger than 1 MiB"),
    ] {
        let found = refused(jwks);
        assert!(found.contains(why), "{found}");
    }
}

/// RFC 7515, appendices A.2 and A.3.
#[test]
fn the_examples_of_the_rfc_are_verified() {
    const MESSAGE: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{MESSAGE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let key = serde_json::json!({"keys": [{
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    let set = KeySet::parse(key.to_string().as_bytes()).unwrap();
    let token = token::Token::parse(&es256).unwrap().unwrap();
    assert!(set.find(&token).unwrap().verifies(&token));
}

#[test]
fn debug_output_has_no_token_and_no_key() {
    let callers = file();
    authenticate(&callers, &good()).unwrap();
    let shown = format!("{callers:?}");
    let signature = good().rsplit('.').next().unwrap().to_owned();
    assert!(!shown.contains(&signature) && !shown.contains("AQAB"), "{shown}");
}

#[tokio::test]
async fn tokens_of_the_servers_issuer_are_for_the_tenants_that_they_name() {
    let read: key_source::Read = |_, _| Box::pin(async { Ok(jwks()) });
    let url = JwksUrl {
        url: "https://issuer.example/keys".to_owned(),
        bearer_token_file: None,
        ca: None,
        refuse_local: false,
    };
    let server = |tenant_claim: &str| ServerJwt {
        issuer: "https://issuer.example".to_owned(),
        audience: "longshore".to_owned(),
        tenant_claim: tenant_claim.to_owned(),
        jwks: Arc::new(url.clone()),
        leeway: Duration::from_secs(30),
    };
    let of_server = |claims: &[(&str, &str)]| {
        let claims = claims.iter().map(|(pointer, value)| ((*pointer).to_owned(), (*value).to_owned()));
        CallerSettings {
            identities: Identities {
                jwt: Some(CallerJwt::Server(claims.collect())),
                ..Identities::default()
            },
            ..caller("pods", jwt(Jwks::File(Arc::new(jwks()))))
        }
    };
    let found = async |claim: &str, callers_of: &[(&str, Vec<CallerSettings>)]| {
        let sources = KeySources::with(read).with_server(Some(server(claim)));
        let callers = callers(callers_of, &sources);
        for wanted in callers.wanted(&good()) {
            wanted.await;
        }
        authenticate(&callers, &good()).map(|principal| {
            let acts_for = |name: &&str| principal.acting_for(Some(name)).is_ok();
            ["billing", "reports", "readers", "writers"].into_iter().filter(acts_for).collect::<Vec<_>>()
        })
    };
    let tenants = |names: &[&'static str], claims: &[(&str, &str)]| -> Vec<_> {
        names.iter().map(|name| (*name, vec![of_server(claims)])).collect()
    };
    let both = tenants(&["billing", "reports"], &[]);
    assert_eq!(found("/kubernetes.io/namespace", &both).await.unwrap(), ["billing"]);
    assert_eq!(found("/tenant", &both).await.map_err(|refusal| kind(&refusal)), Err("caller"));
    let lists = tenants(&["readers", "writers", "billing"], &[("/kubernetes.io/namespace", "billing")]);
    assert_eq!(found("/groups", &lists).await.unwrap(), ["readers", "writers"]);
    let others = tenants(&["readers"], &[("/kubernetes.io/namespace", "other")]);
    assert_eq!(found("/groups", &others).await.map_err(|refusal| kind(&refusal)), Err("caller"));
    // A tenant whose file has no such caller gets nothing.
    assert_eq!(found("/groups", &[("readers", vec![])]).await.unwrap_err(), Refusal::TokenUnknown);
}

#[test]
fn without_an_issuer_of_the_server_its_tokens_are_unknown() {
    let mut pods = caller("pods", jwt(Jwks::File(Arc::new(jwks()))));
    pods.identities.jwt = Some(CallerJwt::Server(Vec::new()));
    let callers = callers(&[("billing", vec![pods])], &KeySources::default());
    assert_eq!(authenticate(&callers, &good()).unwrap_err(), Refusal::TokenUnknown);
}

#[test]
fn a_token_is_accepted_for_each_caller_as_soon_as_its_leeway_allows() {
    let keys = Arc::new(jwks());
    let with = |leeway| JwtSettings { leeway, ..jwt(Jwks::File(Arc::clone(&keys))) };
    let (minutes, seconds) = (Duration::from_mins(5), Duration::from_secs(30));
    let both = [("acme", vec![caller("a", with(minutes))]), ("globex", vec![caller("b", with(seconds))])];
    let callers = callers(&both, &KeySources::default());
    let issued = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let token = good();
    let accepted = |now| {
        let principal = callers.authenticate_at(now, &token, &Sha256::digest(&token).into()).unwrap();
        ["acme", "globex"].map(|tenant| principal.acting_for(Some(tenant)).is_ok())
    };
    assert_eq!(accepted(issued - Duration::from_mins(1)), [true, false]);
    assert_eq!(accepted(issued - seconds), [true, true], "the token was remembered");
}

#[test]
fn a_remembered_token_holds_no_copy_of_what_its_callers_may_do() {
    let others =
        ["RS384", "RS512", "PS256"].map(|name| made()["accepted"][name].as_str().unwrap().to_owned());
    let keys = Arc::new(jwks());
    let with = |count| {
        let one = CallerSettings {
            prefixes: Some((0..1000).map(|number| format!("{number}/")).collect()),
            ..caller("pods", jwt(Jwks::File(Arc::clone(&keys))))
        };
        callers(&[("acme", vec![one; count])], &KeySources::default())
    };
    let one = with(1);
    let grants = |token: &str| authenticate(&one, token).unwrap().acting_for(None).unwrap().grants().to_vec();
    let first = grants(&good());
    assert!(others.iter().all(|token| Arc::ptr_eq(&grants(token)[0], &first[0])));
    let many = with(1000);
    let first = authenticate(&many, &good()).unwrap();
    assert_eq!(first.acting_for(None).unwrap().grants().len(), 1000);
    assert!(others.iter().all(|token| Arc::ptr_eq(&authenticate(&many, token).unwrap(), &first)));
}
