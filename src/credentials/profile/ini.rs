//! The format of the AWS SDKs' shared files, as Python's configparser reads it for boto3.

use std::collections::BTreeMap;

/// The settings of a section. Keys are in lower case.
pub(super) type Settings = BTreeMap<String, String>;

/// Parses a file into its sections. A line that is indented more than the
/// key before it continues that key's value. The error has the
/// number of the line, and nothing of its content.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Settings>, usize> {
    let mut sections = BTreeMap::<String, Settings>::new();
    let (mut section, mut key, mut key_indent) = (None::<String>, None::<String>, 0);
    for (number, line) in (1_usize..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let settings = section.as_ref().and_then(|section| sections.get_mut(section));
        let indent = line.len() - line.trim_start().len();
        if indent > key_indent
            && let Some(value) = settings.zip(key.as_ref()).and_then(|(settings, key)| settings.get_mut(key))
        {
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split_once(']').ok_or(number)?.0.trim().to_owned();
            sections.entry(name.clone()).or_default();
            (section, key, key_indent) = (Some(name), None, indent);
            continue;
        }
        let at = trimmed.find(['=', ':']).filter(|at| *at > 0).ok_or(number)?;
        let (name, value) = (trimmed[..at].trim().to_lowercase(), trimmed[at + 1..].trim().to_owned());
        let settings = section.as_ref().and_then(|section| sections.get_mut(section)).ok_or(number)?;
        settings.insert(name.clone(), value);
        (key, key_indent) = (Some(name), indent);
    }
    Ok(sections)
}

/// The name of the profile that a section of the config file describes: `[default]` or `[profile NAME]`, where the name
/// may be quoted.
pub(super) fn profile_name(section: &str) -> Option<String> {
    let words = shlex::split(section)?;
    match &words[..] {
        [name] if name == "default" => Some(name.clone()),
        [word, name] if word == "profile" => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_comments_and_continued_values_are_read() {
        let text = "\u{feff}# comment\n[default]\nRegion = eu-west-1\r\ns3 =\n  addressing_style = path\n\
                    \n; other\n[profile \"my team\"]\nrole_arn: arn:aws:iam::1:role/x\nempty =\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections["default"]["region"], "eu-west-1");
        assert_eq!(sections["default"]["s3"], "\naddressing_style = path");
        let team = &sections["profile \"my team\""];
        assert_eq!((team["role_arn"].as_str(), team["empty"].as_str()), ("arn:aws:iam::1:role/x", ""));
        let names: Vec<_> = sections.keys().map(|section| profile_name(section)).collect();
        assert_eq!(names, [Some("default".to_owned()), Some("my team".to_owned())]);
        let indented = parse(
            "  [default]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n  s3 =\n    x = y\n  [b]\n",
        )
        .unwrap();
        assert_eq!(indented["default"]["aws_access_key_id"], "A");
        assert_eq!(indented["default"]["aws_secret_access_key"], "s");
        assert_eq!(indented["default"]["s3"], "\nx = y");
        assert!(indented.contains_key("b"));
        assert_eq!(profile_name("sso-session x"), None);
        assert_eq!(profile_name("profile 'x"), None);
    }

    #[test]
    fn a_line_that_is_no_setting_is_an_error_with_its_number() {
        for (text, line) in [("[a]\nhush\n", 2), ("x = 1\n", 1), ("[a\n", 1), ("[a]\n = 1", 2)] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }
}
