//! Explains which grant allows a call, or what the caller's grants lack.

use std::fmt;

use super::{
    Access, CallerSettings, Method, MissingGrant, Needs, Refusal, Requirement, Scope, Target,
    principal::{Grant, decide},
};

/// A call that a caller might make.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'static Method,
    /// The store that the call uses; of Copy and Rename, the destination's.
    pub store: &'a str,
    /// The key or the prefix.
    pub key: &'a str,
    /// The store and the key of the source, which only Copy and Rename have.
    pub source: (&'a str, &'a str),
}

/// Whether a call is allowed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One decision for each access that the call needs.
    pub decisions: Vec<Decision>,
}

/// Whether one access that a call needs is granted, and by which grant. `Display` writes a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The access; `None` if any access suffices.
    pub access: Option<Access>,
    /// The store.
    pub store: String,
    /// What the access is needed for.
    pub target: Target,
    /// The key or the prefix; empty if the access is needed for the whole store.
    pub key: String,
    /// The field of the request, or its value, that makes this access necessary; `None` if every call needs it.
    pub only_with: Option<&'static str>,
    /// Whether every call sets that field, to one of several values.
    pub is_choice: bool,
    /// The first of the caller's grants that allows it, by its index. The error says what the grants lack.
    pub outcome: Result<usize, Refusal>,
}

/// Explains whether a call may be made with the grants of these callers. Names are unique among the callers of a tenant,
/// so a token has the grants of exactly one; a certificate or a JWT may identify several.
pub fn explain(grants: &[&CallerSettings], question: &Question<'_>) -> Explanation {
    let grants: Vec<_> = grants.iter().map(|caller| Grant::of(caller)).collect();
    explain_with(&grants, question)
}

/// Explains a call without authentication, when every caller may do everything.
pub fn explain_unauthenticated(question: &Question<'_>) -> Explanation {
    explain_with(&[Grant::everything()], question)
}

fn explain_with(grants: &[Grant], question: &Question<'_>) -> Explanation {
    let mut decisions = Vec::new();
    match question.method.needs {
        Needs::Nothing => {}
        Needs::AnyGrant => decisions.push(any_grant(grants, question.store)),
        Needs::Each(requirements) => {
            decisions.extend(requirements.iter().map(|requirement| judge(grants, question, *requirement)));
        }
    }
    let option = question.method.option.iter().map(|option| (option, false));
    let choices = question.method.choices.iter().map(|choice| (choice, true));
    for ((field, requirements), is_choice) in option.chain(choices) {
        decisions.extend(requirements.iter().map(|requirement| Decision {
            only_with: Some(field),
            is_choice,
            ..judge(grants, question, *requirement)
        }));
    }
    Explanation { decisions }
}

fn judge(grants: &[Grant], question: &Question<'_>, requirement: Requirement) -> Decision {
    let Requirement { access, target } = requirement;
    let (store, key) = match target {
        Target::Key | Target::Prefix => (question.store, question.key),
        Target::SourceKey | Target::SourcePrefix => question.source,
        Target::AllKeys => (question.store, ""),
    };
    let scope = match target {
        Target::Key | Target::SourceKey => Scope::Key(key),
        Target::Prefix | Target::SourcePrefix | Target::AllKeys => Scope::Prefix(key),
    };
    Decision {
        access: Some(access),
        store: store.to_owned(),
        target,
        key: key.to_owned(),
        only_with: None,
        is_choice: false,
        outcome: decide(grants, access, store, scope),
    }
}

fn any_grant(grants: &[Grant], store: &str) -> Decision {
    let missing = || Refusal::store_not_granted(store);
    Decision {
        access: None,
        store: store.to_owned(),
        target: Target::AllKeys,
        key: String::new(),
        only_with: None,
        is_choice: false,
        outcome: grants.iter().position(|grant| grant.covers_store(store)).ok_or_else(missing),
    }
}

impl Explanation {
    /// Whether a call without optional fields is allowed, if one of several values of a field can be chosen.
    pub fn is_allowed(&self) -> bool {
        let (choices, others): (Vec<_>, Vec<_>) =
            self.decisions.iter().partition(|decision| decision.is_choice);
        others.iter().all(|decision| decision.only_with.is_some() || decision.outcome.is_ok())
            && (choices.is_empty() || choices.iter().any(|decision| decision.outcome.is_ok()))
    }
}

