//! Where something is written in the project file, so that an error can show it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::error::Error as ProjectError;
use crate::error::Error;

/// The text of a project file and its name.
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// A file with this name and text.
    pub fn new(path: &Path, text: String) -> Arc<Source> {
        Arc::new(Source { path: path.strip_prefix("./").unwrap_or(path).to_path_buf(), text })
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A piece of a project file.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// The bytes `span` of `source`. What is not inside of the text, or cuts a character, is moved until it fits.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Place {
        let text = &source.text;
        let fit = |at: usize| {
            let mut at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (fit(span.start), fit(span.end));
        Place { source: source.clone(), span: start..end.max(start) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// What is written there.
    pub fn text(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }

    /// Line and column in characters, both counted from 1.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// A usage error that shows this place.
    pub fn error(&self, message: impl Into<String>, hint: Option<String>) -> Error {
        self.mistake(message, hint).into()
    }

    /// The same, as this room's error.
    pub(super) fn mistake(&self, message: impl Into<String>, hint: Option<String>) -> ProjectError {
        ProjectError::Mistake { message: message.into(), hint, details: None, place: self.clone() }
    }

    /// An error at this place, with lines that belong to it.
    pub fn error_with(&self, message: impl Into<String>, hint: Option<String>, details: Option<String>) -> Error {
        ProjectError::Mistake { message: message.into(), hint, details, place: self.clone() }.into()
    }

    /// File, line and column, the line itself, and a caret below it: plain text.
    pub fn render(&self) -> String {
        let text = &self.source.text;
        // Only the first line of a long value: a caret, not a mural.
        let length = self.text().find(['\n', '\r']).unwrap_or(self.text().len());
        let span = self.span.start..self.span.start + length;
        let path = self.source.path.display().to_string();
        let snippet = Snippet::source(text.as_str()).path(path).annotation(AnnotationKind::Primary.span(span));
        Renderer::plain().render(&[Group::with_level(Level::ERROR).element(snippet)])
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.path.display())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written; for a default, the table that lacks the key.
    pub at: Place,
}

impl<T> Located<T> {
    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_render_with_a_caret() {
        let source = Source::new(Path::new("./ingot.toml"), "[a]\nné = \"x\"\ny = [\n1,\n]\n".into());
        let place = Place::new(&source, 10..13);
        assert_eq!(place.to_string(), "ingot.toml:2:6");
        insta::assert_snapshot!(place.render(), @r#"
         --> ingot.toml:2:6
          |
        2 | né = "x"
          |      ^^^
        "#);
        // A value of several lines, the end of the file, and nonsense, are places too.
        assert!(Place::new(&source, 18..24).render().contains("ingot.toml:3:"));
        assert!(Place::new(&source, Range { start: 999, end: 1 }).render().contains("ingot.toml:"));
    }
}
