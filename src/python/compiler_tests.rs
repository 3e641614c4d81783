//! Real interpreters: the same bytes whatever the state of the compiler, and the same code as before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::bytecode::{Compile, Module, ModuleSet, Source};
use super::compiler::Outcome;
use super::interpreter::{Interpreter, Search};
use super::worker::{SCRIPT, Worker};
use super::*;
use crate::oci::Digest;
use crate::process;

/// Loads pairs of streams and compares the code objects, recursively, with types, signs and flags.
const COMPARE: &str = r#"
import marshal, struct, sys
code = type(compile("", "", "exec"))
fields = [f for f in dir(code) if f.startswith("co_") and f not in ("co_lines", "co_positions", "co_lnotab", "co_branches")]
if sys.version_info < (3, 10): fields.append("co_lnotab")
def same(a, b, where):
    assert type(a) is type(b), (where, a, b)
    if isinstance(a, code):
        for f in fields: same(getattr(a, f), getattr(b, f), where + "." + f)
        if hasattr(a, "co_positions"): assert list(a.co_positions()) == list(b.co_positions()), where
    elif isinstance(a, tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)): same(x, y, "%s[%d]" % (where, i))
    elif isinstance(a, frozenset):
        key = lambda x: (type(x).__name__, ascii(x))
        same(tuple(sorted(a, key=key)), tuple(sorted(b, key=key)), where)
    elif isinstance(a, float):
        assert struct.pack("<d", a) == struct.pack("<d", b), (where, a, b)
    elif isinstance(a, complex):
        same((a.real, a.imag), (b.real, b.imag), where)
    else:
        assert a == b, (where, a, b)
data, at, pairs = sys.stdin.buffer.read(), 0, 0
def part():
    global at
    size = int.from_bytes(data[at:at + 4], "little")
    at += 4 + size
    return data[at - size:at]
while at < len(data):
    a, b = part(), part()
    same(marshal.loads(a), marshal.loads(b), "module")
    pairs += 1
sys.stdout.write("%d pairs are the same" % pairs)
"#;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Compiles in another state: other modules imported, strings interned, other code compiled and kept before.
const DISTURBANCE: &str = r#"
import sys, collections, re, json, ast, typing, asyncio, email.message, unittest, logging, argparse, inspect, decimal
import http.client, xml.dom.minidom, tokenize, zipfile, subprocess, difflib, doctest, pdb
kept = [compile("def f%d(self, name, value=1.5, *args): return {'name': name, 'value': %d}[name] in {1, 2, 'a', None}" % (i, i), "/app/kept.py", "exec") for i in range(300)]
kept += [sys.intern(word) for word in ("hello world", "utf-8", "/app/tricky.py", "%s: %s", "self.x", "rb+")]
"#;

/// What constants, names and scopes can look like.
const TRICKY: &str = r#"# -*- coding: utf-8 -*-
"""A docstring with "quotes", ünïcödé."""
from __future__ import annotations
import os.path as p, sys
from collections import (abc as a_b_c, OrderedDict)
BIG, NEGATIVE, SMALL, EDGE = 10**50, -10**30, -5, (2**31 - 1, 2**31, -2**31, -2**31 - 1, 2**63)
ZEROS = (0.0, -0.0, 0j, -0j, 0, False, 0.0, -0.0, 1e308 * 10, -(1e308 * 10), 1, True, 1.0, 1 + 0j)
TEXTS = ("a", "ab", "abc", "abcd", "a b", "hello world", "hello world", b"hello world", "\ud800", "é", "naïve", "\x00", "", b"", "x" * 300, "x y" * 200)
NESTED = ((1, (2, (3, (4, ("five", "five", ("five",)))))), (1, (2, (3, (4, ("five", "five", ("five",)))))))
DOTS = (..., None, Ellipsis)
def member(x, y):
    return x in {1, 2, 3} or y in {"b", "a", None, 2.5, (1, "a")} or x not in {"a", "b", None, (1, "a"), 2.5}