impl Refusal {
    /// The refusal of a call that any grant for the store would allow. It names `read`, which most callers have.
    pub(crate) fn store_not_granted(store: &str) -> Self {
        Self::AccessNotGranted { access: Access::Read, store: store.to_owned(), missing: MissingGrant::Store }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.only_with {
            write!(f, "with `{field}`: ")?;
        }
        match self.access {
            Some(access) => write!(f, "`{}` access to ", access.as_str())?,
            None => f.write_str("any access to ")?,
        }
        let key = self.key.escape_debug();
        match self.target {
            Target::Key => write!(f, "the key `{key}` of ")?,
            Target::SourceKey => write!(f, "the source's key `{key}` of ")?,
            Target::Prefix | Target::SourcePrefix if self.key.is_empty() => f.write_str("all keys of ")?,
            Target::Prefix => write!(f, "the keys with the prefix `{key}` of ")?,
            Target::SourcePrefix => write!(f, "the source's keys with the prefix `{key}` of ")?,
            Target::AllKeys if self.access.is_some() => f.write_str("all keys of ")?,
            Target::AllKeys => {}
        }
        write!(f, "the store `{}`", self.store.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identities;

    fn caller(access: &[Access], stores: Option<&[&str]>, prefixes: Option<&[&str]>) -> CallerSettings {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CallerSettings {
            name: "billing".to_owned(),
            identities: Identities::default(),
            access: access.to_vec(),
            stores: stores.map(owned),
            prefixes: prefixes.map(owned),
        }
    }

    fn question<'a>(method: &str, store: &'a str, key: &'a str, source: (&'a str, &'a str)) -> Question<'a> {
        Question { method: Method::named(method).unwrap(), store, key, source }
    }

    #[test]
    fn the_grant_that_decides_is_named_for_each_access() {
        let (narrow, wide) = (
            caller(&[Access::Write], Some(&["default"]), Some(&["in/"])),
            caller(&[Access::Read, Access::Delete], None, None),
        );
        let copy = question("Rename", "default", "in/a", ("archive", "b"));
        let explained = explain(&[&narrow, &wide], &copy);
        let outcomes: Vec<_> =
            explained.decisions.iter().map(|decision| decision.outcome.clone().unwrap()).collect();
        assert_eq!((outcomes, explained.is_allowed()), (vec![0, 1, 1], true));
        let texts: Vec<_> = explained.decisions.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "`write` access to the key `in/a` of the store `default`",
                "`read` access to the source's key `b` of the store `archive`",
                "`delete` access to the source's key `b` of the store `archive`",
            ]
        );
    }

    #[test]
    fn a_refusal_is_the_one_that_the_call_would_get() {
        let narrow = caller(&[Access::Read], Some(&["default"]), Some(&["public/"]));
        let refusal = |method, store, key| {
            let explained = explain(&[&narrow], &question(method, store, key, ("", "")));
            assert!(!explained.is_allowed());
            explained.decisions[0].outcome.clone().unwrap_err().to_string()
        };
        assert!(refusal("Put", "default", "public/a").contains("does not include `write` access:"));
        assert!(refusal("Get", "archive", "public/a").contains("to the store `archive`:"));
        assert!(refusal("Get", "default", "private/a").contains("for other key prefixes only"));
        assert!(refusal("GetStore", "archive", "").contains("to the store `archive`:"));
    }

    #[test]
    fn one_of_several_values_of_a_field_must_be_allowed() {
        let allowed = |access: &[Access]| {
            let caller = caller(access, None, None);
            let explained = explain(&[&caller], &question("Sign", "default", "k", ("", "")));
            let choices = explained.decisions.iter().filter(|decision| decision.outcome.is_ok());
            let choices: Vec<_> = choices.filter_map(|decision| decision.only_with).collect();
            (explained.is_allowed(), choices)
        };
        assert_eq!(allowed(&[Access::Sign, Access::Read]), (true, vec!["method: GET", "method: HEAD"]));
        assert_eq!(allowed(&[Access::Sign, Access::Delete]), (true, vec!["method: DELETE"]));
        assert_eq!(allowed(&[Access::Sign, Access::List]), (false, vec![]));
        assert_eq!(allowed(&[Access::Write]), (false, vec!["method: PUT"]));
    }

    #[test]
    fn optional_fields_and_missing_authentication_are_explained() {
        let reader = caller(&[Access::Read, Access::Write], None, None);
        let check = question("CheckStore", "default", "", ("", ""));
        let explained = explain(&[&reader], &check);
        let outcomes: Vec<_> = explained
            .decisions
            .iter()
            .map(|decision| (decision.to_string(), decision.outcome.is_ok()))
            .collect();
        assert!(explained.is_allowed());
        assert_eq!(
            outcomes,
            [
                ("any access to the store `default`".to_owned(), true),
                ("with `probe_writes`: `write` access to all keys of the store `default`".to_owned(), true),
                ("with `probe_writes`: `delete` access to all keys of the store `default`".to_owned(), false),
            ]
        );
        assert!(
            explain_unauthenticated(&check).decisions.iter().all(|decision| decision.outcome == Ok(0)),
            "without authentication, everything is allowed"
        );
        assert!(explain(&[], &question("ListStores", "", "", ("", ""))).is_allowed());
        assert!(!explain(&[], &check).is_allowed());
    }
}
