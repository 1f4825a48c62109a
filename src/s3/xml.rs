//! The XML of S3's requests and responses.

use std::time::SystemTime;

use quick_xml::{
    Reader,
    escape::{escape, resolve_predefined_entity},
    events::Event,
};

use super::{Error, error::invalid_response};

/// A placeholder for text that cannot be read: bytes that are not UTF-8, and references to characters that do not
/// exist. XML does not allow this character (XML 1.0, section 2.2).
pub(super) const UNREADABLE: char = '\u{ffff}';

/// Maximum number of elements in a document. Parsed elements take far more memory than their text.
const MAX_ELEMENTS: usize = 100_000;
/// Maximum depth of nested elements.
const MAX_DEPTH: usize = 16;

/// An element with its contents. Namespaces are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    pub(super) name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Parses a document whose root must be `root`. `what` names the document in errors.
    pub(super) fn read(body: &str, root: &str, what: &str) -> Result<Self, Error> {
        match document(body) {
            Ok(Some(element)) if element.name == root => Ok(element),
            Ok(Some(element)) => Err(invalid_response(&format!(
                "{what} must have the root element {root}, but has {}",
                element.name
            ))),
            Ok(None) => Err(invalid_response(&format!("{what} is empty"))),
            Err((why, _)) => Err(invalid_response(&format!("{what} cannot be parsed: {why}"))),
        }
    }

    /// Parses the result of a write, which contains the element `said`. Servers give its root different names. A
    /// document with neither that root nor that element is something else, such as a proxy's page, and says nothing
    /// about the write.
    pub(super) fn read_result(body: &str, root: &str, said: &str, what: &str) -> Result<Self, Error> {
        match document(body) {
            Ok(Some(element)) if element.name == root || element.text(said).is_some() => Ok(element),
            _ => Self::read(body, root, what),
        }
    }

    /// All child elements, in order.
    pub(super) fn children(&self) -> impl Iterator<Item = &Self> {
        self.children.iter()
    }

    /// The child elements of this name, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The last child element of this name.
    pub(super) fn last(&self, name: &str) -> Option<&Self> {
        self.children.iter().rfind(|child| child.name == name)
    }

    /// The text of the child element of this name. `None` if it is missing, empty or unreadable.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.last(name)?.own_text()
    }

    /// The child element of this name as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// The child element of this name as a time in RFC 3339 format.
    pub(super) fn time(&self, name: &str) -> Option<SystemTime> {
        self.text(name)?.trim().parse::<jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// The child element of this name as a boolean.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        flag(self.text(name)?)
    }

    /// Whether the element has no text.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the element has no child elements.
    pub(super) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// The text of the element itself. `None` if it is empty or unreadable.
    pub(super) fn own_text(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !text.is_empty() && !text.contains(UNREADABLE))
    }
}

/// Parses a boolean: `true` or `false` in any case, `1` or `0`.
pub(super) fn flag(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") || text == "1" {
        Some(true)
    } else if is("false") || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// Parses a document and returns its root. An error includes the elements that were read before it.
fn document(body: &str) -> Result<Option<Element>, (String, Option<Element>)> {
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let (mut open, mut count) = (Vec::<Element>::new(), 0);
    let outcome = loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => {
                count += 1;
                if count > MAX_ELEMENTS || open.len() == MAX_DEPTH {
                    break Err("too many elements, or nested too deeply".to_owned());
                }
                let name = element.local_name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Ok(Event::End(_)) => {
                let Some(ended) = open.pop() else { break Err("an end tag has no start tag".to_owned()) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(ended),
                    None => break Ok(Some(ended)),
                }
            }
            Ok(Event::Eof) if open.is_empty() => break Ok(None),
            Ok(Event::Eof) => break Err("unexpected end of document".to_owned()),
            Ok(event) => {
                if let (Some(element), Some(text)) = (open.last_mut(), text_of(&event)) {
                    element.text.push_str(&text);
                }
            }
            Err(error) => break Err(error.to_string()),
        }
    };
    outcome.map_err(|why| {
        // Close the elements that are still open.
        let root = open.into_iter().rev().reduce(|ended, mut parent| {
            parent.children.push(ended);
            parent
        });
        (why, root)
    })
}

/// The text of an event. `None` if the event is not text.
pub(super) fn text_of<'a>(event: &'a Event<'a>) -> Option<std::borrow::Cow<'a, str>> {
    Some(match event {
        Event::Text(text) => text.xml10_content(),
        Event::CData(text) => text.xml10_content(),
        Event::GeneralRef(name) => match name.resolve_char_ref() {
            Ok(Some(character)) => String::from(character).into(),
            _ => match resolve_predefined_entity(name) {
                Some(text) => text.into(),
                None => String::from(UNREADABLE).into(),
            },
        },
        _ => return None,
    })
}

/// Converts a body to text, with [`UNREADABLE`] in place of bytes that are not UTF-8.
pub(super) fn into_text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_else(|error| {
        let mut text = String::with_capacity(error.as_bytes().len());
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(UNREADABLE);
            }
        }
        text
    })
}

