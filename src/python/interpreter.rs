//! Finds a Python on this machine that compiles for a given version.
//!
//! Bytecode is portable: any CPython with the same magic number writes it, on any architecture. Candidates are
//! asked for their number; what does not answer (a pyenv shim without its version, a broken link) is skipped.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bytecode_error::BytecodeError;
use super::{PythonVersion, magic};
use crate::{fs, process};

/// How long an interpreter may think about its magic number.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints the magic number in hexadecimal digits, and the version.
const QUESTION: &str = "import sys, _frozen_importlib_external as e; \
     sys.stdout.write('%s %s %d.%d.%d' % ((sys.implementation.name, e.MAGIC_NUMBER.hex()) + sys.version_info[:3]))";

/// A Python that can be run, and what its bytecode begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program and what comes before Python's own arguments (a loader has the interpreter as an argument).
    program: Vec<OsString>,
    /// The only environment that it gets, besides what the compiler sets.
    environment: Vec<(OsString, OsString)>,
    /// Where it runs: a folder in which there is nothing that it should not read.
    working_folder: PathBuf,
    /// For messages: where it is.
    label: String,
    version: PythonVersion,
    magic: [u8; 4],
}

impl Interpreter {
    /// Asks a program of this machine whether it is a CPython of this version; `None` if it is not, or does not answer.
    pub fn ask(program: &Path, version: PythonVersion) -> Option<Self> {
        let label = program.display().to_string();
        Interpreter::ask_in(vec![program.into()], Vec::new(), PathBuf::from("/"), label, version)
    }

    /// The same of a program with arguments and an environment.
    pub(super) fn ask_in(
        program: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        working_folder: PathBuf,
        label: String,
        version: PythonVersion,
    ) -> Option<Self> {
        let magic = magic::magic(version)?;
        let mut candidate = Interpreter { program, environment, working_folder, label, version, magic };
        let output = process::run(candidate.command(&[QUESTION]), b"", ANSWER_TIMEOUT).ok()?;
        let answer = output.stdout_text();
        let mut words = answer.split(' ');
        let expected = (Some("cpython"), Some(hex::encode(magic)));
        if !output.status.success() || (words.next(), words.next().map(str::to_string)) != expected {
            return None;
        }
        candidate.version = words.next()?.parse().ok()?;
        candidate.version.compatible(&version).then_some(candidate)
    }

    /// The command that runs this script: no environment, no site, no user's packages, nothing written.
    ///
    /// `-I` and `-E` are not used because they would ignore PYTHONHASHSEED and PYTHONHOME; the environment is
    /// empty instead.
    pub fn command(&self, script: &[&str]) -> Command {
        let mut program = self.program.iter();
        let mut command = Command::new(program.next().map_or(OsStr::new("python3"), |first| first));
        command.args(program).args(["-s", "-S", "-B", "-W", "ignore", "-c"]).args(script);
        command.env_clear().env("PYTHONHASHSEED", "0").env("PYTHONSAFEPATH", "1").current_dir(&self.working_folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// With its micro version.
    pub fn version(&self) -> PythonVersion {
        self.version
    }

    /// What its bytecode begins with.
    pub fn magic(&self) -> [u8; 4] {
        self.magic
    }

    /// Where it is, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// Where interpreters are looked for, in this order.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Programs that the user named.
    pub named: Vec<PathBuf>,
    /// The folders of PATH.
    pub path: Vec<PathBuf>,
    /// Folders that hold one installation in each sub-folder: pyenv's and uv's.
    pub collections: Vec<PathBuf>,
}

impl Search {
    /// INGOT_PYTHON (one or more programs, separated by `:`), PATH, pyenv, uv, and the usual folders.
    #[allow(clippy::disallowed_methods, reason = "configuration")]
    pub fn from_environment() -> Self {
        let list = |name| std::env::var_os(name).map_or(Vec::new(), |value| std::env::split_paths(&value).collect());
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let below_home = |relative: &str| home.as_ref().map(|home| home.join(relative));
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let pyenv = folder("PYENV_ROOT").or_else(|| below_home(".pyenv")).map(|root| root.join("versions"));
        let uv = folder("UV_PYTHON_INSTALL_DIR").or_else(|| below_home(".local/share/uv/python"));
        let mut path: Vec<PathBuf> = list("PATH");
        path.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
        let not_empty = |path: &PathBuf| !path.as_os_str().is_empty();
        Search {
            named: list("INGOT_PYTHON").into_iter().filter(not_empty).collect(),
            path: path.into_iter().filter(|folder| folder.is_absolute()).collect(),
            collections: [pyenv, uv].into_iter().flatten().collect(),
        }
    }

    /// The first interpreter of this version; one with the same micro version is preferred where that is known.
    pub fn find(&self, version: PythonVersion) -> Result<Interpreter, BytecodeError> {
        if magic::magic(version).is_none() {
            return Err(BytecodeError::UnknownVersion { version });
        }
        let ask = |path: &PathBuf| Interpreter::ask(path, version);
        let mut first = self.named.iter().find_map(ask);
        if first.is_some() {
            return first.ok_or(BytecodeError::UnknownVersion { version });
        }
        for candidate in self.candidates(version).iter().filter_map(ask) {
            if version.micro.is_none() || candidate.version.micro == version.micro {
                return Ok(candidate);
            }
            first.get_or_insert(candidate);
        }
        first.ok_or_else(|| BytecodeError::NoInterpreter { version, looked: self.description() })
    }

    /// Files that may be an interpreter of this version, each once.
    fn candidates(&self, version: PythonVersion) -> Vec<PathBuf> {
        let name = version.name();
        let installed = |folder: &PathBuf| -> Vec<PathBuf> {
            let mut installations = fs::read_dir(folder).unwrap_or_default();
            installations.reverse();
            installations.into_iter().map(|installation| installation.join("bin").join(&name)).collect()
        };
        let mut found: Vec<PathBuf> = self.path.iter().map(|folder| folder.join(&name)).collect();
        found.extend(self.collections.iter().flat_map(installed));
        found.extend(self.path.iter().map(|folder| folder.join("python3")));
        let mut unique = Vec::new();
        for path in found.into_iter().filter(|path| fs::exists(path)) {
            if !unique.contains(&path) {
                unique.push(path);
            }
        }
        unique
    }

    fn description(&self) -> String {
        let show = |paths: &[PathBuf]| {
            let names: Vec<String> = paths.iter().map(|path: &PathBuf| shown(path)).collect();
            names.join(", ")
        };
        let places: Vec<PathBuf> = self.named.iter().chain(&self.path).chain(&self.collections).cloned().collect();
        format!("looked at {}", show(&places))
    }
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}
