//! `GetObjectTagging`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>

use http::Method;

use super::{Client, Error, Tags, error::invalid_response, request::Request, xml::Element};

impl Client {
    /// `GetObjectTagging`.
    pub(crate) async fn get_object_tagging(&self, key: &str, version: Option<&str>) -> Result<Tags, Error> {
        let request = Request::object("GetObjectTagging", Method::GET, key)
            .query("tagging", String::new())
            .version(version);
        match self.document(&request).await {
            Ok(answer) => tags(&answer.body),
            // Huawei's OBS and older versions of versitygw return this for an object without tags
            // (https://github.com/versity/versitygw/issues/1686).
            Err(error) if matches!(error.code(), Some("NoSuchTagSet" | "NoSuchTagSetError")) => {
                Ok(Tags::new())
            }
            Err(error) => Err(error),
        }
    }
}

fn tags(body: &str) -> Result<Tags, Error> {
    let tagging = Element::read(body, "Tagging", "the response to GetObjectTagging")?;
    let set = tagging
        .last("TagSet")
        .ok_or_else(|| invalid_response("the response to GetObjectTagging has no TagSet"))?;
    // Older versions of MinIO return one empty tag for an object without tags
    // (https://github.com/minio/minio/issues/9509).
    let tags = set.all("Tag").filter(|tag| !tag.is_leaf());
    let tag = |tag: &Element| {
        let key = tag.text("Key").ok_or_else(|| invalid_response("a tag has no key"))?;
        let value = match tag.last("Value").filter(|value| !value.is_empty()) {
            Some(_) => {
                tag.text("Value").ok_or_else(|| invalid_response("the value of a tag cannot be read"))?
            }
            None => "",
        };
        Ok((key.to_owned(), value.to_owned()))
    };
    tags.map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_parsed() {
        let body = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
            <Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag><Tag><Key>b</Key><Value></Value></Tag></TagSet></Tagging>";
        let expected = [("a".to_owned(), "1 & 2".to_owned()), ("b".to_owned(), String::new())];
        assert_eq!(tags(body).unwrap(), Tags::from(expected));
        assert!(tags("<Tagging><TagSet></TagSet></Tagging>").unwrap().is_empty());
        assert!(tags("<Tagging><TagSet><Tag></Tag></TagSet></Tagging>").unwrap().is_empty());
    }

    #[test]
    fn a_response_without_a_readable_tag_set_is_rejected() {
        for body in [
            "",
            "<html/>",
            "<Tagging/>",
            "<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Tag><Key>k&#0;</Key><Value>v</Value></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Tag><Key>k</Key><Value>v&#0;</Value></Tag></TagSet></Tagging>",
        ] {
            assert!(tags(body).is_err(), "{body}");
        }
    }
}
