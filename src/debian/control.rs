//! Paragraphs of `Name: value` fields: control files, indexes, dpkg's status, deb822 sources (deb822(5)).

/// One paragraph. Names are compared without regard to case; the first of two fields with one name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Reads one paragraph; lines that are no field are passed over, as dpkg's readers of foreign files do.
    pub fn parse(text: &str) -> Paragraph {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if line.starts_with('#') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim_end());
                }
                continue;
            }
            if let Some((name, value)) = line.split_once(':')
                && !name.is_empty()
                && !name.contains(char::is_whitespace)
            {
                fields.push((name.to_string(), value.trim().to_string()));
            }
        }
        Paragraph { fields }
    }

    /// The value of a field; its further lines begin with a line feed and a space.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets a field: at its place if it is there, else at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value.to_string(),
            None => self.fields.push((name.to_string(), value.to_string())),
        }
    }

    /// Inserts a field before all others but the first `at`.
    pub fn insert(&mut self, at: usize, name: &str, value: &str) {
        self.fields.insert(at.min(self.fields.len()), (name.to_string(), value.to_string()));
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Names and values in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// As text, with a final line feed and without an empty line.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.fields {
            text.push_str(name);
            text.push(':');
            if !value.is_empty() && !value.starts_with('\n') {
                text.push(' ');
            }
            text.push_str(value);
            text.push('\n');
        }
        text
    }
}

/// The texts of a file's paragraphs, separated by lines that are empty or white.
pub fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let mut end = 0;
            let mut next = rest.len();
            let mut at = 0;
            for line in rest.split_inclusive('\n') {
                if line.trim().is_empty() {
                    next = at + line.len();
                    break;
                }
                at += line.len();
                end = at;
            }
            let (text, after) = (rest.get(..end)?, rest.get(next..)?);
            rest = after;
            if !text.is_empty() {
                return Some(text);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written_as_they_were() {
        let text = "Package: a\nVersion: 1\nDescription: short\n long\n .\n more\nConffiles:\n /etc/a 0123\n";
        let mut paragraph = Paragraph::parse(text);
        assert_eq!(paragraph.get("version"), Some("1"));
        assert_eq!(paragraph.get("Description"), Some("short\n long\n .\n more"));
        assert_eq!(paragraph.render(), text);
        paragraph.set("VERSION", "2");
        paragraph.insert(1, "Status", "install ok installed");
        paragraph.remove("conffiles");
        assert_eq!(
            paragraph.render(),
            "Package: a\nStatus: install ok installed\nVersion: 2\nDescription: short\n long\n .\n more\n"
        );
        assert!(Paragraph::parse("no field\n: x\n a continuation\n# Comment: x\n").is_empty());
    }

    #[test]
    fn paragraphs_are_separated_by_empty_lines() {
        let text = "\n\nA: 1\nB: 2\n\n \t\nA: 2\r\n\r\n\nA: 3";
        let found: Vec<_> = paragraphs(text).map(|text| Paragraph::parse(text).get("a").unwrap().to_string()).collect();
        assert_eq!(found, ["1", "2", "3"]);
        assert_eq!(paragraphs("").count() + paragraphs("\n\n").count(), 0);
    }
}