class Größe:
    """Class docstring."""
    __slots__ = ("naïve", "name", "value")
    attribute: "int | None" = None
    def method(self, *args, key="hello world", other=lambda x: (lambda y: (x, y, "hello world")), **kwargs):
        nonlocal_ = 1
        def inner(a, /, b, *, c=-0.0):
            nonlocal nonlocal_
            nonlocal_ += a
            return f"{self!r:>{b}} {c:.3f} hello world {nonlocal_=}"
        return [inner(i, j) for i in args for j in kwargs if (k := i) and j] + [*args, {**kwargs}]
    @property
    async def coroutine(self):
        async with self as x, x as y:
            async for item in y:
                yield await item
    def finally_(self):
        try:
            with self: return (lambda: "in try")
        except (KeyError, ValueError) as naïve:
            raise naïve from None
        finally:
            (lambda: "in finally")()
        while True:
            if self.name == "hello world": break
        else: del self.value
    class Inner:
        def __init__(self): self.__private = __class__, super().__init__(name="x", value=(1, 2), naïve=3)
x = y = lambda: (yield)
assert (1, 2, "a") == (1, 2, "a"), "message"
print(1 if TEXTS else 2, *TEXTS, sep="hello world", x=-1, y=1.5, z=1e300, **{"a b": 1})
slices = TEXTS[1:2], TEXTS[::-1], TEXTS[...], TEXTS[1:2, ::3]
"#;

const TRICKY_310: &str = r#"
def f(command):
    match command:
        case {"name": str(name), **rest} | {"other": name, **rest}: return name
        case [1 | 2, -0.0, "hello", *_] if command: pass
        case complex(real=1, imag=2) | None | 3 + 4j: return "hello"
"#;

const TRICKY_312: &str = r#"
type Alias[T: (int, str), *Ts, **P] = dict[T, tuple[*Ts]]
class Generic[T: int](list[T]):
    def method[S](self, x: T, y: S) -> S: return f"{x!r} {f'{y}' 'nested'} {[i for i in 'abc']}"
"#;

pub(in crate::python) fn interpreter(minor: u8) -> Interpreter {
    let version = PythonVersion::new(3, minor);
    let mut search = Search::from_environment();
    search.collections.push("/root/.pyenv/versions".into());
    match search.find(version) {
        Ok(interpreter) => interpreter,
        Err(error) => panic!("{error}; this test needs it: pyenv install {version}"),
    }
}

fn library(interpreter: &Interpreter) -> PathBuf {
    let script = "import sys, _frozen_importlib_external as e; sys.stdout.write(e.__file__ if False else sys.modules['encodings'].__file__)";
    let output = process::run(interpreter.command(&[script]), b"", process::DEFAULT_TIMEOUT).unwrap();
    Path::new(&output.stdout_text()).parent().unwrap().parent().unwrap().to_path_buf()
}

/// Hand-made modules, and `count` modules of the standard library.
fn modules(interpreter: &Interpreter, count: usize) -> Vec<Module> {
    let minor = interpreter.version().minor;
    let mut sources =
        vec![TRICKY.as_bytes().to_vec(), b"".to_vec(), b"# -*- coding: latin-1 -*-\nx = '\xe9'\n".to_vec()];
    sources.extend((minor >= 10).then(|| TRICKY_310.as_bytes().to_vec()));
    sources.extend((minor >= 12).then(|| TRICKY_312.as_bytes().to_vec()));
    let library = library(interpreter);
    let folders = ["", "json", "asyncio", "email", "unittest", "logging", "xml/dom"];
    let files = folders.iter().flat_map(|folder| crate::fs::read_dir(&library.join(folder)).unwrap());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "py"));
    sources.extend(files.map(|path| std::fs::read(path).unwrap()).filter(|source| source.len() < 40_000).take(count));
    let module =
        |(index, source): (usize, Vec<u8>)| Module { path: format!("/app/m{index}.py"), source: source.into() };
    sources.into_iter().enumerate().map(module).collect()
}

