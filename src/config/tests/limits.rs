//! Limits: which level overrides which, and what untrusted authors may set.

use crate::tenants::{CallLimits, LimitScope, Limits};

use super::*;

const TOKENS: [&str; 3] = ["aa", "bb", "cc"];

fn caller(name: &str, number: usize, limits: &str) -> String {
    let token = TOKENS[number].repeat(32);
    format!("{{name: {name}, token_sha256: '{token}', access: [read]{limits}}}")
}

/// A file with the tenant `t`, which has these keys, and `defaults`.
fn file(defaults: &str, tenant: &str) -> String {
    format!(
        "defaults: {{{defaults}}}\ntenants:\n  t: {{{tenant}stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}\n"
    )
}

fn limits(defaults: &str, tenant: &str, variables: &[(&str, &str)]) -> Limits {
    let text = file(defaults, tenant);
    load_text(&text, variables).unwrap().settings.server.tenants.remove(0).limits.clone()
}

const TENANT_LIMITS: &str = "LONGSHORE_TENANT_LIMITS";

#[test]
fn a_tenant_overrides_the_defaults_of_its_file_and_these_override_the_variable() {
    let variable = [(TENANT_LIMITS, r#"{"max_in_flight": 1, "max_streams": 2, max_buffered: 1MiB}"#)];
    let found = limits(
        "limits: {max_in_flight: 10, requests_per_second: 20, max_wait: 1s}",
        "limits: {requests_per_second: unlimited, max_object_size: 1GiB}, ",
        &variable,
    );
    let calls = CallLimits {
        max_in_flight: Some(10),
        max_streams: Some(2),
        max_object_size: Some(1 << 30),
        max_wait: Duration::from_secs(1),
        ..CallLimits::default()
    };
    assert_eq!(found, Limits { max_buffered: Some(1 << 20), calls });
    assert_eq!(limits("", "", &[]), Limits::default());
}

#[test]
fn a_rate_for_both_directions_overrides_the_directions_of_lower_levels_only() {
    let of = |defaults: &str, tenant: &str| {
        let calls = limits(&format!("limits: {{{defaults}}}"), &format!("limits: {{{tenant}}}, "), &[]).calls;
        (calls.upload_bytes_per_second, calls.download_bytes_per_second)
    };
    let (mib, two) = (Some(1 << 20), Some(2 << 20));
    assert_eq!(of("bytes_per_second: 1MiB", ""), (mib, mib));
    assert_eq!(of("upload_bytes_per_second: 2MiB, bytes_per_second: 1MiB", ""), (two, mib));
    assert_eq!(of("upload_bytes_per_second: 1MiB", "bytes_per_second: 2MiB"), (two, two));
    assert_eq!(of("bytes_per_second: 1MiB", "download_bytes_per_second: unlimited"), (mib, None));
}

#[test]
fn callers_inherit_from_their_tenant_and_from_the_defaults() {
    let callers = [caller("a", 0, ", limits: {max_in_flight: 3}"), caller("b", 1, "")].join(", ");
    let text = file(
        "caller_limits: {max_in_flight: 1, max_streams: 1}",
        &format!("caller_limits: {{max_in_flight: 2}}, callers: [{callers}], "),
    );
    let tenant = load_text(&text, &[]).unwrap().settings.server.tenants.remove(0);
    let of = |name: &str| (tenant.caller_limits[name].max_in_flight, tenant.caller_limits[name].max_streams);
    assert_eq!((of("a"), of("b")), ((Some(3), Some(1)), (Some(2), Some(1))));
    let without = file("", &format!("callers: [{}], ", caller("a", 0, ", limits: {max_wait: 5s}")));
    let tenant = load_text(&without, &[]).unwrap().settings.server.tenants.remove(0);
    assert!(tenant.caller_limits.is_empty());
}

#[test]
fn limits_of_the_fleet_require_the_number_of_replicas() {
    let text = file("", "limits: {scope: fleet, max_in_flight: 10}, ");
    let said = problems(&text, &[]);
    assert_eq!(
        said,
        [
            "FILE:3: tenants.t.limits.scope: fleet divides the limits between the replicas, whose number is not known: set LONGSHORE_REPLICAS"
        ]
    );
    let loaded = load_text(&text, &[("LONGSHORE_REPLICAS", "3")]).unwrap();
    assert_eq!(loaded.settings.server.tenants[0].limits.calls.scope, LimitScope::Fleet);
    let variable = [(TENANT_LIMITS, "{scope: fleet}")];
    assert!(
        problems(&file("", ""), &variable)[0].starts_with("LONGSHORE_TENANT_LIMITS: scope: fleet divides")
    );
}

#[test]
fn problems_in_the_variable_name_the_variable() {
    for (value, expected) in [
        (
            "{max_in_flite: 3}",
            "LONGSHORE_TENANT_LIMITS: max_in_flite: unknown key; did you mean `max_in_flight`?",
        ),
        ("3", "LONGSHORE_TENANT_LIMITS: expected a mapping, found a number"),
        (
            "{max_in_flight: [1]}",
            "LONGSHORE_TENANT_LIMITS: max_in_flight: expected a whole number from 1 to 1000000, or unlimited, found a list",
        ),
    ] {
        assert_eq!(problems(&file("", ""), &[(TENANT_LIMITS, value)]), [expected]);
    }
    let said = problems(&file("", ""), &[(TENANT_LIMITS, "{max_in_flight: 3")]);
    assert!(said.len() == 1 && said[0].starts_with("LONGSHORE_TENANT_LIMITS: "), "{said:?}");
}

#[test]
fn an_untrusted_author_may_limit_callers_but_not_the_tenant() {
    let untrusted = [
        ("LONGSHORE_TENANTS_TRUSTED", "false"),
        (TENANT_LIMITS, "{max_in_flight: 7}"),
        ("LONGSHORE_REPLICAS", "2"),
    ];
    let callers = caller("a", 0, ", limits: {max_in_flight: 100, scope: fleet}");
    let text = file("caller_limits: {max_streams: 1}", &format!("callers: [{callers}], "));
    let tenant = load_text(&text, &untrusted).unwrap().settings.server.tenants.remove(0);
    assert_eq!(tenant.limits.calls.max_in_flight, Some(7));
    assert_eq!(tenant.caller_limits["a"].max_in_flight, Some(100), "besides those of the tenant");
    for (text, place) in [
        (file("limits: {max_in_flight: 8}", ""), "FILE:1: defaults.limits"),
        (file("", "limits: {max_in_flight: 8}, "), "FILE:3: tenants.t.limits"),
    ] {
        let said = problems(&text, &untrusted);
        let expected = format!(
            "{place}: raises the tenant's own limits, which LONGSHORE_TENANTS_TRUSTED=false does not allow: remove it"
        );
        assert_eq!(said, [expected]);
    }
}
