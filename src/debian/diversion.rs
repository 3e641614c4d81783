//! Diversions (dpkg-divert(1)): one package's claim that the files of all others go to another name.
//!
//! Those of the base are in its database. A package makes its own in its scripts; they are not run, but calls of
//! `dpkg-divert` whose arguments are plain words are read from them.

use super::Deb;
use super::install_error::InstallError;
use super::root::is_marker;
use crate::layer::TreePath;

/// Who diverts for the administrator.
const LOCAL: &str = ":";

/// One diversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diversion {
    /// What other packages install here.
    pub from: TreePath,
    /// Goes there.
    pub to: TreePath,
    /// The package whose files stay; `:` for none.
    pub package: String,
    /// Whether what is there already is moved.
    pub rename: bool,
}

/// The diversions that hold, in the order of the database: those of the base, then new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Diversions {
    all: Vec<Diversion>,
    added: usize,
}

impl Diversions {
    /// From the base's database, three lines for each, and the scripts of new packages.
    pub fn of(database: &str, debs: &[&Deb]) -> Result<Diversions, InstallError> {
        let mut all = Vec::new();
        let lines: Vec<&str> = database.lines().collect();
        for three in lines.chunks_exact(3) {
            if let [from, to, package] = three {
                all.push(diversion(from, to, package, false, "the base")?);
            }
        }
        let old = all.len();
        for deb in debs {
            for name in ["preinst", "postinst"] {
                for call in deb.scripts.get(name).map(|script| calls(script, &deb.package.name)).unwrap_or_default() {
                    let by = format!("package `{}`", deb.package.name);
                    let found = diversion(&call.from, &call.to, &call.package, call.rename, &by)?;
                    if !all.iter().any(|known: &Diversion| known.from == found.from) {
                        all.push(found);
                    }
                }
            }
        }
        Ok(Diversions { added: all.len() - old, all })
    }

    /// Where a file of `package` goes that the package has at `path`.
    pub fn apply<'a>(&'a self, path: &'a TreePath, package: &str) -> &'a TreePath {
        let found = self.all.iter().find(|one| one.from == *path && one.package != package);
        found.map_or(path, |one| &one.to)
    }

    /// Those that were not in the base.
    pub fn added(&self) -> &[Diversion] {
        self.all.split_at(self.all.len() - self.added).1
    }

    /// As dpkg keeps them.
    pub fn render(&self) -> String {
        self.all.iter().map(|one| format!("/{}\n/{}\n{}\n", one.from, one.to, one.package)).collect()
    }
}

fn diversion(from: &str, to: &str, package: &str, rename: bool, by: &str) -> Result<Diversion, InstallError> {
    let path = |path: &str| {
        TreePath::new(path).map_err(|source| InstallError::Diversion {
            from: from.escape_debug().take(200).collect(),
            to: to.escape_debug().take(200).collect(),
            by: by.into(),
            source,
        })
    };
    // What begins so hides files of the layers below.
    if is_marker(from) || is_marker(to) {
        let source = crate::layer::Error::Path {
            path: to.escape_debug().take(200).collect(),
            reason: "a component begins with `.wh.`, which layers give a meaning",
        };
        let (from, to) = (from.escape_debug().take(200).collect(), to.escape_debug().take(200).collect());
        return Err(InstallError::Diversion { from, to, by: by.into(), source });
    }
    Ok(Diversion { from: path(from)?, to: path(to)?, package: package.into(), rename })
}

/// A call of dpkg-divert that adds a diversion.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    from: String,
    to: String,
    package: String,
    rename: bool,
}

/// All calls with plain words; one with variables, or in another form, is passed over.
fn calls(script: &str, package: &str) -> Vec<Call> {
    let script = script.replace("\\\n", " ");
    script.lines().flat_map(|line| line.split([';', '&', '|'])).filter_map(|command| call(command, package)).collect()
}