/// What a worker says of each module, compiled in this order.
fn streams(interpreter: &Interpreter, prelude: &str, seed: &str, modules: &[Module], order: &[usize]) -> Vec<Vec<u8>> {
    let script = format!("{prelude}\n{SCRIPT}");
    let worker = Worker::start_script(interpreter, &script, seed).unwrap();
    let mut found = vec![Vec::new(); modules.len()];
    for index in order {
        let compiled = worker.compile(&modules[*index], TIMEOUT).unwrap();
        found[*index] = compiled.unwrap_or_else(|error| panic!("{}: {error:?}", modules[*index].path)).stream;
    }
    found
}

fn same_bytes_in_every_state(minor: u8) {
    let interpreter = interpreter(minor);
    let modules = modules(&interpreter, 150);
    let forwards: Vec<usize> = (0..modules.len()).collect();
    let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
    // Each module twice: the second time, all its strings are known.
    let twice: Vec<usize> = forwards.iter().flat_map(|index| [*index, *index]).collect();
    let first = streams(&interpreter, "", "0", &modules, &forwards);
    let normal = |streams: &[Vec<u8>]| -> Vec<Vec<u8>> {
        streams.iter().map(|stream| marshal::normalise(stream, interpreter.version()).unwrap()).collect()
    };
    let expected = normal(&first);
    let mut differed = 0;
    for (prelude, seed, order) in [("", "1", &backwards), (DISTURBANCE, "random", &twice)] {
        let again = streams(&interpreter, prelude, seed, &modules, order);
        let found = normal(&again);
        for (index, module) in modules.iter().enumerate() {
            differed += usize::from(first[index] != again[index]);
            assert!(
                found[index] == expected[index],
                "Python 3.{minor}, {}: {}",
                module.path,
                String::from_utf8_lossy(&module.source)
            );
        }
    }
    assert_eq!(normal(&expected), expected);
    let sizes = |streams: &[Vec<u8>]| streams.iter().map(Vec::len).sum::<usize>();
    println!(
        "3.{minor}: {differed} of {} raw streams differed; {} -> {} bytes",
        2 * modules.len(),
        sizes(&first),
        sizes(&expected)
    );

    let frame = |bytes: &Vec<u8>| [&(bytes.len() as u32).to_le_bytes(), &bytes[..]].concat();
    let pairs: Vec<u8> = first.iter().zip(&expected).flat_map(|(a, b)| [frame(a), frame(b)].concat()).collect();
    let output = process::run(interpreter.command(&[COMPARE]), &pairs, process::DEFAULT_TIMEOUT).unwrap();
    assert_eq!(output.stdout_text(), format!("{} pairs are the same", modules.len()), "{}", output.stderr_text());
}

#[test]
fn python_3_8_writes_the_same_bytes_in_every_state() {
    same_bytes_in_every_state(8);
}

#[test]
fn python_3_10_writes_the_same_bytes_in_every_state() {
    same_bytes_in_every_state(10);
}

#[test]
fn python_3_11_writes_the_same_bytes_in_every_state() {
    same_bytes_in_every_state(11);
}

#[test]
fn python_3_12_writes_the_same_bytes_in_every_state() {
    same_bytes_in_every_state(12);
}

#[test]
fn python_3_13_writes_the_same_bytes_in_every_state() {
    same_bytes_in_every_state(13);
}

fn module(path: &str, source: &str) -> Module {
    Module { path: path.into(), source: source.as_bytes().into() }
}

