//! docs/CONFIG-REFERENCE.md contains the tables that the declarations generate.

use std::fmt::Write;

use crate::{
    config::{
        environment::Environment,
        identities::Token,
        jwt::{Jwks, Jwt},
        overridable::{Overridable, Transfer},
        store::{Config, Provider, Store},
        tenant::{Caller, Tenant},
    },
    s3::BucketSettings,
    settings::{Section, Setting},
    store::StoreSettings,
    tenants::Limits,
    transport::{Backoff, CircuitBreaker, ClientOptions, RetryPolicy},
};

/// Run the tests with this variable to write the tables.
const UPDATE: &str = "UPDATE_REFERENCE";

/// Settings of `S` that are not also in `included`.
fn own<S: Section>(included: &[Setting]) -> Vec<Setting> {
    let is_own = |setting: &Setting| included.iter().all(|other| other.name != setting.name);
    S::settings().into_iter().filter(is_own).collect()
}

fn under(section: &'static str, settings: Vec<Setting>) -> Vec<Setting> {
    let name = |name| Box::leak(format!("{section}.{name}").into_boxed_str()) as &'static str;
    settings.into_iter().map(|setting| Setting { name: name(setting.name), ..setting }).collect()
}

/// The tables by name.
fn tables() -> Vec<(&'static str, String)> {
    let store = StoreSettings::settings();
    let mut retries = own::<RetryPolicy>(&[]);
    retries.retain(|setting| !["backoff", "circuit_breaker"].contains(&setting.name));
    retries.extend(under("backoff", Backoff::settings()));
    retries.extend(under("circuit_breaker", CircuitBreaker::settings()));
    let config = [
        BucketSettings::settings(),
        own::<Config>(&store),
        own::<StoreSettings>(&BucketSettings::settings()),
    ];
    vec![
        ("server", of_variables(&Environment::settings())),
        ("tenant", of_keys(&Tenant::settings())),
        ("limits", of_keys(&Limits::settings())),
        ("caller", of_keys(&Caller::settings())),
        ("token", of_keys(&Token::settings())),
        ("jwt", of_keys(&[own::<Jwt>(&[]), under("jwks", Jwks::settings())].concat())),
        ("store", of_keys(&Store::settings())),
        ("config", of_keys(&config.concat())),
        ("client_options", of_keys(&ClientOptions::settings())),
        ("retry_config", of_keys(&retries)),
        ("transfer", of_keys(&Transfer::settings())),
        ("credential_provider", of_keys(&Provider::settings())),
        ("not supported", rejected()),
    ]
}

fn of_variables(settings: &[Setting]) -> String {
    let mut text = "| variable | meaning | form | default |\n| --- | --- | --- | --- |\n".to_owned();
    for setting in settings {
        writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            setting.variables[0],
            meaning(setting),
            (setting.form)(),
            setting.default.as_deref().unwrap_or("–")
        )
        .unwrap();
    }
    text
}

fn of_keys(settings: &[Setting]) -> String {
    let variables = settings.iter().any(|setting| !setting.variables.is_empty());
    let (column, line) = if variables { (" variable |", " --- |") } else { ("", "") };
    let mut text = format!("| key |{column} form | default | meaning |\n| --- |{line} --- | --- | --- |\n");
    for setting in settings {
        let aliases: Vec<_> = setting.aliases.iter().map(|alias| format!(" (`{alias}`)")).collect();
        let names: Vec<_> = setting.variables.iter().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "–".to_owned() } else { names.join(", ") };
        let names = if variables { format!(" {names} |") } else { String::new() };
        writeln!(
            text,
            "| `{}`{} |{names} {} | {} | {} |",
            setting.name,
            aliases.concat(),
            (setting.form)(),
            setting.default.as_deref().unwrap_or("–"),
            meaning(setting)
        )
        .unwrap();
    }
    text
}

fn meaning(setting: &Setting) -> String {
    setting.meaning.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Keys that `S` rejects.
fn rejected_by<S: Section>() -> Vec<String> {
    let settings = S::settings();
    let rejected = S::rejected().into_iter().map(|(key, _)| key);
    let foreign = |key: &&str| settings.iter().all(|setting| setting.name != *key);
    rejected.filter(foreign).map(ToOwned::to_owned).collect()
}

fn rejected() -> String {
    let variable = |key: String| format!("LONGSHORE_{}", key.to_ascii_uppercase());
    let sections = [
        ("variables", rejected_by::<Environment>().into_iter().map(variable).collect()),
        ("stores", rejected_by::<Overridable>()),
        ("tenants", rejected_by::<Tenant>()),
        ("callers", rejected_by::<Caller>()),
        ("`config`", rejected_by::<Config>()),
        ("`client_options`", rejected_by::<ClientOptions>()),
        ("`transfer`", rejected_by::<Transfer>()),
        ("`credential_provider`", rejected_by::<Provider>()),
    ];
    let mut text = "| where | names |\n| --- | --- |\n".to_owned();
    for (place, keys) in sections.into_iter().filter(|(_, keys): &(_, Vec<String>)| !keys.is_empty()) {
        let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        writeln!(text, "| {place} | {} |", keys.join(", ")).unwrap();
    }
    text
}

/// `page` with each table between its markers.
fn generated(page: &str) -> String {
    let mut page = page.to_owned();
    for (name, table) in tables() {
        let begin = format!("<!-- settings: {name} -->\n");
        let start =
            page.find(&begin).unwrap_or_else(|| panic!("the page has no marker for {name}")) + begin.len();
        let end = start + page[start..].find("<!-- end of settings -->").expect("an end marker");
        page.replace_range(start..end, &table);
    }
    page
}

#[test]
fn the_reference_contains_the_declared_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG-REFERENCE.md");
    let page = std::fs::read_to_string(path).unwrap();
    let generated = generated(&page);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, generated).unwrap();
        return;
    }
    for (line, (found, expected)) in page.lines().zip(generated.lines()).enumerate() {
        assert_eq!(found, expected, "line {}: run the tests with {UPDATE}=1 to write the tables", line + 1);
    }
    assert_eq!(page.lines().count(), generated.lines().count());
}

#[test]
fn every_setting_has_a_meaning() {
    let sections = [
        Environment::settings(),
        Tenant::settings(),
        Caller::settings(),
        Jwt::settings(),
        Jwks::settings(),
        Store::settings(),
        Config::settings(),
        Transfer::settings(),
    ];
    for setting in sections.concat() {
        assert!(setting.meaning.trim_end().ends_with('.'), "{}: {:?}", setting.name, setting.meaning);
    }
}
