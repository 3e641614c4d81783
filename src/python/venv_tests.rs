//! Environments: what makes them, what collides in them, how they are cut into layers.

use super::*;
use crate::layer::{Content, EmptyBase, Kind};
use crate::progress::Progress;
use crate::python::bytecode::Module;
use crate::python::bytecode::SyntaxError;
use crate::python::grouping::HEAVY_SIZE;
use crate::python::tags::tests::target;
use crate::python::testing::{WheelBuilder, store};
use crate::python::{Libc, PythonVersion};

/// "Compiles" by putting the path before the source; a source with `!` has a syntax error. What it is shows in the bytes.
struct Fake(PythonVersion, [u8; 4]);

impl Compile for Fake {
    fn version(&self) -> PythonVersion {
        self.0
    }
    fn magic(&self) -> [u8; 4] {
        self.1
    }
    fn compile(&self, modules: &[Module]) -> Result<Vec<Result<Vec<u8>, SyntaxError>>> {
        let one = |module: &Module| {
            let text = String::from_utf8_lossy(&module.source).into_owned();
            match text.contains('!') {
                true => Err(SyntaxError { message: "invalid syntax".into(), line: 1, column: 1, text }),
                false if self.1 == *b"fake" && self.0.micro.is_none() => {
                    Ok(format!("{}:{text}", module.path).into_bytes())
                }
                false => Ok(format!("{} {:?} {}:{text}", self.0, self.1, module.path).into_bytes()),
            }
        };
        Ok(modules.iter().map(one).collect())
    }
}

fn spec(bytecode: BytecodeMode) -> VenvSpec {
    VenvSpec {
        path: TreePath::new("opt/venv").unwrap(),
        target: target(11, "amd64", Libc::Glibc(2, 36)),
        interpreter: "/usr/bin/python3.11".into(),
        bytecode,
        compiler: Some(Arc::new(Fake(PythonVersion::new(3, 11), *b"fake"))),
    }
}

fn layers(builders: &[WheelBuilder], spec: VenvSpec, store: &Store) -> Result<Vec<Box<dyn LayerSource>>> {
    let wheels = builders.iter().map(|builder| builder.put(store)).collect();
    planned(wheels, spec, store)
}

fn planned(wheels: Vec<Wheel>, spec: VenvSpec, store: &Store) -> Result<Vec<Box<dyn LayerSource>>> {
    Ok(venv_layers(wheels, Arc::new(spec), store, None, Limits::of_room(90))?.0)
}

fn tree(layer: &dyn LayerSource, store: &Store) -> Result<LayerTree> {
    let mut tree = layer.tree(&Context { store, base: &EmptyBase, progress: &Progress::silent() })?;
    tree.complete(&EmptyBase)?;
    Ok(tree)
}

fn key(layer: &dyn LayerSource, store: &Store) -> String {
    let progress = Progress::silent();
    layer.fingerprint(&Context { store, base: &EmptyBase, progress: &progress }).unwrap().digest().to_string()
}

/// `path -> content`, of what is below the library folder.
fn library(tree: &LayerTree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, entry) in tree.iter() {
        let Some(inside) = path.as_str().strip_prefix("opt/venv/lib/python3.11/site-packages/") else { continue };
        let content = match &entry.kind {
            Kind::File(Content::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Kind::File(_) => "packed".into(),
            _ => continue,
        };
        if !inside.contains(".dist-info/") || inside.ends_with("/RECORD") {
            found.push((inside.to_string(), content));
        }
    }
    found
}

