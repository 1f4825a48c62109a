//! `GetObjectTagging`, `PutObjectTagging` and `DeleteObjectTagging`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>

use std::fmt::Write;

use http::Method;

use super::{
    Client, Error, Tags,
    error::invalid_response,
    headers,
    request::Request,
    xml::{self, Element},
};

/// The tags of one version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectTags {
    /// The tags.
    pub tags: Tags,
    /// The version that has them, if the server returns it.
    pub version: Option<String>,
}

impl Client {
    /// `GetObjectTagging`.
    pub(crate) async fn get_object_tagging(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<ObjectTags, Error> {
        let request = tagging("GetObjectTagging", Method::GET, key, version);
        match self.document(&request).await {
            Ok(answer) => Ok(ObjectTags {
                tags: tags(&answer.body)?,
                version: headers::properties(&answer.headers).version,
            }),
            // Huawei's OBS and older versions of versitygw return this for an object without tags
            // (https://github.com/versity/versitygw/issues/1686).
            Err(error) if matches!(error.code(), Some("NoSuchTagSet" | "NoSuchTagSetError")) => {
                Ok(ObjectTags::default())
            }
            Err(error) => Err(error),
        }
    }

    /// `PutObjectTagging`: replaces all tags. Returns the version that has them now, if the server returns it.
    pub(crate) async fn put_object_tagging(
        &self,
        key: &str,
        version: Option<&str>,
        tags: &Tags,
    ) -> Result<Option<String>, Error> {
        let request = tagging("PutObjectTagging", Method::PUT, key, version).document(document(tags))?;
        let answer = self.document(&request).await?;
        Ok(headers::properties(&answer.headers).version)
    }

    /// `DeleteObjectTagging`. Returns the version that had the tags, if the server returns it.
    pub(crate) async fn delete_object_tagging(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let answer = self.document(&tagging("DeleteObjectTagging", Method::DELETE, key, version)).await?;
        Ok(headers::properties(&answer.headers).version)
    }
}

fn tagging(operation: &'static str, method: Method, key: &str, version: Option<&str>) -> Request {
    Request::object(operation, method, key).query("tagging", String::new()).version(version)
}

/// The tags as XML.
pub(super) fn document(tags: &Tags) -> String {
    let mut text = String::from("<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>");
    for (key, value) in tags {
        let (key, value) = (xml::text(key), xml::text(value));
        let _ = write!(text, "<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    }
    text.push_str("</TagSet></Tagging>");
    text
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
    fn a_written_document_is_parsed_to_the_same_tags() {
        let written = [("a b", "1 + 2 = 3"), ("\u{e9}:/@", ""), (" ", "\u{2028}x ")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags(&document(&Tags::from(written.clone()))).unwrap(), Tags::from(written));
        assert!(tags(&document(&Tags::new())).unwrap().is_empty());
        assert!(
            document(&Tags::from([("<".to_owned(), "&".to_owned())]))
                .contains("<Key>&lt;</Key><Value>&amp;<")
        );
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
