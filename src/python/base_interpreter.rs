//! The base image's own Python, run on this machine through its own loader.
//!
//! The interpreter that will import the bytecode is the best one to write it. Only what it needs to compile is
//! unpacked from the base's layers, into the store: the interpreter, the C library and its loader, a few other
//! libraries, and the modules that Python imports when it starts. No container, no root, no change of root:
//! `R/lib64/ld-linux-x86-64.so.2 --library-path R/usr/lib/x86_64-linux-gnu R/usr/bin/python3.11`, PYTHONHOME=R/usr.
//!
//! **This runs code of the base image on this machine, as this user.** It gets an empty environment but for
//! PYTHONHOME, an empty working folder, pipes instead of a terminal, and a time limit, and what it answers is read
//! as untrusted input; but it is not sandboxed. Whoever does not trust a base that far does not offer it here:
//! [`Interpreter::choose`] then takes a Python of this machine.

use std::collections::BTreeSet;
use std::path::Path;

use object::elf::{FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

use super::bytecode_error::BytecodeError;
use super::interpreter::{Interpreter, Search};
use super::{PythonVersion, magic};
use crate::error::{During, Result};
use crate::fs;
use crate::image::Rootfs;
use crate::layer::{BaseEntry, Bucket, Store, TreePath};
use crate::oci::{Digest, Platform};

/// The version of what is unpacked; part of the name under which it is kept.
const VERSION: u32 = 1;

/// The largest interpreter that is looked into, in bytes. Seen: 30 MB with everything linked in.
const INTERPRETER_LIMIT: u64 = 128 << 20;

/// An empty folder beside what was unpacked, in which the interpreter runs.
const WORKING_FOLDER: &str = ".ingot-empty";

/// Where loaders look, besides the folder of the machine's triplet.
const LIBRARY_FOLDERS: &[&str] = &["usr/local/lib", "lib", "usr/lib", "lib64", "usr/lib64"];

/// Beginnings of the names of the libraries that interpreters are linked with.
const LIBRARIES: &[&str] = &[
    "ld-",
    "ld64",
    "libc-",
    "libc.",
    "libm-",
    "libm.",
    "libdl",
    "libpthread",
    "libutil",
    "librt",
    "libz.",
    "libz-",
    "libexpat",
    "libcrypt.",
    "libgcc_s",
    "libpython3",
];

/// Folders of the standard library of which an interpreter may import a module before it compiles one.
const PACKAGES: &[&str] = &["encodings", "importlib", "collections", "re"];

/// The files of a base.
pub trait Files {
    /// Follows links inside the root.
    fn resolve(&self, path: &TreePath) -> Option<TreePath>;

    /// Everything below a folder.
    fn list(&self, folder: &TreePath) -> Vec<(TreePath, BaseEntry)>;

    /// Writes the entries that `wanted` picks into an empty folder, links rewritten so that they stay in it.
    fn materialise(&self, wanted: &dyn Fn(&TreePath, &BaseEntry) -> bool, into: &Path) -> Result<()>;
}

impl Files for Rootfs {
    fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        Rootfs::resolve(self, path)
    }

    fn list(&self, folder: &TreePath) -> Vec<(TreePath, BaseEntry)> {
        Rootfs::list(self, folder)
    }

    fn materialise(&self, wanted: &dyn Fn(&TreePath, &BaseEntry) -> bool, into: &Path) -> Result<()> {
        Rootfs::materialise(self, wanted, into)
    }
}

/// A Python of the base.
#[derive(Clone, Copy)]
pub struct BaseInterpreter<'a> {
    /// The base's files.
    pub files: &'a dyn Files,
    /// What stands for all of them: the digest of the base's manifest.
    pub base: &'a Digest,
    /// The base's platform.
    pub platform: &'a Platform,
    /// The interpreter: `usr/bin/python3.11`.
    pub path: &'a TreePath,
    /// Its version.
    pub version: PythonVersion,
}

impl Interpreter {
    /// The base's interpreter if it runs here, else one of this machine with the same magic number.
    pub fn choose(
        version: PythonVersion,
        base: Option<&BaseInterpreter<'_>>,
        search: &Search,
        store: &Store,
    ) -> Result<Interpreter> {
        if magic::magic(version).is_none() {
            return Err(BytecodeError::UnknownVersion { version }.into());
        }
        if let Some(base) = base.filter(|base| base.version.compatible(&version))
            && let Some(found) = base.unpacked(store)?
        {
            return Ok(found);
        }
        Ok(search.find(version)?)
    }
}

