//! Problems in the settings, and their places.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use secrecy::zeroize::Zeroizing;

use super::{Folder, LocalPath, ReadFiles, UNTRUSTED, Variables};

/// A place in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    source: Source,
    path: String,
}

/// What contains the setting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    Variable(String),
    File(Arc<str>),
    Line(Arc<str>, usize),
    Column(Arc<str>, usize, usize),
}

impl Place {
    /// An environment variable.
    pub(crate) fn variable(name: impl Into<String>) -> Self {
        Self { source: Source::Variable(name.into()), path: String::new() }
    }

    /// A file or folder as a whole.
    pub(crate) fn file(file: impl Into<Arc<str>>) -> Self {
        Self { source: Source::File(file.into()), path: String::new() }
    }

    /// A line of a file, counted from 1.
    pub(crate) fn line(file: impl Into<Arc<str>>, line: usize) -> Self {
        Self { source: Source::Line(file.into(), line), path: String::new() }
    }

    /// A character of a file; line and column are counted from 1.
    pub(crate) fn column(file: impl Into<Arc<str>>, line: usize, column: usize) -> Self {
        Self { source: Source::Column(file.into(), line, column), path: String::new() }
    }

    /// The same source, with the dotted path of a setting.
    pub(crate) fn at(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// The name of the environment variable, if the place is one.
    pub fn variable_name(&self) -> Option<&str> {
        match &self.source {
            Source::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// The line in the file, counted from 1, if it is known.
    pub fn line_number(&self) -> Option<usize> {
        match self.source {
            Source::Line(_, line) | Source::Column(_, line, _) => Some(line),
            Source::Variable(_) | Source::File(_) => None,
        }
    }

    /// The variable, or the file and the line, without the path of the setting.
    pub(crate) fn source(&self) -> String {
        self.clone().at("").to_string()
    }

    /// Problems are sorted by variable and by line.
    fn order(&self) -> (Option<&str>, Option<usize>) {
        (self.variable_name(), self.line_number())
    }

    /// The dotted path, such as `tenants.acme.stores.default.config.region`; empty if the place has none.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Variable(text) => f.write_str(text)?,
            Source::File(text) => f.write_str(text)?,
            Source::Line(file, line) => write!(f, "{file}:{line}")?,
            Source::Column(file, line, column) => write!(f, "{file}:{line}:{column}")?,
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, ": {}", self.path) }
    }
}

/// One problem: its place, what is wrong, and what would be right. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    place: Place,
    text: String,
}

