//! Plain tables: aligned columns, two spaces between them, no lines.

/// Which side a column leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text under a heading.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new<const N: usize>(columns: [(&str, Align); N]) -> Self {
        Table { columns: columns.iter().map(|(name, align)| (name.to_string(), *align)).collect(), rows: Vec::new() }
    }

    /// Adds a row; text is escaped.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| super::escape(cell)).collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, with a line end after each row.
    pub fn render(&self) -> String {
        let length = |text: &str| text.chars().count();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, (name, _))| {
                self.rows.iter().filter_map(|row| row.get(n)).map(|cell| length(cell)).fold(length(name), usize::max)
            })
            .collect();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.to_uppercase()).collect();
        let mut out = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (n, cell) in row.iter().enumerate() {
                let (Some(width), Some((_, align))) = (widths.get(n), self.columns.get(n)) else { continue };
                let padding = " ".repeat(width - length(cell));
                if n > 0 {
                    line.push_str("  ");
                }
                match align {
                    Align::Left => line.push_str(&format!("{cell}{padding}")),
                    Align::Right => line.push_str(&format!("{padding}{cell}")),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new([("layer", Align::Left), ("size", Align::Right)]);
        table.row(["app".into(), "1.0 kB".into()]);
        table.row(["a\x1bé".into(), "9 B".into()]);
        assert_eq!(table.render(), "LAYER       SIZE\napp       1.0 kB\na\\u{1b}é     9 B\n");
    }
}
