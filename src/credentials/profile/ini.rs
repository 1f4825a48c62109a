//! The format of the AWS SDKs' shared files, as Python's `RawConfigParser` reads it for boto3.

use std::collections::{BTreeMap, BTreeSet};

use super::words;

/// The settings of a section. Keys are in lower case. A value that begins with a line break has settings of its own.
pub(super) type Settings = BTreeMap<String, String>;

/// The sections of a file, in its order. No name appears twice.
pub(super) type Sections = Vec<(String, Settings)>;

/// A line that is invalid. It does not contain the line's text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidLine {
    /// Counted from 1.
    pub(super) number: usize,
    /// What is wrong or would be right.
    pub(super) why: &'static str,
}

/// The section whose settings all others inherit.
const INHERITED: &str = "DEFAULT";

const EXPECTED: &str = "expected [SECTION] or KEY = VALUE";

/// The section that a line belongs to.
#[derive(Default)]
enum Current {
    /// There was none yet.
    #[default]
    Missing,
    /// That which others inherit.
    Inherited,
    /// The section with this index.
    Own(usize),
}

/// The state of the parser after a line.
#[derive(Default)]
struct Parser {
    sections: Sections,
    inherited: Settings,
    section: Current,
    /// The key that an indented line continues, and its indentation.
    key: Option<String>,
    indent: usize,
    /// The keys of the section that were set.
    set: BTreeSet<String>,
}

/// Parses a file into its sections. A line that is indented more than the key before it continues that key's value.
pub(super) fn parse(text: &str) -> Result<Sections, InvalidLine> {
    let mut parser = Parser::default();
    for (number, line) in (1_usize..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with(['#', ';']) {
            let indent = line.len() - line.trim_start().len();
            parser.line(trimmed, indent).map_err(|why| InvalidLine { number, why })?;
        }
    }
    for (_, settings) in &mut parser.sections {
        for (key, value) in &parser.inherited {
            settings.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Ok(parser.sections)
}

impl Parser {
    fn line(&mut self, line: &str, indent: usize) -> Result<(), &'static str> {
        if indent > self.indent
            && let Some(key) = self.key.clone()
        {
            return self.continued(&key, line);
        }
        self.indent = indent;
        let name = line.strip_prefix('[').and_then(|rest| Some(&rest[..rest.rfind(']')?]));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return self.begin(name);
        }
        let at = line.find(['=', ':']).filter(|at| *at > 0).ok_or(EXPECTED)?;
        let key = line[..at].trim().to_lowercase();
        let value = line[at + 1..].trim().to_owned();
        if !self.set.insert(key.clone()) {
            return Err("repeats a key of its section: remove one of the two");
        }
        self.settings().ok_or(EXPECTED)?.insert(key.clone(), value);
        self.key = Some(key);
        Ok(())
    }

    fn begin(&mut self, name: &str) -> Result<(), &'static str> {
        self.key = None;
        if name == INHERITED {
            // Python allows this section to be repeated, but not its keys.
            self.set = self.inherited.keys().cloned().collect();
            self.section = Current::Inherited;
            return Ok(());
        }
        if self.sections.iter().any(|(other, _)| other == name) {
            return Err("repeats a section: merge the two");
        }
        self.set.clear();
        self.sections.push((name.to_owned(), Settings::new()));
        self.section = Current::Own(self.sections.len() - 1);
        Ok(())
    }

    fn continued(&mut self, key: &str, line: &str) -> Result<(), &'static str> {
        let Some(value) = self.settings().and_then(|settings| settings.get_mut(key)) else { return Ok(()) };
        if (value.is_empty() || value.starts_with('\n')) && !line.contains('=') {
            return Err("expected KEY = VALUE below a key without a value");
        }
        value.push('\n');
        value.push_str(line);
        Ok(())
    }

    fn settings(&mut self) -> Option<&mut Settings> {
        match self.section {
            Current::Missing => None,
            Current::Inherited => Some(&mut self.inherited),
            Current::Own(index) => self.sections.get_mut(index).map(|(_, settings)| settings),
        }
    }
}

