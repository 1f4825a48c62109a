//! `ExplainAccess`.

use super::{Admin, tenants};
use crate::{
    api::{failure::Failure, gate::store_name},
    auth::{
        Access, AuthMode, CallerSettings, Decision, Explanation, METHODS, Method, Question, explain,
        explain_unauthenticated,
    },
    pb,
    settings::suggestion,
};

pub(super) fn explain_access(
    admin: &Admin,
    request: &pb::ExplainAccessRequest,
) -> Result<pb::ExplainAccessResponse, Failure> {
    let name = tenants::name(&request.tenant)?;
    let snapshot = admin.pool.snapshot();
    let tenant = snapshot.tenant(name).ok_or_else(|| Failure::TenantNotFound(name.to_owned()))?;
    let question = question(request)?;
    if admin.auth == AuthMode::None {
        return Ok(response(&explain_unauthenticated(&question), None));
    }
    let caller = tenant.callers().iter().find(|caller| caller.name == request.caller);
    let Some(caller) = caller else {
        let names: Vec<_> = tenant.callers().iter().take(20).map(|caller| caller.name.as_str()).collect();
        let hint = suggestion(&request.caller, &names, &[]);
        return Err(Failure::field("caller", format!("the tenant has no such caller; {hint}")));
    };
    Ok(response(&explain(&[caller], &question), Some(caller)))
}

fn question(request: &pb::ExplainAccessRequest) -> Result<Question<'_>, Failure> {
    let method = Method::named(&request.method).ok_or_else(|| {
        let names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        let hint = suggestion(&request.method, &names, &[]);
        Failure::field("method", format!("there is no such method for callers; {hint}"))
    })?;
    let source = (request.source_store.as_str(), request.source_key.as_str());
    match (method.has_source(), source) {
        (true, (_, "")) => {
            return Err(Failure::field(
                "source_key",
                format!("must be set, because {} has a source", method.name),
            ));
        }
        (false, ("", "")) | (true, _) => {}
        (false, (_, key)) => {
            let field = if key.is_empty() { "source_store" } else { "source_key" };
            return Err(Failure::field(
                field,
                format!("must be empty, because {} has no source", method.name),
            ));
        }
    }
    let (source_store, source_key) = source;
    Ok(Question {
        method,
        store: store_name(&request.store),
        key: &request.key,
        source: (store_name(source_store), source_key),
    })
}

/// `caller` is `None` without authentication.
fn response(explanation: &Explanation, caller: Option<&CallerSettings>) -> pb::ExplainAccessResponse {
    pb::ExplainAccessResponse {
        allowed: explanation.is_allowed(),
        decisions: explanation.decisions.iter().map(|decision| message(decision, caller)).collect(),
        implemented: true,
    }
}

fn message(decision: &Decision, caller: Option<&CallerSettings>) -> pb::AccessDecision {
    let granted = caller.filter(|_| decision.outcome.is_ok());
    pb::AccessDecision {
        needed: decision.to_string(),
        access: decision.access.map(Access::as_str).unwrap_or_default().to_owned(),
        only_with: decision.only_with.unwrap_or_default().to_owned(),
        allowed: decision.outcome.is_ok(),
        grant: granted.map(tenants::caller),
        missing: decision.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_needs_of_every_method_for_callers_are_declared() {
        let descriptors = FileDescriptorSet::decode(pb::DESCRIPTOR_SET).unwrap();
        let ours = descriptors.file.iter().filter(|file| file.package() == "longshore.v1");
        let served: BTreeSet<_> = ours
            .flat_map(|file| &file.service)
            .flat_map(|service| service.method.iter().map(|method| (service.name(), method.name())))
            .collect();
        let declared: BTreeSet<_> = METHODS.iter().map(|method| (method.service, method.name)).collect();
        assert_eq!(served, declared);
    }
}
