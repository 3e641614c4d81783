//! `entry_points.txt`: which scripts a wheel asks for, and the text of such a script.

use super::Error;
use super::names::shown;

/// The largest entry_points.txt, in bytes.
pub const ENTRY_POINTS_LIMIT: u64 = 4 << 20;

/// A script that calls a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPoint {
    /// The script's file name.
    pub name: String,
    /// "gunicorn.app.wsgiapp".
    pub module: String,
    /// "run", "Class.method".
    pub function: String,
}

/// Parses `[console_scripts]` and `[gui_scripts]`; extras are ignored, as pip does. `file` is for errors.
pub fn parse(bytes: &[u8], file: &str) -> Result<Vec<EntryPoint>, Error> {
    let refuse = |reason: String| Error::Wheel { file: shown(file), reason };
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("entry_points.txt is not UTF-8".into()))?;
    let mut points: Vec<EntryPoint> = Vec::new();
    let mut scripts = false;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            scripts = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !scripts {
            continue;
        }
        let point = point(line).map_err(|reason| refuse(format!("entry point `{}` {reason}", shown(line))))?;
        match points.iter().find(|known| known.name == point.name) {
            Some(known) if *known != point => {
                return Err(refuse(format!("entry point `{}` comes twice", shown(&point.name))));
            }
            Some(_) => {}
            None => points.push(point),
        }
    }
    points.sort();
    Ok(points)
}

fn point(line: &str) -> Result<EntryPoint, &'static str> {
    let (name, value) = line.split_once('=').ok_or("has no `=`")?;
    let (name, value) = (name.trim(), value.trim());
    // A name decides where a file is written: exactly one component (CVE-2026-8643).
    let plain = !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control());
    if !plain {
        return Err("has a name that is not one path component");
    }
    let value = value.split('[').next().unwrap_or_default().trim();
    let (module, function) = value.split_once(':').ok_or("names no function: expected `module:function`")?;
    let (module, function) = (module.trim(), function.trim());
    // Both become program text.
    if !dotted(module) || !dotted(function) {
        return Err("does not name a Python object");
    }
    Ok(EntryPoint { name: name.into(), module: module.into(), function: function.into() })
}

fn dotted(text: &str) -> bool {
    text.split('.').all(|word| {
        word.chars().next().is_some_and(|first| first == '_' || first.is_alphabetic())
            && word.chars().all(|c| c == '_' || c.is_alphanumeric())
    })
}

/// The first line of a script for `interpreter`: as distlib has it, through `sh` if it is too long for the kernel.
pub fn shebang(interpreter: &str) -> String {
    /// What every kernel accepts, with `#!` and the line end.
    const SHEBANG_LIMIT: usize = 127;
    if interpreter.len() + 3 <= SHEBANG_LIMIT && !interpreter.contains(' ') {
        return format!("#!{interpreter}\n");
    }
    let quoted = if interpreter.contains(' ') { format!("\"{interpreter}\"") } else { interpreter.to_string() };
    format!("#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\n")
}

impl EntryPoint {
    /// The script, in pip's words.
    pub fn script(&self, interpreter: &str) -> String {
        let EntryPoint { module, function, .. } = self;
        let import = function.split('.').next().unwrap_or(function);
        format!(
            "{}# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom {module} import {import}\n\
             if __name__ == '__main__':\n    \
             sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    \
             sys.exit({function}())\n",
            shebang(interpreter)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_both_kinds() {
        let text = "[console_scripts]\n b = m.n:f.g [extra,x]\na=m:f\n# x\n[other]\n../x = y\n[gui_scripts]\nc = m : f\na=m:f\n";
        let points = parse(text.as_bytes(), "x.whl").unwrap();
        let shown: Vec<_> = points.iter().map(|p| format!("{}={}:{}", p.name, p.module, p.function)).collect();
        assert_eq!(shown, ["a=m:f", "b=m.n:f.g", "c=m:f"]);
        assert!(points[1].script("/opt/venv/bin/python").contains("from m.n import f\n"));
        assert!(points[1].script("/opt/venv/bin/python").ends_with("    sys.exit(f.g())\n"));
    }

    /// Row 69 of the catalogue.
    #[test]
    fn a_name_is_one_path_component_and_a_value_is_no_program() {
        for (line, expected) in [
            ("../../x = m:f", "has a name that is not one path component"),
            ("/etc/cron.d/x = m:f", "not one path component"),
            (".. = m:f", "not one path component"),
            ("a\\b = m:f", "not one path component"),
            ("a\tb = m:f", "not one path component"),
            (" = m:f", "not one path component"),
            ("a = m", "names no function"),
            ("a = m:f();import os", "does not name a Python object"),
            ("a = m import x;y:f", "does not name a Python object"),
            ("a = :f", "does not name a Python object"),
            ("a", "has no `=`"),
            ("a = m:f\na = m:g", "comes twice"),
        ] {
            let error = parse(format!("[console_scripts]\n{line}\n").as_bytes(), "x.whl").unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_long_interpreter_is_started_by_sh() {
        assert_eq!(shebang("/opt/venv/bin/python"), "#!/opt/venv/bin/python\n");
        let long = format!("/{}/bin/python", "x".repeat(120));
        assert_eq!(shebang(&long), format!("#!/bin/sh\n'''exec' {long} \"$0\" \"$@\"\n' '''\n"));
        assert!(shebang("/a b/python").contains("'''exec' \"/a b/python\" \"$0\""));
    }
}