#[test]
fn a_pyc_is_loaded_and_the_second_time_comes_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::layer::Store::open_at(folder.path()).unwrap();
    let interpreter = interpreter(11);
    let modules =
        [module("/app/hello.py", "print('hello from', __file__ is not None)\n"), module("/app/bad.py", "def (\n")];
    let compiler = Compiler::new(interpreter.clone(), Some(&store));
    let first = compiler.compile(&modules).unwrap();
    let pyc = first[0].as_ref().unwrap();
    assert_eq!((&pyc[..4], &pyc[4..8]), (&compiler.magic()[..], &[1, 0, 0, 0][..]));
    let file = folder.path().join("hello.pyc");
    std::fs::write(&file, pyc).unwrap();
    let mut command = interpreter.command(&["import runpy, sys; runpy.run_path(sys.argv[1])"]);
    command.arg(&file);
    let output = process::run(command, b"", process::DEFAULT_TIMEOUT).unwrap();
    assert_eq!(output.stdout_text(), "hello from True", "{}", output.stderr_text());

    // The hash in the header is the one that Python computes of the source.
    let script = "import sys, importlib.util as u; sys.stdout.write(u.source_hash(sys.stdin.buffer.read()).hex())";
    let output = process::run(interpreter.command(&[script]), &modules[0].source, process::DEFAULT_TIMEOUT).unwrap();
    assert_eq!(output.stdout_text(), hex::encode(&pyc[8..16]));

    // Another compiler, whose interpreter cannot be started: only the store can have answered.
    let again = Compiler::new(interpreter, Some(&store));
    assert_eq!(again.compile(&modules).unwrap(), first);
    let error = first[1].clone().unwrap_err();
    assert_eq!((error.message.as_str(), error.line, error.text.as_str()), ("invalid syntax", 1, "def ("));
}

/// What of a set is read, and what comes out.
fn compile_set(compiler: &Compiler, slot: &str, modules: &[Module]) -> (Vec<usize>, Vec<Outcome>) {
    let named = |module: &Module| Source {
        path: module.path.clone(),
        digest: Digest::of(&module.source),
        size: module.source.len() as u64,
    };
    let reads = Mutex::new(Vec::new());
    let read = |place: usize| {
        reads.lock().unwrap().push(place);
        Ok(modules[place].source.clone())
    };
    let set = ModuleSet { slot: slot.into(), sources: modules.iter().map(named).collect(), read: &read };
    let outcomes = compiler.compile_set(&set).unwrap();
    let mut reads = reads.into_inner().unwrap();
    reads.sort();
    (reads, outcomes)
}

#[test]
fn only_what_changed_is_read_and_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::layer::Store::open_at(folder.path()).unwrap();
    let interpreter = interpreter(11);
    let compiler = Compiler::new(interpreter.clone(), Some(&store));
    let mut modules = modules(&interpreter, 12);
    modules.push(module("/app/bad.py", "def (\n"));
    let count = modules.len();
    let (reads, first) = compile_set(&compiler, "wheel x", &modules);
    assert_eq!(reads.len(), count);
    assert_eq!(compile_set(&compiler, "wheel y", &modules), (vec![], first));
    modules[3] = module("/app/m3.py", "changed = 1\n");
    modules.insert(5, module("/app/m4a.py", "new = 1\n"));
    let (reads, second) = compile_set(&compiler, "wheel x", &modules);
    assert_eq!(reads, [3, 5]);
    // The bytes are those of a compiler that knows nothing.
    assert!(second == Compiler::new(interpreter.clone(), None).compile(&modules).unwrap());
    assert_eq!(compile_set(&compiler, "wheel x", &modules), (vec![], second));
    // Another slot has no last bundle: all is compiled.
    modules[0] = module("/app/m0.py", "changed = 2\n");
    assert_eq!(compile_set(&compiler, "wheel z", &modules).0.len(), count + 1);
}

#[test]
fn a_source_that_is_not_the_named_one_is_refused() {
    let compiler = Compiler::new(interpreter(11), None);
    let source = Source { path: "/app/a.py".into(), digest: Digest::of(b"x = 1"), size: 5 };
    let set = ModuleSet { slot: String::new(), sources: vec![source], read: &|_| Ok(Arc::from(*b"x = 2")) };
    let error = compiler.compile_set(&set).unwrap_err();
    assert!(error.to_string().ends_with("while it compiled `/app/a.py`: its source changed meanwhile"), "{error}");
    // What cannot be read at all is said as it is.
    let source = Source { path: "/app/a.py".into(), digest: Digest::of(b"x = 1"), size: 5 };
    let failing = |_| Err(BytecodeError::UnknownVersion { version: PythonVersion::new(3, 2) }.into());
    let error = compiler.compile_set(&ModuleSet { slot: String::new(), sources: vec![source], read: &failing });
    assert!(error.unwrap_err().to_string().starts_with("bytecode of Python 3.2 is unknown"));
}

