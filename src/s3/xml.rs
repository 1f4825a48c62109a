//! The XML of S3's answers and requests.

use std::time::SystemTime;

use quick_xml::{
    Reader,
    escape::{escape, resolve_predefined_entity},
    events::Event,
};

use super::{Error, headers::not_s3};

/// Stands in text for what could not be read there: bytes that are not UTF-8, and references to characters that do not exist. XML
/// has no such character (XML 1.0, section 2.2).
pub(super) const UNREADABLE: char = '\u{ffff}';

/// The most elements of a document, and how deep they may be nested: what is read takes far more memory than its text.
const MAX_ELEMENTS: usize = 100_000;
const MAX_DEPTH: usize = 16;

/// An element with all that is in it. Namespaces are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    pub(super) name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document whose root has this name.
    pub(super) fn read(body: &str, root: &str, what: &str) -> Result<Self, Error> {
        match document(body) {
            Ok(Some(element)) if element.name == root => Ok(element),
            Ok(Some(element)) => Err(not_s3(&format!("{what} is no {root}, but {}", element.name))),
            Ok(None) => Err(not_s3(&format!("{what} is empty"))),
            Err((why, _)) => Err(not_s3(&format!("{what} cannot be read: {why}"))),
        }
    }

    /// Reads the result of a write, which says something by the element `said`. Servers call its root differently; what has neither the right
    /// name nor that element is another document, such as a page of a proxy's, and says nothing of the write.
    pub(super) fn read_result(body: &str, root: &str, said: &str, what: &str) -> Result<Self, Error> {
        match document(body) {
            Ok(Some(element)) if element.name == root || element.text(said).is_some() => Ok(element),
            _ => Self::read(body, root, what),
        }
    }

    /// The elements of this name, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element of this name; of several, the last.
    pub(super) fn last(&self, name: &str) -> Option<&Self> {
        self.children.iter().rfind(|child| child.name == name)
    }

    /// The text of the element of this name; `None` where that is missing, empty or unreadable.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.last(name)?.own_text()
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// A time as in RFC 3339.
    pub(super) fn time(&self, name: &str) -> Option<SystemTime> {
        self.text(name)?.trim().parse::<jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// Yes or no, however it is spelt.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        flag(self.text(name)?)
    }

    /// Whether it has no text.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it has no elements.
    pub(super) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    fn own_text(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !text.is_empty() && !text.contains(UNREADABLE))
    }
}

/// Yes or no, however it is spelt.
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

/// The root of a document; an error has what was read before it.
fn document(body: &str) -> Result<Option<Element>, (String, Option<Element>)> {
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let (mut open, mut count) = (Vec::<Element>::new(), 0);
    let outcome = loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => {
                count += 1;
                if count > MAX_ELEMENTS || open.len() == MAX_DEPTH {
                    break Err("it has too many elements".to_owned());
                }
                let name = element.local_name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Ok(Event::End(_)) => {
                let Some(ended) = open.pop() else { break Err("it ends twice".to_owned()) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(ended),
                    None => break Ok(Some(ended)),
                }
            }
            Ok(Event::Eof) if open.is_empty() => break Ok(None),
            Ok(Event::Eof) => break Err("it ends too early".to_owned()),
            Ok(event) => {
                if let (Some(element), Some(text)) = (open.last_mut(), text_of(&event)) {
                    element.text.push_str(&text);
                }
            }
            Err(error) => break Err(error.to_string()),
        }
    };
    outcome.map_err(|why| {
        // What is open ends here.
        let root = open.into_iter().rev().reduce(|ended, mut parent| {
            parent.children.push(ended);
            parent
        });
        (why, root)
    })
}

/// The text that an event stands for.
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

/// A body as text, with [`UNREADABLE`] for what is not UTF-8.
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

/// The body of an error.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) region: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) host_id: Option<String>,
}

/// The name of the root element, for telling an error from what was asked for. Parsed rather than searched
/// for: a key in a listing may well be called `<Error>`.
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

/// The error in `body`, if that is what it is; as much of it as can be read.
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

/// Text between tags.
pub(super) fn text(text: &str) -> std::borrow::Cow<'_, str> {
    escape(text)
}

/// Whether XML 1.0 can carry `key` and a parser will read it back as it was (XML 1.0, sections 2.2 and 2.11):
/// most control characters cannot be written, and a carriage return comes back as a line feed.
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
    fn elements_are_read_by_name_wherever_they_stand() {
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
    fn what_cannot_be_read_is_unknown_and_leaves_the_rest() {
        for bad in ["&#0;", "&#xD800;", "&unknown;", "\u{ffff}"] {
            let element = read(&format!("<Result><Key>a{bad}</Key><Size>1</Size></Result>")).unwrap();
            assert_eq!((element.text("Key"), element.number("Size")), (None, Some(1)), "{bad}");
        }
        assert_eq!(into_text(b"a\xff\xfeb".to_vec()), "a\u{ffff}\u{ffff}b");
    }

    #[test]
    fn another_document_is_told() {
        for body in ["", "<html/>", "<Result>", "<Result></Other>", "text", "</Result>"] {
            assert!(read(body).is_err(), "{body}");
        }
        assert!(read(&format!("<Result>{}</Result>", "<a/>".repeat(MAX_ELEMENTS))).is_err());
        assert!(read(&"<Result>".repeat(100_000)).is_err());
    }

    #[test]
    fn the_result_of_a_write_is_told_by_its_root_or_by_what_it_says() {
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
    fn an_error_is_told_by_its_root() {
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
    fn as_much_of_an_error_is_read_as_there_is() {
        for body in
            ["<Error><Code>SlowDown</Code><Code>SlowDown</Code></Error>", "<Error><Code>SlowDown</Code><Mess"]
        {
            assert_eq!(error(body).unwrap().code.as_deref(), Some("SlowDown"), "{body}");
        }
    }

    #[test]
    fn keys_that_xml_would_change_are_known() {
        assert!(carries("a b&<>é🚢"));
        for key in ["a\rb", "a\u{1}", "\0", "a\nb"] {
            assert!(!carries(key));
        }
    }
}
