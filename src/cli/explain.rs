//! `longshore check --explain`: says which grant allows a call, or why no grant does.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::{
    auth::{
        AuthMode, CallerSettings, Decision, Explanation, METHODS, Method, Question, explain,
        explain_unauthenticated,
    },
    server::ServerSettings,
    settings::suggestion,
    tenants::TenantSettings,
};

/// The store that an empty name means.
const DEFAULT_STORE: &str = "default";

/// The names of the caller and the method, and what the call uses, as given on the command line.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// `None`: the only tenant.
    pub(super) tenant: Option<&'a str>,
    pub(super) caller: &'a str,
    pub(super) method: &'a str,
    /// `STORE/KEY`.
    pub(super) target: &'a str,
    /// `STORE/KEY` of the source, for Copy and Rename.
    pub(super) source: Option<&'a str>,
}

/// Writes the explanation to `out`, and returns whether the call is allowed. The inner error is a sentence that says
/// which argument is invalid.
pub(super) fn write_explanation(
    settings: &ServerSettings,
    request: &Request<'_>,
    out: &mut impl Write,
) -> io::Result<Result<bool, String>> {
    let (tenant, question, caller) = match resolve(settings, request) {
        Ok(found) => found,
        Err(sentence) => return Ok(Err(sentence)),
    };
    let is_open = settings.auth == AuthMode::None;
    let explanation =
        if is_open { explain_unauthenticated(&question) } else { explain(caller.as_slice(), &question) };
    write_head(tenant, request.caller, question.method, &explanation, out)?;
    for decision in &explanation.decisions {
        write_decision(decision, caller.filter(|_| !is_open), out)?;
    }
    write_notes(tenant, &question, &explanation, out)?;
    Ok(Ok(explanation.is_allowed()))
}

type Resolved<'a> = (&'a TenantSettings, Question<'a>, Option<&'a CallerSettings>);

fn resolve<'a>(settings: &'a ServerSettings, request: &Request<'a>) -> Result<Resolved<'a>, String> {
    let tenant = tenant(&settings.tenants, request.tenant)?;
    let caller = tenant.callers.iter().find(|caller| caller.name == request.caller);
    if caller.is_none() && settings.auth != AuthMode::None {
        let names: Vec<_> = tenant.callers.iter().map(|caller| caller.name.as_str()).collect();
        let hint = suggestion(request.caller, &names, &[]);
        return Err(format!("the tenant `{}` has no caller `{}`; {hint}", tenant.name, request.caller));
    }
    let method = Method::named(request.method).ok_or_else(|| {
        let names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        format!("there is no method `{}`; {}", request.method, suggestion(request.method, &names, &[]))
    })?;
    let source = match (method.has_source(), request.source) {
        (true, Some(source)) => store_and_key(source),
        (false, None) => ("", ""),
        (true, None) => {
            return Err(format!("{} has a source: add its STORE/KEY as the fourth value", method.name));
        }
        (false, Some(_)) => return Err(format!("{} has no source: remove the fourth value", method.name)),
    };
    let (store, key) = store_and_key(request.target);
    Ok((tenant, Question { method, store, key, source }, caller))
}

fn tenant<'a>(tenants: &'a [Arc<TenantSettings>], name: Option<&str>) -> Result<&'a TenantSettings, String> {
    match (name, tenants) {
        (None, [only]) => Ok(only),
        (None, _) => Err("there are several tenants: name one with --tenant".to_owned()),
        (Some(name), _) => {
            tenants.iter().find(|tenant| tenant.name == name).map(|tenant| &**tenant).ok_or_else(|| {
                let names: Vec<_> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
                format!("there is no tenant `{name}`; {}", suggestion(name, &names, &[]))
            })
        }
    }
}

/// Keys may contain slashes, names of stores may not.
fn store_and_key(text: &str) -> (&str, &str) {
    let (store, key) = text.split_once('/').unwrap_or((text, ""));
    (if store.is_empty() { DEFAULT_STORE } else { store }, key)
}

fn write_head(
    tenant: &TenantSettings,
    caller: &str,
    method: &Method,
    explanation: &Explanation,
    out: &mut impl Write,
) -> io::Result<()> {
    let verdict = if explanation.is_allowed() { "allowed" } else { "denied" };
    writeln!(out, "tenant {}, caller {caller}, {}/{}: {verdict}", tenant.name, method.service, method.name)
}

/// `caller` is `None` without authentication.
fn write_decision(
    decision: &Decision,
    caller: Option<&CallerSettings>,
    out: &mut impl Write,
) -> io::Result<()> {
    match (&decision.outcome, caller) {
        (Ok(_), None) => writeln!(out, "  {decision}: granted, because LONGSHORE_AUTH is `none`"),
        (Ok(_), Some(caller)) => {
            writeln!(out, "  {decision}: granted by the entry of the caller ({})", described(caller))
        }
        (Err(refusal), _) => writeln!(out, "  {decision}: not granted: {refusal}"),
    }
}

