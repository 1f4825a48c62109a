//! The signature of a form.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::StatusCode;
use jiff::{civil::DateTime, tz::TimeZone};
use s3s::{S3Result, auth::S3Auth};
use subtle::ConstantTimeEq;

use super::{
    super::{refusal::Refusal, signature::REGION},
    form::Form,
};

/// Checks that a known key has signed the policy of the form.
pub(super) async fn check(form: &Form, keys: &dyn S3Auth) -> Result<(), Refusal> {
    let policy = required(form, "policy")?;
    let signature = required(form, "x-amz-signature")?;
    let credential = required(form, "x-amz-credential")?;
    let date = required(form, "x-amz-date")?;
    if required(form, "x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(wrong("x-amz-algorithm", "must be AWS4-HMAC-SHA256"));
    }
    let malformed =
        || wrong("x-amz-credential", "expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"");
    // Split from the right: an access key id may contain a slash.
    let parts: Vec<_> = credential.rsplitn(5, '/').collect();
    let ["aws4_request", "s3", region, day, key_id] = parts.as_slice() else { return Err(malformed()) };
    let time =
        DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    let time = time
        .filter(|_| date.starts_with(day))
        .ok_or_else(|| wrong("x-amz-date", "is not the date of x-amz-credential"))?;
    if *region != REGION {
        return Err(wrong("x-amz-credential", "the region is wrong; expecting 'us-east-1'"));
    }
    let found: S3Result<_> = keys.get_secret_key(key_id).await;
    let secret = found.map_err(|_| {
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        Refusal::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", message).with("AWSAccessKeyId", *key_id)
    })?;
    let key = generate_signing_key(secret.expose(), time.timestamp().into(), region, "s3");
    let expected = calculate_signature(key, policy.as_bytes());
    if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
        let message = "The request signature we calculated does not match the signature you provided. Check your key and \
                       signing method.";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
    }
    Ok(())
}

fn required<'f>(form: &'f Form, name: &'static str) -> Result<&'f str, Refusal> {
    form.value(name).ok_or_else(|| {
        if name == "policy" {
            // Without a policy, the form is anonymous.
            return Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied");
        }
        let message = format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        );
        Refusal::bad("InvalidArgument", message).with("ArgumentName", name)
    })
}

fn wrong(name: &'static str, why: &str) -> Refusal {
    Refusal::bad("InvalidArgument", format!("{name}: {why}")).with("ArgumentName", name)
}
