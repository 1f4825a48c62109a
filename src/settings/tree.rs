//! A tree of values in which every node knows where it comes from.

/// One value from a settings file, or from an environment variable.
///
/// Does not implement `Debug`, because it may contain a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

/// Where a node comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// On this line of the file, counted from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
}

/// The value of a node.
#[derive(Clone)]
pub(crate) enum Content {
    Null,
    Flag(bool),
    Integer(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file. No string key appears twice.
    Mapping(Vec<(Node, Node)>),
    /// A value with a YAML tag.
    Tagged,
}

impl Node {
    /// The value of an environment variable.
    pub(crate) fn variable(name: &str, value: &str) -> Self {
        Self { origin: Origin::Variable(name.to_owned()), content: Content::Text(value.to_owned()) }
    }

    /// The string, if the node is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}