fn described(caller: &CallerSettings) -> String {
    let access: Vec<_> = caller.access.iter().map(|access| access.as_str()).collect();
    let listed = |list: &Option<Vec<String>>| list.as_ref().map_or("all".to_owned(), |list| list.join(", "));
    format!(
        "access: {}; stores: {}; prefixes: {}",
        access.join(", "),
        listed(&caller.stores),
        listed(&caller.prefixes)
    )
}

fn write_notes(
    tenant: &TenantSettings,
    question: &Question<'_>,
    explanation: &Explanation,
    out: &mut impl Write,
) -> io::Result<()> {
    if explanation.decisions.is_empty() {
        writeln!(out, "  needs no grant: the response contains only what the caller's grants cover")?;
    }
    let source = Some(question.source.0).filter(|_| question.method.has_source());
    for store in
        [Some(question.store).filter(|_| !explanation.decisions.is_empty()), source].into_iter().flatten()
    {
        if explanation.is_allowed() && !tenant.stores.contains_key(store) {
            writeln!(out, "  note: the tenant has no store `{store}`, so the call fails with NOT_FOUND")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        auth::{Access, Identities},
        store::StoreSettings,
    };

    fn settings(auth: AuthMode, names: &[&str]) -> ServerSettings {
        let caller = CallerSettings {
            name: "billing".to_owned(),
            identities: Identities::default(),
            access: vec![Access::Write],
            stores: Some(vec!["default".to_owned()]),
            prefixes: Some(vec!["in/".to_owned()]),
        };
        let tenant = |name: &&str| TenantSettings {
            callers: vec![caller.clone()],
            ..TenantSettings::new(name, BTreeMap::from([("default".to_owned(), StoreSettings::default())]))
        };
        ServerSettings {
            auth,
            tenants: names.iter().map(tenant).map(Into::into).collect(),
            ..ServerSettings::default()
        }
    }

    fn ask(settings: &ServerSettings, words: &[&str]) -> (Result<bool, String>, String) {
        let request = Request {
            tenant: words.get(4).copied(),
            caller: words[0],
            method: words[1],
            target: words[2],
            source: words.get(3).copied().filter(|source| !source.is_empty()),
        };
        let mut out = Vec::new();
        let outcome = write_explanation(settings, &request, &mut out).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_grant_that_decides_is_printed_or_what_is_missing() {
        let settings = settings(AuthMode::Required, &["acme"]);
        let (allowed, text) = ask(&settings, &["billing", "Put", "default/in/a"]);
        assert_eq!(allowed, Ok(true));
        assert_eq!(
            text,
            "tenant acme, caller billing, ObjectService/Put: allowed\n\
             \x20 `write` access to the key `in/a` of the store `default`: granted by the entry of the caller \
             (access: write; stores: default; prefixes: in/)\n"
        );
        let (allowed, text) = ask(&settings, &["billing", "Copy", "/out/a", "archive/b"]);
        assert_eq!(allowed, Ok(false));
        assert!(text.contains("ObjectService/Copy: denied\n"), "{text}");
        assert!(
            text.contains("of the store `default`: not granted: the caller's grant includes `write`"),
            "{text}"
        );
        assert!(
            text.contains("source's key `b` of the store `archive`: not granted: the caller's"),
            "{text}"
        );
    }

    #[test]
    fn notes_say_why_an_allowed_call_still_fails() {
        let open = settings(AuthMode::None, &["acme"]);
        let (allowed, text) = ask(&open, &["nobody", "Sign", "other/a"]);
        assert_eq!(allowed, Ok(true));
        for part in
            ["because LONGSHORE_AUTH is `none`", "with `method: PUT`", "no store `other`, so the call fails"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (allowed, text) = ask(&open, &["nobody", "ListStores", ""]);
        assert!(allowed == Ok(true) && text.contains("needs no grant"), "{text}");
    }

    #[test]
    fn invalid_arguments_are_named() {
        let two = settings(AuthMode::Required, &["acme", "zeta"]);
        for (words, part) in [
            (&["billing", "Get", "default/a"][..], "name one with --tenant"),
            (&["biling", "Get", "default/a", "", "acme"], "no caller `biling`; did you mean `billing`?"),
            (&["billing", "Gett", "default/a", "", "acme"], "no method `Gett`; did you mean `Get`?"),
            (&["billing", "Get", "default/a", "", "acne"], "no tenant `acne`; did you mean `acme`?"),
            (&["billing", "Copy", "default/a", "", "acme"], "Copy has a source"),
            (&["billing", "Get", "default/a", "b/c", "acme"], "Get has no source"),
        ] {
            let (outcome, text) = ask(&two, words);
            assert!(outcome.unwrap_err().contains(part) && text.is_empty(), "{words:?}");
        }
    }
}
