//! This machine's apt, as the place to ask for archives and keys of a base that is made of packages.

use std::path::Path;

use url::Url;

use super::auth::{self, Auth};
use super::{Files, Reader, Source, Sources, SourcesError, archive_url, without_user};
use crate::debian::apt_conf::AptConf;
use crate::debian::keyring::{Keyring, Keys};
use crate::debian::preferences::Preferences;
use crate::error::Result;
use crate::fs;

/// The largest keyring that is read, in bytes.
const KEYRING_LIMIT: u64 = 16 << 20;
/// Code names of Debian's releases and its names for them: these are what one machine's archive has.
const DEBIAN: [&str; 14] = [
    "stretch",
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "testing",
    "unstable",
    "oldstable",
    "oldoldstable",
    "experimental",
];
/// Code names of Ubuntu's releases.
const UBUNTU: [&str; 12] = [
    "xenial", "bionic", "focal", "jammy", "kinetic", "lunar", "mantic", "noble", "oracular", "plucky", "questing",
    "resolute",
];

/// The sources of this machine's apt.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Those that can be used, in order.
    pub sources: Vec<Source>,
    /// What is wrong with the others.
    pub left_out: Vec<String>,
    /// Whether `Valid-Until` counts where a source does not say.
    check_valid_until: bool,
    /// Who is who at archives, a mirror's too. Its Debug shows no password.
    auth: Auth,
}

impl Machine {
    /// Asks `apt-config` where its files are, and reads them.
    pub(super) fn read() -> Result<Machine> {
        Machine::read_at(Path::new("/"), &AptConf::of_machine())
    }

    /// Reads the files of a configuration below `root`.
    pub(crate) fn read_at(root: &Path, conf: &AptConf) -> Result<Machine> {
        let reader = Reader::new(Files::Folder(root.to_path_buf()), conf)?;
        let mut machine = Machine {
            check_valid_until: conf.flag("Acquire::Check-Valid-Until").unwrap_or(true),
            ..Machine::default()
        };
        for source in reader.sources()? {
            match source {
                Ok(source) => machine.sources.push(source),
                Err(error) => machine.left_out.push(error.to_string()),
            }
        }
        machine.auth = reader.auth;
        Ok(machine)
    }

    /// The source to take a suite from: the suite's own, else the one of another release of the same distribution
    /// for the same pocket ("-security").
    ///
    /// Other archives have suites of the same names for their own packages; the distribution's is the one with its
    /// name in the path, where there is one, and with the components that are asked for.
    fn like(&self, suite: &str, components: &[String]) -> Option<&Source> {
        let (code, pocket) = Source::code_name(suite);
        let fits = |source: &&Source| {
            let (other, its) = Source::code_name(&source.suite);
            let related = its == pocket && family(other).is_some() && family(other) == family(code);
            !source.components.is_empty() && (source.suite == suite || related)
        };
        let worse = |source: &&Source| {
            let mut parts = source.archive.path_segments().into_iter().flatten();
            let named = family(code).is_some_and(|family| parts.any(|part| part.starts_with(family)));
            let has = |component| source.components.contains(component);
            (!named, source.suite != suite, !components.iter().any(has))
        };
        self.sources.iter().filter(fits).min_by_key(worse)
    }

    /// A source of the same distribution, whatever the pocket: its keys are the distribution's.
    fn family_of(&self, suite: &str, components: &[String]) -> Option<&Source> {
        let wanted = family(Source::code_name(suite).0);
        let same = |source: &&Source| wanted.is_some() && family(Source::code_name(&source.suite).0) == wanted;
        self.like(suite, components).or_else(|| self.sources.iter().find(same))
    }
}

fn family(code: &str) -> Option<&'static str> {
    match code {
        code if DEBIAN.contains(&code) => Some("debian"),
        code if UBUNTU.contains(&code) => Some("ubuntu"),
        _ => None,
    }
}

impl Sources {
    /// The sources of `suites`, for a base that is made of packages: by default the archives and keys that the
    /// machine's apt has for them, or for another release of the same distribution.
    ///
    /// `mirror` replaces every archive, and `keyring` all keys. Where the mirror's path ends in `debian`, security
    /// suites are beside it, in `debian-security`, as Debian lays its archives out. `at` says what they are for.
    pub fn for_release(
        machine: &Machine,
        suites: &[String],
        components: &[String],
        mirror: Option<&Url>,
        keyring: Option<&Path>,
        at: &str,
    ) -> Result<Sources> {
        let keyring = match keyring {
            Some(path) => Some(Keyring::new(&path.display().to_string(), fs::read(path, KEYRING_LIMIT)?)),
            None => None,
        };
        let mirror = mirror.map(|url| archive_url("mirror", url.as_str())).transpose()?;
        let one = |suite: &String| -> Result<Source, SourcesError> {
            let like = machine.like(suite, components);
            let (suite, at) = (suite.clone(), at.to_string());
            let archive = match (&mirror, like) {
                (Some(mirror), _) => pocket_of(mirror, &suite),
                (None, Some(like)) => like.archive.clone(),
                // A pocket that this machine's apt does not use is beside the release itself.
                (None, None) => match machine.like(Source::code_name(&suite).0, components) {
                    Some(release) => pocket_of(&release.archive, &suite),
                    None => return Err(SourcesError::NoSuite { suite, at, left_out: machine.left_out.clone() }),
                },
            };
            let keys = match (&keyring, like.or_else(|| machine.family_of(&suite, components))) {
                (Some(ring), _) => Keys { rings: vec![ring.clone()], fingerprints: Vec::new() },
                (None, Some(like)) => like.keys.clone(),
                (None, None) => return Err(SourcesError::NoKeys { suite, at }),
            };
            let own = like.filter(|like| like.archive == archive);
            // What the mirror's URL names, what stands with its source, what auth.conf has for the archive.
            let known = auth::in_url(&archive).or_else(|| own.and_then(|like| like.credentials.clone()));
            Ok(Source {
                archive: without_user(&archive),
                components: components.to_vec(),
                architectures: None,
                keys,
                check_valid_until: own.map_or(machine.check_valid_until, |like| like.check_valid_until),
                trusted: own.is_some_and(|like| like.trusted),
                credentials: known.or_else(|| machine.auth.of(&archive)),
                origin: own.map_or_else(|| at.clone(), |like| like.origin.clone()),
                suite,
            })
        };
        let sources = suites.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        // Pins of this machine are about what is installed on it.
        Ok(Sources { sources, preferences: Preferences::default() })
    }
}

/// The archive of a suite at a mirror.
fn pocket_of(mirror: &Url, suite: &str) -> Url {
    let security = suite.ends_with("-security") && family(Source::code_name(suite).0) == Some("debian");
    let mut url = mirror.clone();
    if security && let Some(above) = mirror.path().strip_suffix("/debian/") {
        url.set_path(&format!("{above}/debian-security/"));
    }
    url
}
