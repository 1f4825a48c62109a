//! `GetBucketVersioning`. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>

use http::Method;

use super::{Client, Error, request::Request, xml::Element};

/// Whether a bucket keeps old versions of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// Versioning was never enabled.
    Off,
    /// Writes create versions.
    Enabled,
    /// Versioning was enabled earlier.
    Suspended,
}

impl Client {
    /// Whether the bucket keeps old versions. `None` if the response has an unknown status.
    pub(crate) async fn bucket_versioning(&self) -> Result<Option<Versioning>, Error> {
        let request = Request::bucket("GetBucketVersioning", Method::GET).query("versioning", "");
        versioning(&self.optional_document(&request).await?.body)
    }
}

fn versioning(body: &str) -> Result<Option<Versioning>, Error> {
    const WHAT: &str = "the response to GetBucketVersioning";
    // moto's response has a root element of its own.
    let found = Element::read(body, "GetBucketVersioningResponse", WHAT)
        .or_else(|_| Element::read(body, "VersioningConfiguration", WHAT))?;
    Ok(match found.text("Status") {
        None => Some(Versioning::Off),
        Some("Enabled") => Some(Versioning::Enabled),
        Some("Suspended") => Some(Versioning::Suspended),
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_status_means_that_versioning_was_never_enabled() {
        let of = |status: &str| {
            versioning(&format!(
                "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{status}\
                 </VersioningConfiguration>"
            ))
        };
        assert_eq!(of("").unwrap(), Some(Versioning::Off));
        assert_eq!(of("<Status>Enabled</Status>").unwrap(), Some(Versioning::Enabled));
        assert_eq!(of("<Status>Suspended</Status>").unwrap(), Some(Versioning::Suspended));
        assert_eq!(of("<Status>Paused</Status>").unwrap(), None);
        let of_moto = "<GetBucketVersioningResponse><Status>Suspended</Status></GetBucketVersioningResponse>";
        assert_eq!(versioning(of_moto).unwrap(), Some(Versioning::Suspended));
        assert!(versioning("<html/>").is_err());
    }
}
