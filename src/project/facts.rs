//! Facts about a project that its file can refer to: what git says, and the time of the build.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::Error as ProjectError;
use super::repository::{self, Found, Git};
use crate::error::Error;
use crate::layer::Store;
use crate::oci::Epoch;
use crate::process;

/// How long one question to git may take.
const GIT_TIMEOUT: Duration = Duration::from_secs(10);
/// A git hook that runs a build has these set; the project's own repository is meant.
const UNSET: [&str; 3] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

/// Variables that begin so have no say in what HEAD is; what others mean to git is git's to know.
const HARMLESS: [&str; 19] = [
    "GIT_ASKPASS",
    "GIT_AUTHOR_",
    "GIT_BRANCH",
    "GIT_COMMIT",
    "GIT_COMMITTER_",
    "GIT_CURL_",
    "GIT_EDITOR",
    "GIT_HTTP_",
    "GIT_LFS_",
    "GIT_LOCAL_BRANCH",
    "GIT_OPTIONAL_LOCKS",
    "GIT_PAGER",
    "GIT_PREVIOUS_",
    "GIT_PROXY_",
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_TERMINAL_PROMPT",
    "GIT_TRACE",
    "GIT_URL",
];

/// What git knows of the folder; nothing if there is no git, no repository or no commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The whole hash of HEAD.
    pub revision: Option<String>,
    /// The short hash of HEAD.
    pub short: Option<String>,
    /// `git describe --tags --always --dirty`.
    pub describe: Option<String>,
    /// The committer's time of HEAD.
    pub time: Option<Epoch>,
    /// Why git does not answer although there is a repository.
    pub refusal: Option<String>,
}

/// Asks git about HEAD of the repository that `root` is in.
pub fn commit(root: &Path) -> Commit {
    commit_with(root, &[])
}

/// The same; what git said before is in `store`, and good for as long as it would say the same. `asking` is told that
/// it is asked.
#[allow(clippy::disallowed_methods, reason = "where git's configuration is")]
pub(super) fn asking(root: &Path, store: &Store, asking: impl Fn()) -> Commit {
    let ask = || {
        asking();
        commit(root)
    };
    let steered = |(name, _): (OsString, OsString)| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with("GIT_")
            && !UNSET.contains(&name.as_str())
            && !HARMLESS.iter().any(|start| name.starts_with(start))
    };
    if std::env::vars_os().any(steered) {
        return ask();
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = folder("HOME");
    let own = folder("XDG_CONFIG_HOME")
        .filter(|own| !own.as_os_str().is_empty())
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let configurations = [
        // Git is asked for the machine's; old ones do not answer.
        Some("/etc/gitconfig".into()),
        Some("/usr/local/etc/gitconfig".into()),
        home.map(|home| home.join(".gitconfig")),
        own.map(|own| own.join("git/config")),
    ];
    match repository::find(root, configurations.into_iter().flatten().collect()) {
        Found::Nothing => Commit::default(),
        Found::Unclear => ask(),
        Found::Repository(found) => match found.known(store) {
            Some(commit) => commit,
            None => {
                let git = Git { system: &|| system_configuration(&found.top), tracked: &|| tracked(&found.top) };
                found.ask(store, &git, ask)
            }
        },
    }
}