fn call(command: &str, package: &str) -> Option<Call> {
    let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    words.find(|word| *word == "dpkg-divert" || word.ends_with("/dpkg-divert"))?;
    let (mut from, mut to, mut by, mut rename) = (None, None, package.to_string(), false);
    while let Some(word) = words.next() {
        match word.split_once('=').filter(|_| word.starts_with("--")).unwrap_or((word, "")) {
            ("--package", "") => by = words.next()?.to_string(),
            ("--package", value) => by = value.to_string(),
            ("--divert", "") => to = Some(words.next()?),
            ("--divert", value) => to = Some(value),
            ("--local", "") => by = LOCAL.to_string(),
            ("--rename", "") => rename = true,
            ("--no-rename" | "--add" | "--quiet", "") => {}
            // --remove, --list, --truename, --test: nothing is added.
            (other, _) if other.starts_with('-') => return None,
            (path, _) if from.is_none() => from = Some(path),
            // Redirections.
            (other, _) if other.contains('>') => {}
            _ => return None,
        }
    }
    let from = from?;
    let to = to.map_or_else(|| format!("{from}.distrib"), str::to_string);
    let plain = |word: &str| !word.contains(['$', '`', '*', '?', '(', ')', '{', '}', '~']);
    let paths = from.starts_with('/') && to.starts_with('/');
    (paths && [from, &to, &by].into_iter().all(plain)).then(|| Call { from: from.into(), to, package: by, rename })
}

#[cfg(test)]
mod tests {
    use super::super::deb_testing::RawDeb;
    use super::*;
    use crate::error::Explain;
    use crate::layer::Store;

    #[test]
    fn calls_with_plain_words_are_read() {
        let script = "#!/bin/sh\nset -e\nif [ \"$1\" = install ]; then\n  dpkg-divert --package a --add --rename \\\n     --divert /usr/bin/x.real /usr/bin/x >/dev/null\nfi\n\
            dpkg-divert --add --no-rename --divert=/b.d '/b' || true\n/usr/sbin/dpkg-divert --local --quiet --add \"/c\"\n\
            dpkg-divert --package other --rename --remove /d\ndpkg-divert --truename /e\ndpkg-divert --divert $x /f\n\
            dpkg-divert --add /g /h\ndpkg-divert --list\necho dpkg-divertx /i\ndpkg-divert --package=z --add /j\n";
        let found: Vec<_> =
            calls(script, "a").into_iter().map(|one| (one.from, one.to, one.package, one.rename)).collect();
        let expected = [
            ("/usr/bin/x", "/usr/bin/x.real", "a", true),
            ("/b", "/b.d", "a", false),
            ("/c", "/c.distrib", ":", false),
            ("/j", "/j.distrib", "z", false),
        ];
        assert_eq!(found, expected.map(|(from, to, by, rename)| (from.into(), to.into(), by.into(), rename)));
    }

    #[test]
    fn the_bases_diversions_and_new_ones_are_one_list() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let script = "dpkg-divert --add --rename --divert /x.a /x\ndpkg-divert --add /sh\n";
        let deb = RawDeb::new("a", "1", "all", "").with("preinst", script).open(&store).unwrap();
        let all = Diversions::of("/sh\n/sh.distrib\ndash\n/cut\n", &[&deb]).unwrap();
        let path = |text: &str| TreePath::new(text).unwrap();
        assert_eq!(all.apply(&path("sh"), "bash"), &path("sh.distrib"));
        assert_eq!(all.apply(&path("sh"), "dash"), &path("sh"));
        assert_eq!((all.apply(&path("x"), "b"), all.apply(&path("x"), "a")), (&path("x.a"), &path("x")));
        assert_eq!(all.render(), "/sh\n/sh.distrib\ndash\n/x\n/x.a\na\n");
        assert_eq!(all.added().len(), 1);
        let error = Diversions::of("/a/../b\n/c\nd\n", &[]).unwrap_err();
        assert!(error.to_string().starts_with("the diversion of `/a/../b` to `/c` by the base"), "{error}");
        assert!(error.hint().is_some());
        let error = crate::error::Error::from(Diversions::of("/a\n/etc/.wh.passwd\nd\n", &[]).unwrap_err());
        assert!(error.to_string().contains("begins with `.wh.`"), "{error}");
    }
}