/// A setting below one without a value, such as `addressing_style` below `s3 =`.
pub(super) fn nested<'a>(settings: &'a Settings, section: &str, key: &str) -> Option<&'a str> {
    let lines = settings.get(section)?.strip_prefix('\n')?.lines();
    let pairs = lines.filter_map(|line| line.split_once('='));
    // Of a repeated one, the last counts.
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next_back()
}

/// What a section of the config file describes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Profile(String),
    SsoSession(String),
    Services(String),
}

/// `[default]`, or a word and a name, which may be quoted, as in `[profile NAME]`.
pub(super) fn kind(section: &str) -> Option<SectionKind> {
    if section == "default" {
        return Some(SectionKind::Profile(section.to_owned()));
    }
    let words = words::split(section)?;
    let [_, name] = &words[..] else { return None };
    // botocore looks at the beginning of the first word, too.
    let kinds = [
        ("profile", SectionKind::Profile as fn(String) -> SectionKind),
        ("sso-session", SectionKind::SsoSession),
        ("services", SectionKind::Services),
    ];
    let (_, kind) = kinds.into_iter().find(|(word, _)| section.starts_with(word))?;
    Some(kind(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> BTreeMap<String, Settings> {
        parse(text).unwrap().into_iter().collect()
    }

    #[test]
    fn sections_keys_comments_and_continued_values_are_read() {
        let text = "\u{feff}# comment\n[default]\nRegion = eu-west-1\r\ns3 =\n  addressing_style = path\n\
                    \n; other\n[profile \"my team\"]\nrole_arn: arn:aws:iam::1:role/x\nempty =\n";
        let parsed = sections(text);
        assert_eq!(parsed["default"]["region"], "eu-west-1");
        assert_eq!(nested(&parsed["default"], "s3", "addressing_style"), Some("path"));
        assert_eq!(nested(&parsed["default"], "s3", "other"), None);
        let team = &parsed["profile \"my team\""];
        assert_eq!((team["role_arn"].as_str(), team["empty"].as_str()), ("arn:aws:iam::1:role/x", ""));
        let indented = sections(
            "  [default]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n  s3 =\n    x = y\n  [b]\n",
        );
        assert_eq!(indented["default"]["aws_access_key_id"], "A");
        assert_eq!(indented["default"]["aws_secret_access_key"], "s");
        assert_eq!(indented["default"]["s3"], "\nx = y");
        assert!(indented.contains_key("b"));
    }

    #[test]
    fn sections_inherit_from_the_one_in_capitals() {
        let parsed = sections("[DEFAULT]\na = 1\nb = 2\n[x]\nb = 3\n[DEFAULT]\nc = 4\n");
        assert_eq!(parsed.len(), 1);
        let values: Vec<_> = parsed["x"].values().map(String::as_str).collect();
        assert_eq!(values, ["1", "3", "4"]);
    }

    #[test]
    fn profiles_and_sessions_have_sections_of_their_own() {
        let profile = |name: &str| Some(SectionKind::Profile(name.to_owned()));
        assert_eq!(kind("default"), profile("default"));
        assert_eq!(kind("profile \"my team\""), profile("my team"));
        assert_eq!(kind("profile default"), profile("default"));
        assert_eq!(kind("sso-session x"), Some(SectionKind::SsoSession("x".to_owned())));
        assert_eq!(kind("services x"), Some(SectionKind::Services("x".to_owned())));
        for other in ["profile 'x", "profile a b", "profile", " default ", "other x"] {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_that_is_no_setting_is_an_error_with_its_number() {
        for (text, number) in [
            ("[a]\nhush\n", 2),
            ("x = 1\n", 1),
            ("[a\n", 1),
            ("[]\n", 1),
            ("[a]\n = 1", 2),
            ("[a]\nx = 1\nX = 2", 3),
            ("[a]\n[b]\n[a]", 3),
            ("[a]\nx =\n  hush", 3),
        ] {
            assert_eq!(parse(text).unwrap_err().number, number, "{text}");
        }
    }
}