#[test]
fn a_venv_is_a_venv() {
    let (_folder, store) = store();
    let layers = layers(&[], spec(BytecodeMode::None), &store).unwrap();
    assert_eq!((layers.len(), layers[0].name()), (1, "venv"));
    let tree = tree(&*layers[0], &store).unwrap();
    let shown: Vec<String> = tree
        .iter()
        .map(|(path, entry)| match &entry.kind {
            Kind::Symlink(to) => format!("{path} -> {to}"),
            Kind::Directory => format!("{path}/"),
            _ => path.to_string(),
        })
        .collect();
    let expected = [
        "opt/",
        "opt/venv/",
        "opt/venv/bin/",
        "opt/venv/bin/python -> /usr/bin/python3.11",
        "opt/venv/bin/python3 -> python",
        "opt/venv/bin/python3.11 -> python",
        "opt/venv/include/",
        "opt/venv/lib/",
        "opt/venv/lib/python3.11/",
        "opt/venv/lib/python3.11/site-packages/",
        "opt/venv/lib64 -> lib",
        "opt/venv/pyvenv.cfg",
    ];
    assert_eq!(shown, expected);
    let Kind::File(Content::Bytes(text)) = &tree.get(&TreePath::new("opt/venv/pyvenv.cfg").unwrap()).unwrap().kind
    else {
        panic!("no pyvenv.cfg");
    };
    assert!(text.starts_with(b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"));
    let bad = VenvSpec { interpreter: "python3".into(), ..spec(BytecodeMode::None) };
    assert!(planned(Vec::new(), bad, &store).is_err());
    let none = VenvSpec { compiler: None, ..spec(BytecodeMode::Only) };
    assert_eq!(planned(Vec::new(), none, &store).err().unwrap().class().code(), 2);
}

#[test]
fn unchanged_members_stay_packed() {
    let (_folder, store) = store();
    let wheel = WheelBuilder::new("x", "1").file("x/__init__.py", "1").executable("x/tool", "2");
    let layers = layers(&[wheel], spec(BytecodeMode::None), &store).unwrap();
    let tree = tree(&*layers[0], &store).unwrap();
    let at = |path: &str| tree.get(&TreePath::new(path).unwrap()).unwrap().clone();
    let module = at("opt/venv/lib/python3.11/site-packages/x/__init__.py");
    assert!(matches!(module.kind, Kind::File(Content::Packed(_))));
    assert_eq!((module.mode, module.uid, module.gid), (0o644, 0, 0));
    assert_eq!(&*module.input, "wheel `x-1-py3-none-any.whl`");
    assert_eq!(at("opt/venv/lib/python3.11/site-packages/x/tool").mode, 0o755);
}

#[test]
fn bytecode_beside_the_sources_or_in_their_place() {
    let (_folder, store) = store();
    let wheel = || {
        WheelBuilder::new("x", "1")
            .file("x/__init__.py", "a")
            .file("x/old.py", "print 'python 2'!")
            .file("x/tests/t.py", "t")
            .file("top.py", "b")
            .file("x/data.txt", "c")
    };
    let none = layers(&[wheel()], spec(BytecodeMode::None), &store).unwrap();
    let beside = layers(&[wheel()], spec(BytecodeMode::Alongside), &store).unwrap();
    let only = layers(&[wheel()], spec(BytecodeMode::Only), &store).unwrap();
    let keys: std::collections::BTreeSet<_> = [&none, &beside, &only].iter().map(|l| key(&*l[0], &store)).collect();
    assert_eq!(keys.len(), 3);
    let files = library(&tree(&*beside[0], &store).unwrap());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "__pycache__/top.cpython-311.pyc",
        "top.py",
        "x-1.dist-info/RECORD",
        "x/__init__.py",
        "x/__pycache__/__init__.cpython-311.pyc",
        "x/data.txt",
        "x/old.py",
        "x/tests/t.py",
    ];
    assert_eq!(names, expected);
    assert_eq!(files[4].1, "/opt/venv/lib/python3.11/site-packages/x/__init__.py:a");
    assert!(files[2].1.contains("x/__pycache__/__init__.cpython-311.pyc,,\r\n"), "{}", files[2].1);
    assert!(files[2].1.contains("x/__init__.py,sha256="));

    let files = library(&tree(&*only[0], &store).unwrap());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["top.pyc", "x-1.dist-info/RECORD", "x/__init__.pyc", "x/data.txt", "x/old.py", "x/tests/t.py"];
    assert_eq!(names, expected);
    assert!(files[1].1.contains("x/__init__.pyc,,\r\n") && !files[1].1.contains("x/__init__.py,"));
}

#[test]
fn two_wheels_with_one_path_are_refused_before_anything_is_built() {
    let (_folder, store) = store();
    let x = || WheelBuilder::new("x", "1");
    let y = || WheelBuilder::new("y", "2");
    for (first, second, expected) in [
        (
            x().file("same.py", "1"),
            y().file("same.py", "2"),
            "site-packages/same.py` comes from two wheels: wheel `x-1-py3-none-any.whl` and wheel `y-2-py3-none-any.whl`",
        ),
        (x().file("a", "1"), y().file("a/b.py", "2"), "site-packages/a` comes from two wheels: wheel `x-1"),
        (x().file("a/b.py", "1"), y().file("a", "2"), "site-packages/a` comes from two wheels: wheel `y-2"),
        (
            x().executable("x-1.data/scripts/run", "1"),
            y().executable("y-2.data/scripts/run", "2"),
            "`/opt/venv/bin/run` comes from two",
        ),
        (x().file("e", "1"), y().executable("e", "1"), "site-packages/e` comes from two wheels"),
        (
            x().file("x-1.data/scripts/python", "1"),
            y(),
            "`/opt/venv/bin/python` comes from two wheels: the environment itself and wheel `x-1",
        ),
        (x().file("x-1.data/data/pyvenv.cfg", "1"), y(), "`/opt/venv/pyvenv.cfg` comes from two wheels"),
        (x().file("x-1.data/data/lib64/a.so", "1"), y(), "`/opt/venv/lib64` comes from two wheels"),
    ] {
        let error = layers(&[first, second], spec(BytecodeMode::None), &store).err().expect(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.class().code(), 2);
    }
}

/// As the NVIDIA wheels do with `nvidia/__init__.py`.
#[test]
fn the_same_bytes_from_two_wheels_are_one_file() {
    let (_folder, store) = store();
    let wheels = ["a", "b"].map(|name| WheelBuilder::new(name, "1").file("ns/__init__.py", ""));
    let layers = layers(&wheels, spec(BytecodeMode::Only), &store).unwrap();
    let files = library(&tree(&*layers[0], &store).unwrap());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a-1.dist-info/RECORD", "b-1.dist-info/RECORD", "ns/__init__.pyc"]);
    assert!(files[0].1.contains("ns/__init__.pyc,,") && files[1].1.contains("ns/__init__.pyc,,"));
}

#[test]
fn a_heavy_wheel_has_its_layer_and_the_order_of_the_lock_does_not_matter() {
    let (_folder, store) = store();
    // Does not compress: a xorshift of its index.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..HEAVY_SIZE / 8 + 1)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let big = WheelBuilder::new("big", "1").file("big.so", &noise);
    let others = [WheelBuilder::new("a", "1").file("a.py", "1"), WheelBuilder::new("c", "1").file("c.py", "1")];
    let one = [others[0].clone(), big.clone(), others[1].clone()];
    let two = [others[1].clone(), others[0].clone(), big];
    let one = layers(&one, spec(BytecodeMode::None), &store).unwrap();
    let two = layers(&two, spec(BytecodeMode::None), &store).unwrap();
    let names: Vec<_> = one.iter().map(|layer| (layer.name(), layer.created_by())).collect();
    let expected =
        [("venv: big", "ingot venv /opt/venv: big 1".to_string()), ("venv", "ingot venv /opt/venv: 2 wheels".into())];
    assert_eq!(names, expected);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(key(&**one, &store), key(&**two, &store));
        let paths = |layer: &dyn LayerSource| -> Vec<String> {
            tree(layer, &store).unwrap().iter().map(|(path, entry)| format!("{path} {:o}", entry.mode)).collect()
        };
        assert_eq!(paths(&**one), paths(&**two));
    }
    assert!(tree(&*one[0], &store).unwrap().get(&TreePath::new("opt/venv/pyvenv.cfg").unwrap()).is_none());
}