/// Whether a file of a base may be one that its interpreter of this version needs: what it is going to be asked for, as far
/// as a path says it.
pub fn is_needed_by(version: PythonVersion) -> impl Fn(&TreePath, u64) -> bool + Sync {
    let python = version.name();
    move |path, _| {
        let name = path.name();
        let mut folders = path.as_str().rsplit('/').skip(1);
        match (folders.next().unwrap_or_default(), folders.next().unwrap_or_default()) {
            ("bin", _) => name == python,
            (folder, above) if name.ends_with(".py") => {
                folder == python || above == python && PACKAGES.contains(&folder)
            }
            ("lib-dynload", _) => name.starts_with("resource."),
            _ => name.contains(".so") && LIBRARIES.iter().any(|library| name.starts_with(library)),
        }
    }
}

impl BaseInterpreter<'_> {
    /// Unpacks it, if that was not done before, and asks it for its magic number. `None` if it does not run here:
    /// another architecture, an interpreter that is linked in another way, a base without the standard library.
    pub fn unpacked(&self, store: &Store) -> Result<Option<Interpreter>> {
        if !self.platform.satisfies(&Platform::host()) {
            return Ok(None);
        }
        let Some(real) = self.files.resolve(self.path) else { return Ok(None) };
        // `usr/bin/python3.11` stands in the prefix `usr`.
        let Some(prefix) = real.parent().and_then(|folder| folder.parent()) else { return Ok(None) };
        let key = Digest::of(format!("{VERSION} {} {real} {}", self.base, self.version.short()).as_bytes()).hex();
        let root = store.entry_path(Bucket::Interpreters, &key);
        if !fs::exists(&root) {
            let folder = store.temporary_dir()?;
            let wanted = self.wanted(&real, &prefix)?;
            let what = || format!("unpacking `/{}` of the base", self.path);
            self.files.materialise(&|path, _| wanted.contains(path), folder.path()).during(what)?;
            fs::create_dir_all(&folder.path().join(WORKING_FOLDER))?;
            store.adopt(folder, Bucket::Interpreters, &key)?;
        }
        self.run_from(&root, &real, &prefix)
    }

    /// The folders with libraries, resolved, each once.
    fn library_folders(&self) -> Vec<TreePath> {
        let triplet = format!("{}-linux-gnu", self.platform.machine());
        let of_triplet = ["lib", "usr/lib"].map(|folder| format!("{folder}/{triplet}"));
        let names = of_triplet.iter().map(String::as_str).chain(LIBRARY_FOLDERS.iter().copied());
        let mut folders = Vec::new();
        for folder in names.filter_map(|name| self.files.resolve(&TreePath::new(name).ok()?)) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    fn wanted(&self, interpreter: &TreePath, prefix: &TreePath) -> Result<BTreeSet<TreePath>> {
        let mut wanted = BTreeSet::from([interpreter.clone()]);
        for folder in self.library_folders() {
            for (path, _) in self.files.list(&folder) {
                let direct = path.parent().as_ref() == Some(&folder);
                if direct && LIBRARIES.iter().any(|name| path.name().starts_with(name)) && path.name().contains(".so") {
                    wanted.extend(self.files.resolve(&path));
                    wanted.insert(path);
                }
            }
        }
        let library = prefix.join(&format!("lib/{}", self.version.name()))?;
        for (path, _) in self.files.list(&library) {
            let Some(folder) = path.parent() else { continue };
            let package = folder.parent().as_ref() == Some(&library) && PACKAGES.contains(&folder.name());
            let module = path.name().ends_with(".py") && (folder == library || package);
            let limits = folder.name() == "lib-dynload" && path.name().starts_with("resource.");
            if module || limits {
                wanted.insert(path);
            }
        }
        Ok(wanted)
    }

    fn run_from(&self, root: &Path, real: &TreePath, prefix: &TreePath) -> Result<Option<Interpreter>> {
        let place = |path: &TreePath| root.join(path.as_str());
        let Ok(program) = fs::read(&place(real), INTERPRETER_LIMIT) else { return Ok(None) };
        let Some(loader) = loader(&program).and_then(|path| self.files.resolve(&TreePath::new(&path).ok()?)) else {
            return Ok(None);
        };
        let folders: Vec<_> = self.library_folders().iter().map(place).filter(|folder| fs::exists(folder)).collect();
        let Ok(library_path) = std::env::join_paths(folders) else { return Ok(None) };
        let program = vec![place(&loader).into(), "--library-path".into(), library_path, place(real).into()];
        let environment = vec![("PYTHONHOME".into(), place(prefix).into())];
        let label = format!("/{real} of the base");
        let working_folder = root.join(WORKING_FOLDER);
        Ok(Interpreter::ask_in(program, environment, working_folder, label, self.version))
    }
}