#[test]
fn the_number_of_workers_does_not_matter() {
    let interpreter = interpreter(10);
    let modules = modules(&interpreter, 40);
    let mut compiler = Compiler::new(interpreter, None);
    compiler.set_most(1);
    let one = compiler.compile(&modules).unwrap();
    compiler.set_most(5);
    assert!(one == compiler.compile(&modules).unwrap());
    assert!(one == compiler.compile(&modules).unwrap());
    assert_eq!(compiler.compile(&[]).unwrap(), []);
}

#[test]
fn callers_share_the_workers() {
    let interpreter = interpreter(11);
    let modules = modules(&interpreter, 12);
    let mut compiler = Compiler::new(interpreter, None);
    compiler.set_most(2);
    let first = compiler.compile(&modules).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert!(compiler.compile(&modules).unwrap() == first));
        }
    });
}

#[test]
fn real_bytecode_that_is_damaged_is_an_error_or_another_normal_form() {
    let interpreter = interpreter(12);
    let modules = modules(&interpreter, 0);
    let version = interpreter.version();
    let mut random = 1u64;
    let mut refused = 0;
    for stream in streams(&interpreter, "", "0", &modules, &[0, 4]).iter().filter(|stream| !stream.is_empty()) {
        for _ in 0..2000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let mut damaged = stream.clone();
            let place = (random >> 33) as usize % damaged.len();
            damaged[place] = (random >> 20) as u8;
            match marshal::normalise(&damaged, version) {
                Ok(normal) => assert_eq!(marshal::normalise(&normal, version).as_ref(), Ok(&normal)),
                Err(_) => refused += 1,
            }
            assert!(marshal::normalise(&stream[..place], version).is_err());
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn hostile_sources_are_syntax_errors_or_name_their_module() {
    let compiler = Compiler::new(interpreter(11), None);
    let deep = "(".repeat(50_000) + &")".repeat(50_000);
    let sums = "1".to_string() + &"+1".repeat(60_000);
    let sources =
        ["x = '\0'", &deep, &sums, "é = (\n", "x = 1\n  y = 2\n", "\u{feff}x y", "return", "def f(a, a): pass"];
    let modules: Vec<Module> = sources.iter().map(|source| module("/app/hostile.py", source)).collect();
    for (source, outcome) in sources.iter().zip(compiler.compile(&modules).unwrap()) {
        let error = outcome.expect_err(&source.chars().take(20).collect::<String>());
        assert!(!error.message.is_empty());
    }
    let found = compiler.compile(&[module("/app/a.py", "def f():\n    global x; x = 1\n    nonlocal y\n")]).unwrap();
    let error = found[0].clone().unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.line, error.text.as_str()),
        ("no binding for nonlocal 'y' found", 3, "    nonlocal y")
    );
}

#[test]
fn a_worker_that_dies_or_hangs_is_an_error_that_names_the_module() {
    let interpreter = interpreter(11);
    let dies = SCRIPT.replace("def answer(path, source):", "def answer(path, source):\n    import os; os._exit(1)");
    let hangs =
        SCRIPT.replace("def answer(path, source):", "def answer(path, source):\n    import time; time.sleep(99)");
    let babbles = SCRIPT.replace("def answer(path, source):", "def answer(path, source):\n    return b'\\7'");
    let large = SCRIPT.replace("number(len(data)) + data", "b'\\xff' * 4 + data");
    for (script, reason) in [
        (dies, "it ended"),
        (hangs, "it took longer than 0.5 s"),
        (babbles, "its answer is malformed"),
        (large, "its answer has 4294967295 bytes, expected at most 67108864"),
    ] {
        let worker = Worker::start_script(&interpreter, &script, "0").unwrap();
        let timeout = std::time::Duration::from_millis(if reason.contains("0.5") { 500 } else { 20_000 });
        let error = worker.compile(&module("/app/a.py", "x = 1"), timeout).unwrap_err();
        assert!(error.to_string().ends_with(&format!("while it compiled `/app/a.py`: {reason}")), "{error}");
    }
    let lies = SCRIPT.replace("stdout.write(MAGIC", "stdout.write(b'abcd'");
    let error = Worker::start_script(&interpreter, &lies, "0").err().unwrap();
    assert!(error.to_string().contains("expected magic number a70d0d0a, found 61626364 of Python 3.11."), "{error}");
    let error = Worker::start_script(&interpreter, "raise SystemExit", "0").err().unwrap();
    assert!(error.to_string().contains("found failed to fill whole buffer"), "{error}");
}