#[test]
fn a_wheel_that_does_not_match_its_record_builds_no_layer() {
    let (_folder, store) = store();
    let layers = layers(&[WheelBuilder::new("x", "1").wrong_hash("x.py", "1")], spec(BytecodeMode::None), &store);
    let error = tree(&*layers.unwrap()[0], &store).err().unwrap();
    assert!(error.to_string().contains("`x.py` does not match RECORD"), "{error}");
    assert_eq!(error.class().code(), 4);
}

#[test]
fn planning_the_same_wheels_again_opens_none_of_them() {
    let (_folder, store) = store();
    let wheel = |name: &str, text: &str| WheelBuilder::new(name, "1").file(&format!("{name}.py"), text).put(&store);
    let wheels = vec![wheel("a", "1"), wheel("b", "2")];
    let first = planned(wheels.clone(), spec(BytecodeMode::Alongside), &store).unwrap();
    for wheel in &wheels {
        store.discard(&wheel.digest).unwrap();
    }
    let again = planned(wheels.clone(), spec(BytecodeMode::Alongside), &store).unwrap();
    assert_eq!(key(&*first[0], &store), key(&*again[0], &store));
    // Another environment, or one more wheel, is looked at.
    let moved = VenvSpec { path: TreePath::new("srv/venv").unwrap(), ..spec(BytecodeMode::None) };
    assert!(planned(wheels.clone(), moved, &store).is_err());
    let other = Wheel { version: "2".into(), ..wheels[1].clone() };
    assert!(planned(vec![wheels[0].clone(), other], spec(BytecodeMode::None), &store).is_err());
    assert!(planned([wheels, vec![wheel("c", "3")]].concat(), spec(BytecodeMode::None), &store).is_err());
}