/// PT_INTERP: the loader that a program names.
fn loader(program: &[u8]) -> Option<String> {
    loader_of::<FileHeader64<Endianness>>(program).or_else(|| loader_of::<FileHeader32<Endianness>>(program))
}

fn loader_of<Elf: FileHeader<Endian = Endianness>>(program: &[u8]) -> Option<String> {
    let header = Elf::parse(program).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, program).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, program).ok().flatten())?;
    String::from_utf8(path.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::sync::Arc;

    use super::*;
    use crate::layer::{Content, EmptyBase, Entry, LayerBlob, LayerTree, Origin, write_layer};
    use crate::oci::media_type::Compression;
    use crate::process;
    use crate::progress::Progress;
    use crate::python::bytecode::{Compile, Module};
    use crate::python::{Compiler, marshal};

    /// Debian's Python of this machine as a base image: one layer.
    struct Debian {
        store: Store,
        rootfs: Rootfs,
        layer: LayerBlob,
        base: Digest,
        path: TreePath,
        version: PythonVersion,
        _folder: tempfile::TempDir,
    }

    fn ask(program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        let output = process::run(command, b"", process::DEFAULT_TIMEOUT);
        output.unwrap_or_else(|error| panic!("{error}; apt-get install python3-minimal libc-bin")).stdout_text()
    }

    impl Debian {
        fn new() -> Self {
            let version: PythonVersion = ask("/usr/bin/python3", &["-V"]).replace("Python ", "").parse().unwrap();
            let python = format!("/usr/bin/{}", version.name());
            let mut files: BTreeMap<String, std::path::PathBuf> = BTreeMap::new();
            let mut links: BTreeMap<String, String> = BTreeMap::from([("usr/bin/python3".into(), version.name())]);
            files.insert(python.clone(), python.clone().into());
            for word in ask("ldd", &[&python]).split_whitespace().filter(|word| word.starts_with('/')) {
                // As /lib is a link to usr/lib, the real names are below usr.
                let real = std::fs::canonicalize(word).unwrap();
                let name = std::fs::canonicalize(Path::new(word).parent().unwrap()).unwrap();
                let name = name.join(Path::new(word).file_name().unwrap());
                if name != real {
                    links.insert(name.to_str().unwrap()[1..].to_string(), real.to_str().unwrap().to_string());
                }
                files.insert(real.to_str().unwrap().to_string(), real);
            }
            for folder in ["", "/encodings", "/collections", "/importlib", "/re", "/json", "/lib-dynload"] {
                let folder = format!("/usr/lib/{}{folder}", version.name());
                for path in crate::fs::read_dir(Path::new(&folder)).unwrap_or_default() {
                    if path.is_file() {
                        files.insert(path.to_str().unwrap().to_string(), path);
                    }
                }
            }
            let input: Arc<str> = "debian".into();
            let mut tree = LayerTree::new();
            for (name, path) in files {
                let size = std::fs::metadata(&path).unwrap().len();
                tree.insert(TreePath::new(&name).unwrap(), Entry::file(Content::File { path, size }, 0o755, &input))
                    .unwrap();
            }
            for folder in ["lib", "lib64", "bin"].iter().filter(|folder| Path::new("/").join(folder).is_symlink()) {
                links.insert(folder.to_string(), format!("usr/{folder}"));
            }
            for (name, target) in links {
                tree.insert(TreePath::new(&name).unwrap(), Entry::symlink(target, &input)).unwrap();
            }
            tree.complete(&EmptyBase).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open_at(folder.path()).unwrap();
            let task = Progress::silent().task("base", None);
            let record = write_layer("base", &tree, Compression::Gzip, &store, &task).unwrap();
            let layer = LayerBlob {
                descriptor: record.descriptor.clone(),
                diff_id: record.diff_id,
                uncompressed_size: None,
                name: "base 1/1".into(),
                created_by: String::new(),
                origin: Origin::Store,
            };
            let blobs = Arc::new(store.clone());
            let rootfs = Rootfs::open(std::slice::from_ref(&layer), blobs, &store, &Progress::silent()).unwrap();
            let path = TreePath::new("usr/bin/python3").unwrap();
            Debian { store, rootfs, layer, base: record.diff_id, path, version, _folder: folder }
        }

        fn interpreter<'a>(&'a self, platform: &'a Platform) -> BaseInterpreter<'a> {
            let (files, base, path, version) = (&self.rootfs, &self.base, &self.path, self.version);
            BaseInterpreter { files, base, platform, path, version }
        }
    }

    #[test]
    fn the_bases_own_python_compiles_through_its_loader() {
        let debian = Debian::new();
        let host = Platform::host();
        let base = debian.interpreter(&host);
        let found = base.unpacked(&debian.store).unwrap().expect("the base's Python runs here");
        assert_eq!(found.label(), format!("/usr/bin/{} of the base", debian.version.name()));
        assert_eq!(found.version(), debian.version);

        // It uses nothing of this machine's Python, and compiles the same bytes.
        let script = "import sys; sys.stdout.write(sys.prefix + ' ' + sys.modules['encodings'].__file__)";
        let answer = process::run(found.command(&[script]), b"", process::DEFAULT_TIMEOUT).unwrap().stdout_text();
        let root = debian.store.root().to_str().unwrap();
        assert!(answer.split(' ').all(|path| path.starts_with(root)), "{answer}");
        let source = "def f(x): return x in {1, 'a', None}\n";
        let module = Module { path: "/app/a.py".into(), source: source.as_bytes().into() };
        let compiler = Compiler::new(found, None);
        let pyc = compiler.compile(std::slice::from_ref(&module)).unwrap().remove(0).unwrap();
        let search = Search { named: vec!["/usr/bin/python3".into()], ..Search::default() };
        let of_host = Compiler::new(search.find(debian.version).unwrap(), None);
        assert_eq!(of_host.compile(&[module]).unwrap().remove(0).unwrap(), pyc);
        assert_eq!(marshal::normalise(&pyc[16..], debian.version).unwrap(), &pyc[16..]);

        // What was unpacked is found again, and only what is needed was.
        let kept = crate::fs::read_dir(&debian.store.root().join("interpreters-v1")).unwrap();
        assert_eq!(kept.len(), 1);
        assert!(!kept[0].join(format!("usr/lib/{}/json", debian.version.name())).exists());
        assert!(base.unpacked(&debian.store).unwrap().is_some());
    }

    #[test]
    fn a_base_that_was_just_listed_is_not_read_again_for_its_interpreter() {
        let debian = Debian::new();
        let folder = tempfile::tempdir().unwrap();
        let (store, host) = (Store::open_at(folder.path()).unwrap(), Platform::host());
        let (layers, blobs) = ([debian.layer.clone()], Arc::new(debian.store.clone()));
        let soon = is_needed_by(debian.version);
        let rootfs = Rootfs::open_for(&layers, blobs, &store, &Progress::silent(), &soon).unwrap();
        debian.store.discard(&debian.layer.descriptor.digest).unwrap();
        let base = BaseInterpreter { files: &rootfs, ..debian.interpreter(&host) };
        let found = base.unpacked(&store).unwrap().expect("the base's Python runs here");
        // All that is needed was remembered, and is what reading it again gives.
        let again = Debian::new();
        let other = again.interpreter(&host).unpacked(&again.store).unwrap();
        assert_eq!(found.label(), other.unwrap().label());
        let files = |store: &Store| {
            let root = crate::fs::read_dir(&store.root().join("interpreters-v1")).unwrap().remove(0);
            let files = walkdir::WalkDir::new(&root).into_iter().map(|entry| entry.unwrap().into_path());
            let below = |path: &std::path::PathBuf| path.strip_prefix(&root).unwrap().to_path_buf();
            files.map(|path| (below(&path), std::fs::read(&path).ok())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(files(&store), files(&again.store));
    }

    #[test]
    fn a_base_that_does_not_run_here_gives_way_to_this_machine() {
        let debian = Debian::new();
        let platform = Platform::linux("s390x");
        let search = Search { named: vec!["/usr/bin/python3".into()], ..Search::default() };
        let found = Interpreter::choose(debian.version, Some(&debian.interpreter(&platform)), &search, &debian.store);
        assert_eq!(found.unwrap().label(), "/usr/bin/python3");

        let host = Platform::host();
        let nowhere = TreePath::new("usr/bin/nothing").unwrap();
        let missing = BaseInterpreter { path: &nowhere, ..debian.interpreter(&host) };
        assert_eq!(missing.unpacked(&debian.store).unwrap(), None);
        let found = Interpreter::choose(debian.version, Some(&missing), &Search::default(), &debian.store);
        assert!(found.unwrap_err().to_string().starts_with("no Python 3."));
        let other = PythonVersion::new(3, 7);
        let error = Interpreter::choose(other, None, &search, &debian.store).unwrap_err();
        assert_eq!(error.to_string(), "bytecode of Python 3.7 is unknown: expected 3.8 to 3.14");
    }

    #[test]
    fn a_program_names_its_loader_and_garbage_does_not() {
        let sh = std::fs::read("/bin/sh").unwrap();
        assert!(loader(&sh).unwrap().starts_with("/lib"));
        for garbage in [&b""[..], b"\x7fELF", b"#!/bin/sh", &sh[..100], &[0x7f; 4096]] {
            assert_eq!(loader(garbage), None);
        }
    }
}