impl Problem {
    /// Replaces control characters, such as line breaks in an error of the operating system, with spaces: a problem is
    /// one line.
    pub(crate) fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into().replace(char::is_control, " ") }
    }

    /// The place of the problem.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong and what would be right, without the place.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Problems. Those of one file are sorted by line. `Display` writes one per line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of problems.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Iterates over the problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    pub(crate) fn add(&mut self, place: Place, text: impl Into<String>) {
        self.0.push(Problem::new(place, text));
    }

    pub(crate) fn append(&mut self, more: Problems) {
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

/// How many problems of a file are listed. Further ones appear once these are corrected.
const MAX_LISTED: usize = 1_000;

/// Collects, while one file is read, its problems and the places that later checks may refer to.
///
/// Readers record problems through a shared reference and continue, instead of returning the first one as an error.
pub(crate) struct Notes {
    file: Arc<str>,
    variables: Arc<Variables>,
    places: RefCell<Vec<Place>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    seen: RefCell<HashSet<Problem>>,
    files: RefCell<ReadFiles>,
    /// Whether a problem has been left out since the last call of `take`.
    left_out: Cell<bool>,
    /// The only folder that the file's paths may lead to, if its author is not trusted.
    confined_to: Option<Arc<Folder>>,
}

/// The number of a place in `Notes`. Of two places, the later one is usually the more specific, since defaults are read
/// before stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceId(usize);

impl Notes {
    /// Notes about `file`. A secret in it may refer to one of the `variables`.
    pub(crate) fn new(file: impl Into<Arc<str>>, variables: &Arc<Variables>) -> Self {
        Self {
            file: file.into(),
            variables: Arc::clone(variables),
            places: RefCell::default(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
            seen: RefCell::default(),
            files: RefCell::default(),
            left_out: Cell::new(false),
            confined_to: None,
        }
    }

    /// The same notes, for a file whose author is not trusted: it sees none of the variables, and its paths must be in
    /// `folder`.
    pub(crate) fn untrusted(self, folder: Folder) -> Self {
        let variables = Arc::new(self.variables.hidden());
        Self { variables, confined_to: Some(Arc::new(folder)), ..self }
    }

    /// Whether the author of the file may use the server's own identity, variables and files.
    pub(crate) fn trusts_author(&self) -> bool {
        self.confined_to.is_none()
    }

    /// The path, confined to the file's own folder if the author of the file is not trusted.
    pub(crate) fn confine(&self, path: LocalPath) -> Result<LocalPath, String> {
        let Some(folder) = &self.confined_to else { return Ok(path) };
        path.clone().confined(folder).map_err(|why| {
            // So that a link that is mended counts as a change. Opening it fails for the same reason.
            let _ = self.read_file(&path.within(folder), 1);
            format!("{why}, {UNTRUSTED}: put the file into {}", folder.path().display())
        })
    }

    pub(crate) fn file(&self) -> Arc<str> {
        Arc::clone(&self.file)
    }

    /// The environment variables.
    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Reads a file that a setting names, at most `limit` bytes of it, and records that its contents are part of the
    /// settings.
    pub(crate) fn read_file(&self, path: &LocalPath, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.files.borrow_mut().read(path, limit)
    }

    /// The files that were read for settings.
    pub(crate) fn take_files(&self) -> ReadFiles {
        self.files.take()
    }

    /// Records a place that later checks may refer to.
    pub(crate) fn record_place(&self, place: Place) -> PlaceId {
        let mut places = self.places.borrow_mut();
        places.push(place);
        PlaceId(places.len() - 1)
    }

    /// The place with this id.
    pub(crate) fn place(&self, place_id: PlaceId) -> Place {
        self.places.borrow().get(place_id.0).cloned().unwrap_or_else(|| Place::file(self.file()))
    }

    /// Records a problem at a remembered place.
    pub(crate) fn problem(&self, place_id: PlaceId, text: impl Into<String>) {
        self.problem_at(self.place(place_id), text);
    }

    /// Records a problem, unless the same one has been recorded: all stores inherit the problems of the defaults. Beyond
    /// [`MAX_LISTED`] problems, records only that there is one.
    pub(crate) fn problem_at(&self, place: Place, text: impl Into<String>) {
        self.problem_with(place, || text.into());
    }

    /// Like `problem_at`, but calls `text` only if the problem is listed.
    pub(crate) fn problem_with(&self, place: Place, text: impl FnOnce() -> String) {
        if self.seen.borrow().len() >= MAX_LISTED {
            self.left_out.set(true);
            return;
        }
        let problem = Problem::new(place, text());
        if self.seen.borrow_mut().insert(problem.clone()) {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// Records something that is valid, but probably not meant. Beyond [`MAX_LISTED`] warnings, it is left out.
    pub(crate) fn warn(&self, place: Place, text: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_LISTED {
            warnings.push(Problem::new(place, text));
        }
    }

    /// How many problems have been recorded and not taken yet.
    pub(crate) fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Takes the warnings recorded since the last call, sorted by variable and line.
    pub(crate) fn take_warnings(&self) -> Problems {
        sorted(self.warnings.take())
    }

    /// Takes the problems recorded since the last call, sorted by variable and line. If some of them were left out, the
    /// last one says so, at `place`.
    pub(crate) fn take(&self, place: &Place) -> Problems {
        let mut problems = sorted(self.problems.take());
        if self.left_out.take() {
            let text =
                format!("has problems that are not listed: the file has more than {MAX_LISTED} problems");
            problems.add(place.clone(), text);
        }
        problems
    }
}

fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by(|a, b| a.place.order().cmp(&b.place.order()));
    Problems(problems)
}