/// All bytes and all metadata of a tree.
fn listing(tree: &LayerTree) -> Vec<(String, String, Vec<u8>)> {
    let one = |(path, entry): (&TreePath, &Entry)| {
        let bytes = match &entry.kind {
            Kind::File(_) => entry.read(path, 1 << 20).unwrap().unwrap(),
            Kind::Symlink(target) => target.clone().into_bytes(),
            _ => Vec::new(),
        };
        let kind = std::mem::discriminant(&entry.kind);
        (path.to_string(), format!("{kind:?} {:o} {} {}", entry.mode, entry.uid, entry.gid), bytes)
    };
    tree.iter().map(one).collect()
}

/// The key has every input that can change a byte: if any layer of two environments has other bytes, it has another key.
#[test]
fn other_bytes_have_another_key() {
    let (_folder, store) = store();
    let wheel =
        |name: &str, version: &str, text: &str| WheelBuilder::new(name, version).file(&format!("{name}.py"), text);
    let x = || wheel("x", "1", "import y").file("x-1.dist-info/entry_points.txt", "[console_scripts]\nx = x:main\n");
    let y = || wheel("y", "1", "pass");
    let specs: Vec<VenvSpec> = {
        let compiler = |micro, magic: &[u8; 4]| -> Option<Arc<dyn Compile>> {
            Some(Arc::new(Fake(PythonVersion { micro, ..PythonVersion::new(3, 11) }, *magic)))
        };
        let mut specs: Vec<VenvSpec> =
            [BytecodeMode::None, BytecodeMode::Alongside, BytecodeMode::Only].map(spec).into_iter().collect();
        let plain = || spec(BytecodeMode::Alongside);
        specs.push(VenvSpec { path: TreePath::new("srv/venv").unwrap(), ..plain() });
        specs.push(VenvSpec { interpreter: "/usr/local/bin/python3.11".into(), ..plain() });
        specs.push(VenvSpec { target: target(12, "amd64", Libc::Glibc(2, 36)), ..plain() });
        specs.push(VenvSpec { target: target(11, "arm64", Libc::Glibc(2, 36)), ..plain() });
        specs.push(VenvSpec { target: target(11, "amd64", Libc::Musl(1, 2)), ..plain() });
        let mut micro = plain();
        micro.target.python.micro = Some(7);
        specs.push(micro);
        specs.push(VenvSpec { compiler: compiler(Some(7), b"fake"), ..plain() });
        specs.push(VenvSpec { compiler: compiler(None, b"else"), ..plain() });
        specs.push(VenvSpec { compiler: compiler(None, b"else"), ..spec(BytecodeMode::None) });
        specs
    };
    let sets = [
        vec![],
        vec![x()],
        vec![x(), y()],
        vec![wheel("x", "1", "changed"), y()],
        vec![wheel("x", "2", "import y"), y()],
        vec![x(), y().filename("y-1-1-py3-none-any.whl")],
        vec![x(), wheel("y", "1", "pass").executable("y.sh", "1")],
        vec![x(), wheel("y", "1", "pass").file("y.sh", "1")],
    ];
    let mut seen: Vec<(String, Vec<(String, String, Vec<u8>)>, String)> = Vec::new();
    for spec in &specs {
        for set in &sets {
            let layers = layers(set, spec.clone(), &store).unwrap();
            let listing = listing(&tree(&*layers[0], &store).unwrap());
            seen.push((key(&*layers[0], &store), listing, format!("{} {} wheels", spec.path, set.len())));
        }
    }
    let mut different = 0;
    for (at, (key, listing, name)) in seen.iter().enumerate() {
        for (other, other_listing, other_name) in &seen[..at] {
            different += usize::from(listing != other_listing);
            assert!(key != other || listing == other_listing, "{name}, {other_name}");
        }
    }
    assert!(different > 3000, "{different}");
    // What is not in the tree is not in the key: another architecture with the same wheels is the same layer.
    let arm = VenvSpec { target: target(11, "arm64", Libc::Glibc(2, 36)), ..spec(BytecodeMode::Alongside) };
    let one = |spec: VenvSpec| key(&*layers(&[x(), y()], spec, &store).unwrap()[0], &store);
    assert_eq!(one(arm), one(spec(BytecodeMode::Alongside)));
}

