//! Syntax errors as people know them: the line, and a caret under the mistake.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::error::BadModule;

/// How many modules are shown; the others are counted.
pub(super) const SHOWN: usize = 5;

/// The longest piece of a line that is shown, in characters.
const WIDTH: usize = 200;

/// Renders the first errors. A single one has no headline: the error's own message says the same.
pub(super) fn render(modules: &[BadModule]) -> String {
    let renderer = Renderer::plain();
    let mut shown: Vec<String> = Vec::new();
    for module in modules.iter().take(SHOWN) {
        let title = Level::ERROR.primary_title(module.error.message.as_str());
        let line: String = module.error.text.chars().take(WIDTH).map(visible).collect();
        let line = line.trim_end();
        let report = if module.error.line == 0 || line.is_empty() {
            format!("error: {}\n --> {}", module.error.message, module.path)
        } else {
            let snippet = Snippet::source(line)
                .path(module.path.as_str())
                .line_start(module.error.line as usize)
                .annotation(AnnotationKind::Primary.span(span(line, module.error.column as usize)));
            renderer.render(&[title.element(snippet)])
        };
        shown.push(report);
    }
    if let [only] = &shown[..] {
        return only.split_once('\n').map_or_else(String::new, |(_, place)| place.to_string());
    }
    shown.join("\n")
}

/// The bytes of the character in this column, which is counted from 1.
fn span(line: &str, column: usize) -> std::ops::Range<usize> {
    let mut starts = line.char_indices().skip(column.saturating_sub(1));
    match starts.next() {
        Some((start, char)) => start..start + char.len_utf8(),
        None => line.len()..line.len(),
    }
}

/// What a terminal would act on, or what changes the order of letters, is not shown as it is.
fn visible(char: char) -> char {
    match char {
        '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        char if char.is_control() => '\u{fffd}',
        char => char,
    }
}
