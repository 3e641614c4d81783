//! Bytecode of the standard library, where the packages that have it bring sources only: Debian's compile it in a
//! maintainer script. The image is read-only for its user, so without it every start would compile again.

use std::sync::Arc;

use super::bytecode::{Compile, ModuleSet, Source};
use super::{cache_tag, marshal};
use crate::error::Result;
use crate::image::Rootfs;
use crate::layer::{BaseKind, Context, Entry, Fingerprint, LayerSource, LayerTree, TreePath};
use crate::oci::Digest;

/// The version of the rule what is compiled.
const VERSION: u32 = 3;
/// The largest module that is compiled, in bytes.
const MODULE_LIMIT: u64 = 16 << 20;
/// Folders of which no program imports anything: tests, and packages that have their own way to be compiled.
const LEFT_OUT: [&str; 6] = ["test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"];

/// The source of layer "python bytecode".
pub struct StdlibLayer {
    files: Arc<Rootfs>,
    library: TreePath,
    compiler: Arc<dyn Compile>,
    root: Digest,
}

impl StdlibLayer {
    /// Of the modules below `library` (`usr/lib/python3.11`). `root` stands
    /// for all of `files`: whatever else brings modules, the layer is made anew when it changes.
    pub fn new(files: Arc<Rootfs>, library: TreePath, compiler: Arc<dyn Compile>, root: Digest) -> Self {
        StdlibLayer { files, library, compiler, root }
    }

    /// Modules, each with the path of its bytecode.
    fn modules(&self) -> Vec<(TreePath, TreePath)> {
        let tag = cache_tag(self.compiler.version());
        let mut modules = Vec::new();
        for (path, entry) in self.files.list(&self.library) {
            let below = path.as_str().strip_prefix(self.library.as_str()).unwrap_or_default();
            let (Some(stem), Some(folder)) = (path.name().strip_suffix(".py"), path.parent()) else { continue };
            if entry.kind != BaseKind::File || below.split('/').any(|part| LEFT_OUT.contains(&part)) {
                continue;
            }
            // Bytecode that is there was made of what an older package had.
            if let Ok(bytecode) = folder.join(&format!("__pycache__/{stem}.{tag}.pyc")) {
                modules.push((path, bytecode));
            }
        }
        modules
    }
}

impl LayerSource for StdlibLayer {
    fn name(&self) -> &str {
        "python bytecode"
    }

    fn created_by(&self) -> String {
        format!("ingot: bytecode of /{}", self.library)
    }

    fn fingerprint(&self, _: &Context<'_>) -> Result<Fingerprint> {
        Ok(Fingerprint::new(self.name(), "stdlib", VERSION)
            .field("os packages", self.root)
            .field("library", &self.library)
            .field("python", self.compiler.version())
            .field("magic", hex::encode(self.compiler.magic()))
            .field("normaliser", marshal::NORMALISER))
    }

    /// It starts a program and waits for it.
    fn cost(&self) -> u64 {
        u64::MAX
    }

    fn tree(&self, _: &Context<'_>) -> Result<LayerTree> {
        let paths = self.modules();
        let sources: Vec<TreePath> = paths.iter().map(|(source, _)| source.clone()).collect();
        // Both read the layer with the library: the interpreter has to be unpacked from it.
        let prepare = || {
            if !sources.is_empty() {
                self.compiler.prepare()
            }
        };
        let (read, ()) = rayon::join(|| self.files.read_many(&sources, MODULE_LIMIT), prepare);
        let mut sources = read?;
        let mut named = Vec::new();
        let mut contents: Vec<Arc<[u8]>> = Vec::new();
        let mut targets = Vec::new();
        for (source, bytecode) in paths {
            if let Some(bytes) = sources.remove(&source) {
                let (path, digest, size) = (format!("/{source}"), Digest::of(&bytes), bytes.len() as u64);
                named.push(Source { path, digest, size });
                contents.push(bytes.into());
                targets.push(bytecode);
            }
        }
        let read = |place: usize| Ok(contents.get(place).cloned().unwrap_or_else(|| Arc::from([])));
        let slot = format!("library /{}", self.library);
        let set = ModuleSet { slot, sources: named, read: &read };
        let input: Arc<str> = format!("bytecode of `/{}`", self.library).into();
        let mut tree = LayerTree::new();
        for (target, compiled) in targets.into_iter().zip(self.compiler.compile_set(&set)?) {
            // One that does not compile stays a source, as py3compile leaves it.
            if let Ok(bytecode) = compiled {
                tree.insert(target, Entry::file(bytecode, 0o644, &input))?;
            }
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::read::testing::{RawTar, layer};
    use crate::layer::{EmptyBase, Store};
    use crate::progress::Progress;
    use crate::python::PythonVersion;
    use crate::python::bytecode::{Module, SyntaxError};

    struct Echo;

    impl Compile for Echo {
        fn version(&self) -> PythonVersion {
            PythonVersion::new(3, 11)
        }

        fn magic(&self) -> [u8; 4] {
            *b"a\r\n\0"
        }

        fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
            let bad = |_: &Module| SyntaxError { message: "x".into(), line: 1, column: 1, text: String::new() };
            let one = |module: &Module| {
                if module.source.is_empty() { Err(bad(module)) } else { Ok(module.path.clone().into_bytes()) }
            };
            Ok(modules.iter().map(one).collect())
        }
    }

    #[test]
    fn what_is_no_test_gets_bytecode_in_the_place_of_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(folder.path()).unwrap();
        let tar = RawTar::new()
            .file("usr/lib/python3.11/os.py", b"x")
            .file("usr/lib/python3.11/json/tool.py", b"x")
            .file("usr/lib/python3.11/bad.py", b"")
            .file("usr/lib/python3.11/__pycache__/os.cpython-311.pyc", b"of an older one")
            .file("usr/lib/python3.11/test/a.py", b"x")
            .file("usr/lib/python3.11/dist-packages/b.py", b"x")
            .file("usr/lib/python3.11/data.txt", b"x")
            .file("usr/lib/python3/other.py", b"x");
        let layers = [layer(&store, "base", tar.end())];
        let rootfs = Rootfs::open(&layers, Arc::new(store.clone()), &store, &Progress::silent()).unwrap();
        let source = |version: &str| {
            let library = TreePath::new("usr/lib/python3.11").unwrap();
            StdlibLayer::new(Arc::new(Rootfs::empty()), library, Arc::new(Echo), Digest::of(version.as_bytes()))
        };
        let progress = Progress::silent();
        let context = Context { store: &store, base: &EmptyBase, progress: &progress };
        let digest = |version| source(version).fingerprint(&context).unwrap().digest();
        assert!(digest("1") == digest("1") && digest("1") != digest("2"));
        let tree = StdlibLayer { files: Arc::new(rootfs), ..source("1") }.tree(&context).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "usr/lib/python3.11/__pycache__/os.cpython-311.pyc",
                "usr/lib/python3.11/json/__pycache__/tool.cpython-311.pyc"
            ]
        );
        let first = TreePath::new(paths[0]).unwrap();
        let bytes = tree.get(&first).unwrap().read(&first, 100).unwrap().unwrap();
        assert_eq!(bytes, b"/usr/lib/python3.11/os.py");
    }
}