/// A heavy wheel, two that share, two small ones: as their layers were locked.
#[test]
fn a_locked_grouping_is_obeyed_and_new_wheels_are_small() {
    let (_folder, store) = store();
    let wheels: Vec<Wheel> = ["a", "b", "c"]
        .iter()
        .map(|name| WheelBuilder::new(name, "1").file(&format!("{name}.py"), "1").put(&store))
        .collect();
    let place = [Place::Own, Place::Shared, Place::Small];
    let locked = wheels.iter().zip(place).map(|(wheel, place)| (wheel.name.clone(), wheel.digest, place));
    let locked = Grouping::locked(locked);
    let spec = Arc::new(spec(BytecodeMode::None));
    let (layers, grouping) = venv_layers(wheels, spec, &store, Some(&locked), Limits::of_room(90)).unwrap();
    let names: Vec<_> = layers.iter().map(|layer| (layer.name(), layer.created_by())).collect();
    let expected = [
        ("venv: a", "ingot venv /opt/venv: a 1".to_string()),
        ("venv", "ingot venv /opt/venv: 1 wheels".into()),
        ("venv (small)", "ingot venv /opt/venv: 1 wheels, small or new".into()),
    ];
    assert_eq!(names, expected);
    assert!(grouping.is_split());
    let has =
        |layer: usize, path: &str| tree(&*layers[layer], &store).unwrap().get(&TreePath::new(path).unwrap()).is_some();
    assert!(has(2, "opt/venv/pyvenv.cfg") && !has(1, "opt/venv/pyvenv.cfg"));
    assert!(
        has(2, "opt/venv/lib/python3.11/site-packages/c.py") && has(1, "opt/venv/lib/python3.11/site-packages/b.py")
    );
}

#[test]
fn a_wheel_can_be_prepared_before_its_layer_is_made() {
    let (_folder, store) = store();
    let spec = spec(BytecodeMode::Alongside);
    let sound = WheelBuilder::new("x", "1").file("x.py", "1").put(&store);
    prepare(&sound, &spec, &store).unwrap();
    // It was looked through, once: the layer only hashes it.
    let verified = store.entry_path(Bucket::Index, &format!("verified-v1-{}", sound.digest.hex()));
    assert!(verified.is_file());
    let bad = WheelBuilder::new("y", "1").wrong_hash("y.py", "1").put(&store);
    assert_eq!(prepare(&bad, &spec, &store).unwrap_err().class().code(), 4);
}
