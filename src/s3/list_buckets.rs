//! `ListBuckets`, for the creation date of one bucket: no other operation returns it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>

use std::time::SystemTime;

use http::Method;

use super::{Client, Error, request::Request, xml::Element};

impl Client {
    /// When the bucket was created. `None` if the list lacks the bucket, as it does for buckets of other accounts.
    pub(crate) async fn bucket_created(&self) -> Result<Option<SystemTime>, Error> {
        let bucket = &self.settings().bucket;
        // The bucket is the first one with itself as the prefix. Servers that ignore these parameters return all.
        let request = Request::service("ListBuckets", Method::GET)
            .query("prefix", bucket.clone())
            .query("max-buckets", "1");
        created(&self.optional_document(&request).await?.body, bucket)
    }
}

fn created(body: &str, bucket: &str) -> Result<Option<SystemTime>, Error> {
    let listed = Element::read(body, "ListAllMyBucketsResult", "the response to ListBuckets")?;
    let mut buckets = listed.all("Buckets").flat_map(|buckets| buckets.all("Bucket"));
    Ok(buckets.find(|found| found.text("Name") == Some(bucket)).and_then(|found| found.time("CreationDate")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_date_is_that_of_the_bucket_with_exactly_this_name() {
        let body = "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>o</ID></Owner>\
            <Buckets><Bucket><Name>logs-old</Name><CreationDate>2001-01-01T00:00:00.000Z</CreationDate></Bucket>\
            <Bucket><Name>logs</Name><CreationDate>2009-02-13T23:31:30.000Z</CreationDate></Bucket></Buckets>\
            </ListAllMyBucketsResult>";
        assert_eq!(created(body, "logs").unwrap(), Some(UNIX_EPOCH + Duration::from_secs(1_234_567_890)));
        assert_eq!(created(body, "log").unwrap(), None);
        assert_eq!(created("<ListAllMyBucketsResult/>", "logs").unwrap(), None);
        let odd = "<ListAllMyBucketsResult><Buckets><Bucket><Name>logs</Name><CreationDate>today</CreationDate></Bucket>\
            </Buckets></ListAllMyBucketsResult>";
        assert_eq!(created(odd, "logs").unwrap(), None);
        assert!(created("", "logs").is_err());
    }
}
