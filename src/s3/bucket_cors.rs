//! `GetBucketCors`, `PutBucketCors` and `DeleteBucketCors`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html>

use std::fmt::Write;

use http::{Method, StatusCode};

use super::{
    Client, Error,
    error::invalid_response,
    request::Request,
    xml::{self, Element},
};

/// A CORS rule of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsRule {
    /// The name of the rule.
    pub id: Option<String>,
    /// The origins that may send requests.
    pub origins: Vec<String>,
    /// The methods that requests may use.
    pub methods: Vec<String>,
    /// The request headers that a preflight request may ask for.
    pub headers: Vec<String>,
    /// The response headers that scripts may read.
    pub exposed: Vec<String>,
    /// How long browsers may cache the response to a preflight request, in seconds.
    pub max_age: Option<u32>,
}

impl Client {
    /// `GetBucketCors`. A bucket without a CORS configuration has no rules.
    pub(crate) async fn get_bucket_cors(&self) -> Result<Vec<CorsRule>, Error> {
        match self.document(&cors("GetBucketCors", Method::GET)).await {
            // Some servers answer like this if there are no rules.
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => Ok(Vec::new()),
            Ok(answer) => rules(&answer.body),
            Err(error) if error.code() == Some("NoSuchCORSConfiguration") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// `PutBucketCors`: replaces all rules.
    pub(crate) async fn put_bucket_cors(&self, rules: &[CorsRule]) -> Result<(), Error> {
        let request = cors("PutBucketCors", Method::PUT).document(document(rules))?;
        self.document(&request).await.map(drop)
    }

    /// `DeleteBucketCors`.
    pub(crate) async fn delete_bucket_cors(&self) -> Result<(), Error> {
        match self.document(&cors("DeleteBucketCors", Method::DELETE)).await {
            Err(error) if error.code() != Some("NoSuchCORSConfiguration") => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn cors(operation: &'static str, method: Method) -> Request {
    Request::bucket(operation, method).query("cors", "")
}

fn document(rules: &[CorsRule]) -> String {
    let mut text = String::from("<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for CorsRule { id, origins, methods, headers, exposed, max_age } in rules {
        text.push_str("<CORSRule>");
        let mut add = |name: &str, value: &str| {
            let _ = write!(text, "<{name}>{}</{name}>", xml::text(value));
        };
        if let Some(id) = id {
            add("ID", id);
        }
        let lists = [
            ("AllowedHeader", headers),
            ("AllowedMethod", methods),
            ("AllowedOrigin", origins),
            ("ExposeHeader", exposed),
        ];
        for (name, texts) in lists {
            for text in texts {
                add(name, text);
            }
        }
        if let Some(seconds) = max_age {
            add("MaxAgeSeconds", &seconds.to_string());
        }
        text.push_str("</CORSRule>");
    }
    text.push_str("</CORSConfiguration>");
    text
}

fn rules(body: &str) -> Result<Vec<CorsRule>, Error> {
    let configuration = Element::read(body, "CORSConfiguration", "the response to GetBucketCors")?;
    configuration.all("CORSRule").map(rule).collect()
}

fn rule(rule: &Element) -> Result<CorsRule, Error> {
    let texts = |name: &str| {
        let readable = rule.all(name).map(|element| element.own_text().map(str::to_owned));
        readable
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid_response(&format!("a CORS rule has an {name} that cannot be read")))
    };
    Ok(CorsRule {
        id: rule.text("ID").map(str::to_owned),
        origins: texts("AllowedOrigin")?,
        methods: texts("AllowedMethod")?,
        headers: texts("AllowedHeader")?,
        exposed: texts("ExposeHeader")?,
        max_age: rule.number("MaxAgeSeconds").and_then(|seconds| u32::try_from(seconds).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_s3_documents_them_and_read_back() {
        let first = CorsRule {
            id: Some("a & b".to_owned()),
            origins: vec!["https://*.example.com".to_owned(), "http://localhost".to_owned()],
            methods: vec!["GET".to_owned(), "PUT".to_owned()],
            headers: vec!["*".to_owned()],
            exposed: vec!["ETag".to_owned()],
            max_age: Some(3000),
        };
        let second = CorsRule {
            origins: vec!["*".to_owned()],
            methods: vec!["HEAD".to_owned()],
            max_age: Some(0),
            ..CorsRule::default()
        };
        let text = document(&[first.clone(), second.clone()]);
        assert_eq!(
            text,
            "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule><ID>a &amp; b</ID>\
             <AllowedHeader>*</AllowedHeader><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
             <AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedOrigin>http://localhost</AllowedOrigin>\
             <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule><CORSRule>\
             <AllowedMethod>HEAD</AllowedMethod><AllowedOrigin>*</AllowedOrigin><MaxAgeSeconds>0</MaxAgeSeconds>\
             </CORSRule></CORSConfiguration>"
        );
        assert_eq!(rules(&text).unwrap(), [first, second]);
    }

    #[test]
    fn what_cannot_be_read_is_rejected() {
        assert!(rules("<CORSConfiguration/>").unwrap().is_empty());
        for body in [
            "",
            "<html/>",
            "<CORSConfiguration><CORSRule><AllowedOrigin>&#0;</AllowedOrigin></CORSRule></CORSConfiguration>",
        ] {
            assert!(rules(body).is_err(), "{body}");
        }
    }
}