/// The contents of an error document.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) region: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) host_id: Option<String>,
}

/// The name of the root element, which distinguishes an error from the requested document. The body is parsed rather
/// than searched, because a key in a listing may be named `<Error>`.
pub(super) fn root(body: &str) -> Option<String> {
    let mut reader = Reader::from_str(body);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return Some(element.local_name().as_ref().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Parses `body` as an error document, as far as it can be read. Returns `None` for any other document.
pub(super) fn error(body: &str) -> Option<ErrorBody> {
    if root(body)? != "Error" {
        return None;
    }
    let element = document(body).unwrap_or_else(|(_, begun)| begun)?;
    let text =
        |name: &str| element.text(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Some(ErrorBody {
        code: text("Code"),
        message: text("Message"),
        region: text("Region"),
        request_id: text("RequestId"),
        host_id: text("HostId"),
    })
}

/// Escapes text for use between tags.
pub(super) fn text(text: &str) -> std::borrow::Cow<'_, str> {
    escape(text)
}

/// Whether `key` survives a round trip through XML 1.0 (sections 2.2 and 2.11). Most control characters cannot be
/// written, and a carriage return is read back as a line feed.
pub(super) fn carries(key: &str) -> bool {
    key.chars().all(|c| !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Element, Error> {
        Element::read(body, "Result", "a test")
    }

    #[test]
    fn child_elements_are_found_by_name() {
        let body = "<?xml version='1.0'?>\n<s:Result xmlns:s='x'><s:Key>a &amp;<![CDATA[<b>]]>&#65;</s:Key><s:Size> 7 </s:Size>\
            <s:Flag>TRUE</s:Flag><s:Owner><s:Key>owner</s:Key></s:Owner><s:Empty/><s:Twice>1</s:Twice><s:Twice>2</s:Twice></s:Result>";
        let element = read(body).unwrap();
        assert_eq!(element.text("Key"), Some("a &<b>A"));
        assert_eq!((element.number("Size"), element.flag("Flag")), (Some(7), Some(true)));
        assert_eq!(
            (element.text("Empty"), element.text("Missing"), element.number("Key")),
            (None, None, None)
        );
        assert_eq!((element.text("Twice"), element.all("Twice").count()), (Some("2"), 2));
    }

    #[test]
    fn unreadable_text_does_not_affect_other_elements() {
        for bad in ["&#0;", "&#xD800;", "&unknown;", "\u{ffff}"] {
            let element = read(&format!("<Result><Key>a{bad}</Key><Size>1</Size></Result>")).unwrap();
            assert_eq!((element.text("Key"), element.number("Size")), (None, Some(1)), "{bad}");
        }
        assert_eq!(into_text(b"a\xff\xfeb".to_vec()), "a\u{ffff}\u{ffff}b");
    }

    #[test]
    fn other_documents_are_rejected() {
        for body in ["", "<html/>", "<Result>", "<Result></Other>", "text", "</Result>"] {
            assert!(read(body).is_err(), "{body}");
        }
        assert!(read(&format!("<Result>{}</Result>", "<a/>".repeat(MAX_ELEMENTS))).is_err());
        assert!(read(&"<Result>".repeat(100_000)).is_err());
    }

    #[test]
    fn the_result_of_a_write_is_recognised_by_its_root_or_its_element() {
        let read = |body: &str| Element::read_result(body, "CopyResult", "ETag", "a test");
        assert!(read("<CopyResult/>").unwrap().text("ETag").is_none());
        assert_eq!(read("<Copied><ETag>e</ETag></Copied>").unwrap().text("ETag"), Some("e"));
        for body in
            ["<html><body>ETag</body></html>", "<Copied><ETag/></Copied>", "", "<Copied><ETag>e</ETag>"]
        {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_error_is_recognised_by_its_root() {
        let body = "<?xml version=\"1.0\"?>\n<Error><Code> SlowDown\n</Code><Message>Reduce</Message>\
            <Key>x</Key><RequestId>R</RequestId><HostId>H</HostId></Error>";
        let error = error(body).unwrap();
        assert_eq!((error.code.as_deref(), error.request_id.as_deref()), (Some("SlowDown"), Some("R")));
        assert!(
            super::error("<ListBucketResult><Key>&lt;Error&gt;SlowDown</Key></ListBucketResult>").is_none()
        );
        assert!(super::error("<html>502").is_none());
        assert!(super::error("").is_none());
    }

    #[test]
    fn a_damaged_error_is_parsed_as_far_as_possible() {
        for body in
            ["<Error><Code>SlowDown</Code><Code>SlowDown</Code></Error>", "<Error><Code>SlowDown</Code><Mess"]
        {
            assert_eq!(error(body).unwrap().code.as_deref(), Some("SlowDown"), "{body}");
        }
    }

    #[test]
    fn keys_that_xml_would_change_are_detected() {
        assert!(carries("a b&<>é🚢"));
        for key in ["a\rb", "a\u{1}", "\0", "a\nb"] {
            assert!(!carries(key));
        }
    }
}