/// Where the machine's configuration is; old versions of git do not tell.
fn system_configuration(top: &Path) -> Option<PathBuf> {
    git(top, &[], &["var", "GIT_CONFIG_SYSTEM"]).ok().map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Every entry of the index: mode, and path below the top of the work tree.
fn tracked(top: &Path) -> Option<Vec<(String, PathBuf)>> {
    let list = command(top, &[], &["ls-files", "-z", "--stage"]);
    let output = process::run(list, b"", GIT_TIMEOUT).ok().filter(|output| output.status.success())?;
    let text = std::str::from_utf8(&output.stdout).ok()?;
    let entry = |entry: &str| {
        let (facts, path) = entry.split_once('\t')?;
        Some((facts.split(' ').next()?.to_string(), PathBuf::from(path)))
    };
    text.split_terminator('\0').map(entry).collect()
}

fn commit_with(root: &Path, environment: &[(&str, &str)]) -> Commit {
    let head = match git(root, environment, &["log", "-1", "--no-show-signature", "--format=%H %ct", "HEAD"]) {
        Ok(head) => head,
        Err(said) => {
            // A checkout that belongs to somebody else is nothing to git: without a word, the image would say
            // 1980 and no revision for this user, and the truth for its owner.
            let refusal = said.contains("dubious ownership").then(|| {
                format!(
                    "git does not read the repository of `{}`, which belongs to another user: the image will have no \
                     revision, version and time of it (see `git config safe.directory`)",
                    root.display()
                )
            });
            return Commit { refusal, ..Commit::default() };
        }
    };
    let git = |arguments: &[&str]| git(root, environment, arguments).ok();
    let (revision, time) = head.split_once(' ').unwrap_or((&head, ""));
    Commit {
        revision: Some(revision.to_string()),
        short: git(&["rev-parse", "--short", "HEAD"]),
        describe: git(&["describe", "--tags", "--always", "--dirty"]),
        time: time.parse().ok().and_then(|seconds| Epoch::from_seconds(seconds).ok()),
        refusal: None,
    }
}

/// One line of git's, or what it said instead.
fn git(root: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Result<String, String> {
    let command = command(root, environment, arguments);
    let output = process::run(command, b"", GIT_TIMEOUT).map_err(|error| error.to_string())?;
    let text = output.stdout_text();
    let sound = output.status.success() && !text.is_empty() && !text.contains('\n');
    if sound { Ok(text) } else { Err(output.stderr_text()) }
}

fn command(root: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.fsmonitor=false", "-c", "log.showSignature=false"]);
    // Neither the user's taste nor the number of objects in this clone decides how a commit is called.
    command.args(["-c", "core.abbrev=12"]).args(arguments);
    for name in UNSET {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    command.envs(environment.iter().copied());
    command
}

/// The default build arguments: `BUILD_DATE`, `VCS_REF`, `BUILD_VERSION` and the names of the usual bases.
/// `VARIANT` and `PYTHON_VERSION` come from the project itself.
/// With them comes a warning, if git has something to say.
#[allow(clippy::disallowed_methods, reason = "SOURCE_DATE_EPOCH is read here, once, and travels on as a value")]
pub fn facts(root: &Path, store: &Store) -> Result<(BTreeMap<String, String>, Option<String>), Error> {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    let commit = asking(root, store, || {});
    Ok((facts_of(&commit, given.as_deref())?, commit.refusal))
}

fn facts_of(commit: &Commit, source_date_epoch: Option<&str>) -> Result<BTreeMap<String, String>, ProjectError> {
    let mut facts = fallbacks();
    let epoch = match source_date_epoch {
        Some(text) => Some(
            text.parse()
                .map_err(|source| ProjectError::SourceDateEpoch { found: text.chars().take(60).collect(), source })?,
        ),
        None => commit.time,
    };
    let known = [
        ("BUILD_DATE", epoch.map(Epoch::rfc3339)),
        ("VCS_REF", commit.short.clone()),
        ("BUILD_VERSION", commit.describe.clone()),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
    Ok(facts)
}

/// What the facts are when nothing is known.
pub(super) fn fallbacks() -> BTreeMap<String, String> {
    let date = Epoch::ENTRIES.rfc3339();
    [
        ("BUILD_DATE", date.as_str()),
        ("VCS_REF", "unknown"),
        ("BUILD_VERSION", "0.0.0"),
        ("CPU_BASE_IMAGE", "ubuntu:22.04"),
        ("GPU_BASE_IMAGE", "nvidia/cuda:12.1.0-base-ubuntu22.04"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(dir: &Path, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(dir);
        let output = process::run(command, b"", GIT_TIMEOUT).unwrap();
        assert!(output.status.success(), "install git? {}", output.stderr_text());
    }

    #[test]
    fn a_folder_without_commits_has_fallbacks() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(commit(dir.path()), Commit::default());
        sh(dir.path(), "git init -q .");
        assert_eq!(facts_of(&commit(dir.path()), None).unwrap(), fallbacks());
        assert_eq!(fallbacks()["BUILD_DATE"], "1980-01-01T00:00:00Z");
    }

    #[test]
    fn a_repository_of_somebody_else_is_told() {
        let dir = tempfile::tempdir().unwrap();
        sh(dir.path(), "git init -q . && git -c user.name=a -c user.email=a@b.example commit -q --allow-empty -m x");
        assert_eq!(commit(dir.path()).refusal, None);
        // Git's own switch for its tests: every repository counts as somebody else's.
        let foreign = commit_with(dir.path(), &[("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")]);
        let refusal = foreign.refusal.unwrap();
        assert!(refusal.contains("belongs to another user") && foreign.time.is_none(), "{refusal}");
    }

    #[test]
    fn git_is_asked_for_time_hash_and_version() {
        let dir = tempfile::tempdir().unwrap();
        sh(
            dir.path(),
            "git init -q . && echo 1 > a && git add a
             export GIT_COMMITTER_DATE='2024-05-06T07:08:09+02:00' GIT_AUTHOR_DATE='2001-01-01T00:00:00Z'
             git -c user.name=a -c user.email=a@b.example -c commit.gpgsign=false commit -qm x && git tag v1.2",
        );
        let facts = facts_of(&commit(dir.path()), None).unwrap();
        assert_eq!(facts["BUILD_DATE"], "2024-05-06T05:08:09Z");
        assert_eq!(facts["BUILD_VERSION"], "v1.2");
        assert!(facts["VCS_REF"].len() >= 7 && facts["VCS_REF"].bytes().all(|b| b.is_ascii_hexdigit()));
        sh(dir.path(), "echo 2 > a");
        assert_eq!(facts_of(&commit(dir.path()), None).unwrap()["BUILD_VERSION"], "v1.2-dirty");
        // The environment wins over the commit.
        assert_eq!(facts_of(&commit(dir.path()), Some("0")).unwrap()["BUILD_DATE"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_wrong_source_date_epoch_is_an_error() {
        let error = facts_of(&Commit::default(), Some("today")).unwrap_err();
        assert_eq!(error.to_string(), "could not understand SOURCE_DATE_EPOCH=`today`");
    }
}
