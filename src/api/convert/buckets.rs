//! Buckets and CORS rules. The limits are those of S3
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>).

use super::timestamp;
use crate::{
    api::failure::Failure,
    pb,
    store::{BucketInfo, CorsRule, Versioning},
};

const MAX_RULES: usize = 100;
const MAX_ID: usize = 255;

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// What the server says about a bucket.
pub(crate) fn bucket(bucket: BucketInfo) -> pb::Bucket {
    let versioning = match bucket.versioning {
        None => pb::BucketVersioning::Unspecified,
        Some(Versioning::Off) => pb::BucketVersioning::Off,
        Some(Versioning::Enabled) => pb::BucketVersioning::Enabled,
        Some(Versioning::Suspended) => pb::BucketVersioning::Suspended,
    };
    pb::Bucket {
        name: bucket.name,
        region: bucket.region.unwrap_or_default(),
        create_time: bucket.created.map(timestamp),
        versioning: versioning.into(),
    }
}

/// The message for a CORS rule.
pub(crate) fn cors_rule_message(rule: CorsRule) -> pb::CorsRule {
    pb::CorsRule {
        id: rule.id.unwrap_or_default(),
        allowed_origins: rule.origins,
        allowed_methods: rule.methods,
        allowed_headers: rule.headers,
        expose_headers: rule.exposed,
        max_age_seconds: rule.max_age.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}

/// The CORS rules of a request.
pub(crate) fn cors_rules(rules: Vec<pb::CorsRule>) -> Result<Vec<CorsRule>, Failure> {
    if rules.is_empty() || rules.len() > MAX_RULES {
        let message =
            format!("must have 1 to {MAX_RULES} rules, not {}; DeleteBucketCors removes all", rules.len());
        return Err(Failure::field("rules", message));
    }
    rules.into_iter().enumerate().map(|(index, rule)| cors_rule(rule, &format!("rules[{index}]"))).collect()
}

fn cors_rule(rule: pb::CorsRule, path: &str) -> Result<CorsRule, Failure> {
    let wrong = |field: &str, message: String| Err(Failure::field(format!("{path}.{field}"), message));
    if rule.id.chars().count() > MAX_ID {
        return wrong("id", format!("must have at most {MAX_ID} characters"));
    }
    for (field, texts) in
        [("allowed_origins", &rule.allowed_origins), ("allowed_methods", &rule.allowed_methods)]
    {
        if texts.is_empty() {
            return wrong(field, "must have at least one entry".to_owned());
        }
    }
    if let Some(entry) = rule.allowed_methods.iter().position(|method| !METHODS.contains(&method.as_str())) {
        let message =
            format!("must be GET, PUT, POST, DELETE or HEAD, not {:?}", rule.allowed_methods[entry]);
        return wrong(&format!("allowed_methods[{entry}]"), message);
    }
    if rule.id.contains(char::is_control) {
        return wrong("id", "must not have control characters".to_owned());
    }
    // How many `*` an entry may have.
    let lists = [
        ("allowed_origins", &rule.allowed_origins, 1),
        ("allowed_headers", &rule.allowed_headers, 1),
        ("expose_headers", &rule.expose_headers, 0),
    ];
    for (field, texts, wildcards) in lists {
        for (entry, text) in texts.iter().enumerate() {
            let message = if text.is_empty() {
                "must not be empty".to_owned()
            } else if text.contains(char::is_control) {
                "must not have control characters".to_owned()
            } else if text.matches('*').count() > wildcards {
                format!("must not have more than {wildcards} `*`, unlike {text:?}")
            } else {
                continue;
            };
            return wrong(&format!("{field}[{entry}]"), message);
        }
    }
    let max_age = match rule.max_age_seconds.map(u32::try_from) {
        None => None,
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(_)) => return wrong("max_age_seconds", "must be 0 or more".to_owned()),
    };
    Ok(CorsRule {
        id: Some(rule.id).filter(|id| !id.is_empty()),
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers,
        exposed: rule.expose_headers,
        max_age,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    fn rule() -> pb::CorsRule {
        pb::CorsRule {
            allowed_origins: vec!["https://*.example.com".to_owned()],
            allowed_methods: vec!["PUT".to_owned()],
            ..pb::CorsRule::default()
        }
    }

    #[test]
    fn a_rule_that_s3_would_reject_is_named_by_its_index() {
        let text = |text: &str| vec![text.to_owned()];
        let wrong = [
            ("id", pb::CorsRule { id: "x".repeat(256), ..rule() }),
            ("id", pb::CorsRule { id: "\n".to_owned(), ..rule() }),
            ("allowed_origins", pb::CorsRule { allowed_origins: vec![], ..rule() }),
            ("allowed_origins[0]", pb::CorsRule { allowed_origins: text(""), ..rule() }),
            ("allowed_origins[0]", pb::CorsRule { allowed_origins: text("https://*.*.com"), ..rule() }),
            ("allowed_methods", pb::CorsRule { allowed_methods: vec![], ..rule() }),
            ("allowed_methods[0]", pb::CorsRule { allowed_methods: text("PATCH"), ..rule() }),
            ("allowed_methods[0]", pb::CorsRule { allowed_methods: text("get"), ..rule() }),
            ("allowed_headers[0]", pb::CorsRule { allowed_headers: text("x-*-*"), ..rule() }),
            ("expose_headers[0]", pb::CorsRule { expose_headers: text("x-*"), ..rule() }),
            ("max_age_seconds", pb::CorsRule { max_age_seconds: Some(-1), ..rule() }),
        ];
        for (name, wrong) in wrong {
            assert_eq!(field(cors_rules(vec![rule(), wrong])), format!("rules[1].{name}"));
        }
        assert_eq!(field(cors_rules(Vec::new())), "rules");
        assert_eq!(field(cors_rules(vec![rule(); 101])), "rules");
        assert_eq!(cors_rules(vec![rule(); 100]).unwrap().len(), 100);
    }

    #[test]
    fn a_rule_keeps_everything_on_the_way_there_and_back() {
        let rule = pb::CorsRule {
            id: "uploads".to_owned(),
            allowed_headers: vec!["*".to_owned()],
            expose_headers: vec!["ETag".to_owned()],
            max_age_seconds: Some(0),
            ..rule()
        };
        let [read] = &cors_rules(vec![rule.clone()]).unwrap()[..] else { panic!() };
        assert_eq!(cors_rule_message(read.clone()), rule);
    }
}
