//! `GetObjectTagging`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>

use http::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Client, Error, Tags, request::Request, xml};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Tagging {
    tag_set: TagSet,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct TagSet {
    tag: Vec<Tag>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Tag {
    key: String,
    value: String,
}

impl Client {
    /// `GetObjectTagging`.
    pub(crate) async fn get_object_tagging(
        &self,
        key: &str,
        version: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Tags, Error> {
        let request = Request::object("GetObjectTagging", Method::GET, key)
            .query("tagging", String::new())
            .version(version);
        let answer = self.document(&request, deadline).await?;
        tags(&answer.body)
    }
}

fn tags(body: &str) -> Result<Tags, Error> {
    let tagging: Tagging = xml::read(body, "the answer to GetObjectTagging")?;
    Ok(tagging.tag_set.tag.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let body = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
            <Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag><Tag><Key>b</Key><Value></Value></Tag></TagSet></Tagging>";
        let expected = [("a".to_owned(), "1 & 2".to_owned()), ("b".to_owned(), String::new())];
        assert_eq!(tags(body).unwrap(), Tags::from(expected));
        assert!(tags("<Tagging><TagSet></TagSet></Tagging>").unwrap().is_empty());
    }
}
