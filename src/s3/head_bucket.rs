//! `HeadBucket`, and `GetBucketLocation` where its response says too little.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>

use http::{HeaderName, Method};

use super::{Client, Error, headers::text, request::Request, xml::Element};

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

impl Client {
    /// Checks that the bucket exists and is accessible. Returns its region, if the server says.
    pub(crate) async fn head_bucket(&self) -> Result<Option<String>, Error> {
        match self.document(&Request::bucket("HeadBucket", Method::HEAD)).await {
            Ok(answer) => Ok(text(&answer.headers, &BUCKET_REGION)),
            // The response to HEAD does not say whether access is denied or the credentials are wrong.
            Err(error) if self.is_ambiguous(&error) => match Box::pin(self.bucket_location()).await {
                Err(reason) => Err(reason),
                Ok(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// `GetBucketLocation`: the bucket's region, if the server says. An empty response means us-east-1 on Amazon S3, and
    /// nothing on other servers, which may have no regions.
    pub(crate) async fn bucket_location(&self) -> Result<Option<String>, Error> {
        let request = Request::bucket("GetBucketLocation", Method::GET).query("location", "");
        let found = location(&self.optional_document(&request).await?.body)?;
        Ok(found.or_else(|| self.is_amazon().then(|| "us-east-1".to_owned())))
    }
}

/// The region in a response of Amazon S3. It has older names for two regions
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>).
fn location(body: &str) -> Result<Option<String>, Error> {
    let found = Element::read(body, "LocationConstraint", "the response to GetBucketLocation")?;
    Ok(match found.own_text() {
        None => None,
        Some("EU") => Some("eu-west-1".to_owned()),
        Some(region) => Some(region.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_names_of_regions_are_replaced() {
        let of = |text: &str| {
            location(&format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint \
                 xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{text}</LocationConstraint>"
            ))
            .unwrap()
        };
        let found = [of(""), of("EU"), of("ap-south-1")];
        assert_eq!(found.each_ref().map(Option::as_deref), [None, Some("eu-west-1"), Some("ap-south-1")]);
        assert!(location("<html/>").is_err());
    }
}
