//! The policy of a form.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::time::SystemTime;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::{super::refusal::Refusal, form::Form};

/// The largest object of a form without a range of sizes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const LARGEST: u64 = 5 * 1024 * 1024 * 1024;

/// The fields that need no condition.
const FREE: [&str; 4] = ["x-amz-signature", "file", "policy", "submit"];

/// Checks that the form follows its policy. Returns the range of sizes that the policy accepts.
pub(super) fn check(json: &[u8], form: &Form, bucket: &str, now: SystemTime) -> Result<(u64, u64), Refusal> {
    let policy: Value = serde_json::from_slice(json).map_err(|_| invalid("Invalid JSON."))?;
    let expiration: Option<Timestamp> =
        policy.get("expiration").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let expiration = expiration.ok_or_else(|| invalid("Policy missing expiration."))?;
    if SystemTime::from(expiration) <= now {
        return Err(denied("Policy expired."));
    }
    let conditions = policy.get("conditions").and_then(Value::as_array);
    let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
    let mut checked = Checked { form, bucket, named: Vec::new(), sizes: (0, LARGEST) };
    for condition in conditions {
        checked.condition(condition)?;
    }
    for (name, _) in form.fields() {
        if !FREE.contains(&name.as_str()) && !name.starts_with("x-ignore-") && !checked.named.contains(name) {
            return Err(denied(&format!("Extra input fields: {name}")));
        }
    }
    Ok(checked.sizes)
}

struct Checked<'a> {
    form: &'a Form,
    bucket: &'a str,
    /// The fields that have a condition.
    named: Vec<String>,
    sizes: (u64, u64),
}

impl Checked<'_> {
    fn condition(&mut self, condition: &Value) -> Result<(), Refusal> {
        let broken = || invalid("Invalid condition.");
        match condition {
            Value::Object(pairs) if !pairs.is_empty() => {
                for (name, value) in pairs {
                    let wanted = value.as_str().ok_or_else(broken)?;
                    self.field("eq", &format!("${name}"), wanted, |found| found == wanted)?;
                }
                Ok(())
            }
            Value::Array(items) => match items.as_slice() {
                [Value::String(operator), Value::String(name), Value::String(wanted)] => {
                    match operator.to_ascii_lowercase().as_str() {
                        "eq" => self.field("eq", name, wanted, |found| found == wanted),
                        "starts-with" => {
                            self.field("starts-with", name, wanted, |found| found.starts_with(wanted))
                        }
                        _ => Err(broken()),
                    }
                }
                [Value::String(operator), least, most] if operator == "content-length-range" => {
                    let number = |value: &Value| {
                        value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
                    };
                    let (least, most) = number(least).zip(number(most)).ok_or_else(broken)?;
                    self.sizes = (self.sizes.0.max(least), self.sizes.1.min(most));
                    Ok(())
                }
                _ => Err(broken()),
            },
            _ => Err(broken()),
        }
    }

    /// Checks a condition on the field `name`, which begins with a dollar sign.
    fn field(
        &mut self,
        operator: &str,
        name: &str,
        wanted: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Result<(), Refusal> {
        let field = name.strip_prefix('$').ok_or_else(|| invalid("Invalid condition."))?.to_ascii_lowercase();
        let found = match field.as_str() {
            "bucket" => self.form.value("bucket").unwrap_or(self.bucket),
            field => self.form.value(field).unwrap_or_default(),
        };
        let is_here = field != "bucket" || found == self.bucket;
        self.named.push(field);
        if holds(found) && is_here {
            return Ok(());
        }
        Err(denied(&format!("Policy Condition failed: [\"{operator}\", \"{name}\", \"{wanted}\"]")))
    }
}

fn denied(why: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", format!("Invalid according to Policy: {why}"))
}

fn invalid(why: &str) -> Refusal {
    Refusal::bad("InvalidPolicyDocument", format!("Invalid Policy: {why}"))
}