/// Whether a module has bytecode may not depend on how much memory a machine has.
#[test]
fn a_worker_without_memory_says_nothing_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::layer::Store::open_at(folder.path()).unwrap();
    let real = interpreter(11);
    let program = folder.path().join("python3.11");
    let script = format!("#!/bin/sh\nulimit -v 150000\nexec {} \"$@\"\n", real.label());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let search = Search { named: vec![program], ..Search::default() };
    let poor = Compiler::new(search.find(PythonVersion::new(3, 11)).unwrap(), Some(&store));
    let large = "f(1);".repeat(100_000);
    let modules = [module("/app/a.py", "x = 1\n"), module("/app/large.py", &large)];
    let error = poor.compile(&modules).unwrap_err();
    assert!(error.to_string().ends_with("python3.11` ran out of memory while it compiled `/app/large.py`"), "{error}");
    assert_eq!((error.class().code(), error.hint().is_some()), (7, true));
    // The same store, and enough memory.
    let rich = Compiler::new(real, Some(&store));
    assert!(rich.compile(&modules).unwrap().iter().all(Result::is_ok));
    // A parser whose own stack is full says the same word, on every machine.
    let deep = module("/app/deep.py", &("x = ".to_string() + &"-".repeat(10_000) + "1"));
    for compiler in [poor, rich] {
        assert_eq!(
            compiler.compile(std::slice::from_ref(&deep)).unwrap().remove(0).unwrap_err().message,
            "MemoryError"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_a_way_to_get_it() {
    use crate::error::Explain;
    let search = Search { path: vec!["/nowhere/bin".into()], ..Search::default() };
    let error = search.find(PythonVersion::new(3, 9)).unwrap_err();
    assert_eq!(error.to_string(), "no Python 3.9 was found to compile bytecode: looked at `/nowhere/bin`");
    assert!(error.hint().unwrap().contains("pyenv install 3.9"));
    let error = search.find(PythonVersion::new(3, 7)).unwrap_err();
    assert_eq!(error.to_string(), "bytecode of Python 3.7 is unknown: expected 3.8 to 3.14");
    let error = Compiler::new(interpreter(11), None)
        .compile(&[Module { path: "/app/a.py".into(), source: Arc::from(vec![b' '; compiler::SOURCE_LIMIT + 1]) }])
        .unwrap_err();
    assert_eq!(error.to_string(), "`/app/a.py` has 33554433 bytes: expected at most 33554432");
}

#[test]
fn a_program_that_is_no_such_python_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let real = interpreter(11);
    let make = |name: &str, target: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    make("shims/python3.11", "/bin/false");
    make("versions/3.11.0/bin/python3.11", "/bin/true");
    make("versions/3.11.1/bin/python3.11", real.label());
    make("versions/3.11.2/bin/python3.11", "/nowhere");
    make("versions/3.11.3/bin/python3.11", interpreter(10).label());
    let search = Search {
        path: vec![folder.path().join("shims")],
        collections: vec![folder.path().join("versions")],
        ..Search::default()
    };
    let found = search.find(PythonVersion::new(3, 11)).unwrap();
    assert!(found.label().ends_with("versions/3.11.1/bin/python3.11"), "{}", found.label());
    assert_eq!(found.version(), real.version());
}
