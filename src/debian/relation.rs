//! Relations between packages: `Depends: a (>= 1), b | c:any` (deb-control(5), Debian policy 7.1).

use std::fmt;

use super::{Error, Version};

/// How versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Whether `found OPERATOR wanted` holds.
    pub fn holds(self, found: &Version, wanted: &Version) -> bool {
        match self {
            Operator::Earlier => found < wanted,
            Operator::EarlierOrEqual => found <= wanted,
            Operator::Equal => found == wanted,
            Operator::LaterOrEqual => found >= wanted,
            Operator::Later => found > wanted,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

/// What follows the colon of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchQualifier {
    /// `:any`: a package of any architecture whose `Multi-Arch` is `allowed`.
    Any,
    /// `:native`, or an architecture's name.
    Architecture(String),
}

/// One package that is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, or that of a virtual one.
    pub name: String,
    /// Of which architecture.
    pub architecture: Option<ArchQualifier>,
    /// In which versions.
    pub version: Option<(Operator, Version)>,
}

/// One of these.
pub type Alternatives = Vec<Relation>;

/// Reads a field: all of the alternatives have to hold. An empty field is no relation.
pub fn parse_relations(text: &str) -> Result<Vec<Alternatives>, Error> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.split('|').map(|one| relation(one.trim())).collect())
        .collect()
}

fn relation(text: &str) -> Result<Relation, Error> {
    let refuse = || Error::Relation { text: text.escape_debug().take(100).collect() };
    // Restrictions, `[amd64]` and `<!nocheck>`, stand in source packages only.
    let text = text.split(['[', '<']).next().filter(|_| !text.contains('(')).unwrap_or(text);
    let (name, version) = match text.split_once('(') {
        None => (text.trim(), None),
        Some((name, rest)) => {
            let (inside, _) = rest.split_once(')').ok_or_else(refuse)?;
            let inside = inside.trim();
            let operators = [
                ("<<", Operator::Earlier),
                ("<=", Operator::EarlierOrEqual),
                (">>", Operator::Later),
                (">=", Operator::LaterOrEqual),
                ("=", Operator::Equal),
                // Obsolete, but still read by dpkg.
                ("<", Operator::EarlierOrEqual),
                (">", Operator::LaterOrEqual),
            ];
            let found = operators.iter().find_map(|(sign, operator)| Some((inside.strip_prefix(sign)?, *operator)));
            let (version, operator) = found.ok_or_else(refuse)?;
            (name.trim(), Some((operator, version.trim().parse()?)))
        }
    };
    let (name, architecture) = match name.split_once(':') {
        None => (name, None),
        Some((name, "any")) => (name, Some(ArchQualifier::Any)),
        Some((name, other)) => (name, Some(ArchQualifier::Architecture(other.to_string()))),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        return Err(refuse());
    }
    Ok(Relation { name: name.to_string(), architecture, version })
}

impl Relation {
    /// Whether a package, or a provided name, of this version fits. A provided name without a version fits only a
    /// relation without one.
    pub fn fits(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some((operator, wanted)), Some(found)) => operator.holds(found, wanted),
            (Some(_), None) => false,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.architecture {
            None => {}
            Some(ArchQualifier::Any) => f.write_str(":any")?,
            Some(ArchQualifier::Architecture(name)) => write!(f, ":{name}")?,
        }
        match &self.version {
            None => Ok(()),
            Some((operator, version)) => write!(f, " ({} {version})", operator.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_as_dpkg_reads_them() {
        let text = "libc6 (>= 2.36), a:any | b(<<1:2~) , python3:amd64 (= 3.11-1), old (> 1),";
        let relations = parse_relations(text).unwrap();
        let shown: Vec<Vec<String>> =
            relations.iter().map(|one| one.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(
            shown,
            [
                vec!["libc6 (>= 2.36)"],
                vec!["a:any", "b (<< 1:2~)"],
                vec!["python3:amd64 (= 3.11-1)"],
                vec!["old (>= 1)"]
            ]
        );
        assert_eq!(parse_relations(" ").unwrap(), Vec::<Alternatives>::new());
        assert_eq!(parse_relations("x [amd64] <!nocheck>").unwrap()[0][0].name, "x");
        for bad in ["a (1)", "a (>= 1", "a b", "(>= 1)", "a (>= )", "a || b", "a;b"] {
            assert!(parse_relations(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_compared_and_a_nameless_one_fits_nothing() {
        let relation = &parse_relations("a (>= 2)").unwrap()[0][0];
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(relation.fits(Some(&version("2"))) && !relation.fits(Some(&version("2~rc1"))) && !relation.fits(None));
        assert!(parse_relations("a").unwrap()[0][0].fits(None));
    }
}
