//! What is wrong with the settings, and where.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::{self, Write as _},
    rc::Rc,
};

/// Where in the settings something stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    source: Source,
    path: String,
}

/// What holds the setting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    Variable(String),
    File(String),
    Line(String, usize),
    Column(String, usize, usize),
}

impl Place {
    /// An environment variable.
    pub(super) fn variable(name: impl Into<String>) -> Self {
        Self { source: Source::Variable(name.into()), path: String::new() }
    }

    /// A file or folder as a whole.
    pub(super) fn file(file: impl Into<String>) -> Self {
        Self { source: Source::File(file.into()), path: String::new() }
    }

    /// A line of a file, counted from 1.
    pub(super) fn line(file: impl Into<String>, line: usize) -> Self {
        Self { source: Source::Line(file.into(), line), path: String::new() }
    }

    /// A character of a file; line and column are counted from 1.
    pub(super) fn column(file: impl Into<String>, line: usize, column: usize) -> Self {
        Self { source: Source::Column(file.into(), line, column), path: String::new() }
    }

    /// The same, as the setting at this dotted path.
    pub(super) fn at(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The environment variable, if it is one.
    pub fn variable_name(&self) -> Option<&str> {
        match &self.source {
            Source::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// The line in its file, counted from 1.
    pub fn line_number(&self) -> Option<usize> {
        match self.source {
            Source::Line(_, line) | Source::Column(_, line, _) => Some(line),
            Source::Variable(_) | Source::File(_) => None,
        }
    }

    /// The dotted path such as `tenants.acme.stores.default.config.region`; empty outside of a mapping.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Variable(text) | Source::File(text) => f.write_str(text)?,
            Source::Line(file, line) => write!(f, "{file}:{line}")?,
            Source::Column(file, line, column) => write!(f, "{file}:{line}:{column}")?,
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, ": {}", self.path) }
    }
}

/// One thing that is wrong: where, what, and what would be right. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    place: Place,
    text: String,
}

impl Problem {
    /// A line break in the text, such as from an error of the system, becomes a space: one problem is one line.
    pub(super) fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into().replace(char::is_control, " ") }
    }

    /// Where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong, and what would be right.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Everything that is wrong, in the order of the settings. Displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    pub(super) fn add(&mut self, place: Place, text: impl Into<String>) {
        self.0.push(Problem::new(place, text));
    }

    pub(super) fn append(&mut self, more: Problems) {
        self.0.extend(more.0);
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is noted while one file is read: places that later rules may have to point at, and problems.
///
/// Shared by reference, so that reading goes on after a problem and finds the next one.
pub(super) struct Notes {
    file: Rc<str>,
    places: RefCell<Vec<Place>>,
    problems: RefCell<Vec<Problem>>,
    seen: RefCell<HashSet<Problem>>,
}

/// A place that `Notes` remembers. A later one is the more specific: defaults are read before stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot(usize);

impl Spot {
    pub(super) fn number(self) -> usize {
        self.0
    }

    pub(super) fn from_number(number: usize) -> Self {
        Self(number)
    }
}

impl Notes {
    pub(super) fn new(file: impl Into<Rc<str>>) -> Self {
        Self {
            file: file.into(),
            places: RefCell::default(),
            problems: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Remembers a place.
    pub(super) fn spot(&self, place: Place) -> Spot {
        let mut places = self.places.borrow_mut();
        places.push(place);
        Spot(places.len() - 1)
    }

    /// The place behind `spot`.
    pub(super) fn place(&self, spot: Spot) -> Place {
        self.places.borrow().get(spot.0).cloned().unwrap_or_else(|| Place::file(&*self.file))
    }

    /// Notes a problem at a remembered place.
    pub(super) fn problem(&self, spot: Spot, text: impl Into<String>) {
        self.problem_at(self.place(spot), text);
    }

    /// Notes a problem; one that every store inherits from the defaults is noted once.
    pub(super) fn problem_at(&self, place: Place, text: impl Into<String>) {
        let problem = Problem::new(place, text);
        if self.seen.borrow_mut().insert(problem.clone()) {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// The problems noted since the last time, by line.
    pub(super) fn take(&self) -> Problems {
        let mut problems = self.problems.take();
        problems.sort_by_key(|problem| problem.place.line_number());
        Problems(problems)
    }
}
