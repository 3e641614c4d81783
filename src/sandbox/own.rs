//! Ingot's own program, so that it can run in any image: the file itself, the loader and the libraries that it has
//! mapped now. They are mounted, not copied.

use std::path::{Path, PathBuf};

use super::Error;
use crate::engine::Mount;
use crate::fs;

/// Where they are in the container.
pub const FOLDER: &str = "/.ingot";
/// The most that the kernel says about the mappings of one program.
const MAPS_LIMIT: u64 = 4 << 20;

/// What is mounted and what is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Program, loader, libraries.
    pub mounts: Vec<Mount>,
    /// The first words of the container's command line.
    pub entrypoint: Vec<String>,
}

/// As this process runs.
pub fn own() -> Result<Own, Error> {
    let refuse = |reason: String| Error::Own { reason };
    let program = std::env::current_exe().map_err(|error| refuse(error.to_string()))?;
    let maps = fs::read_text(Path::new("/proc/self/maps"), MAPS_LIMIT).map_err(|error| refuse(error.to_string()))?;
    from(&program, &maps)
}

fn from(program: &Path, maps: &str) -> Result<Own, Error> {
    if !fs::exists(program) {
        return Err(Error::Own { reason: format!("`{}` is not there any more", program.display()) });
    }
    let mut mounts = vec![Mount { source: program.into(), target: format!("{FOLDER}/ingot") }];
    let mut loader = false;
    for library in libraries(maps) {
        let Some(name) = library.file_name().and_then(|name| name.to_str()) else { continue };
        let target = if is_loader(name) { "ld.so".to_string() } else { soname(name) };
        loader |= is_loader(name);
        mounts.push(Mount { source: library, target: format!("{FOLDER}/{target}") });
    }
    let inside = format!("{FOLDER}/ingot");
    let entrypoint = if loader {
        let words =
            [format!("{FOLDER}/ld.so"), "--inhibit-cache".into(), "--library-path".into(), FOLDER.into(), inside];
        words.to_vec()
    } else if mounts.len() == 1 {
        vec![inside]
    } else {
        return Err(Error::Own { reason: "its loader is not known".into() });
    };
    Ok(Own { mounts, entrypoint })
}

/// The shared objects that are mapped to be executed.
fn libraries(maps: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in maps.lines() {
        // address perms offset dev inode path
        let mut fields = line.splitn(6, ' ').map(str::trim);
        let permissions = fields.nth(1).unwrap_or_default();
        let path = fields.nth(3).unwrap_or_default();
        let shared = Path::new(path)
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| is_loader(name) || name.ends_with(".so") || name.contains(".so."));
        if permissions.contains('x')
            && path.starts_with('/')
            && shared
            && !found.iter().any(|known| known == Path::new(path))
        {
            found.push(path.into());
        }
    }
    found.sort();
    found
}

fn is_loader(name: &str) -> bool {
    name.starts_with("ld-linux")
        || name.starts_with("ld-musl")
        || name.starts_with("ld64.so")
        || name.starts_with("ld-2.")
}

/// Older C libraries have their release in the file name: `libc-2.31.so` is looked for as `libc.so.6`.
fn soname(name: &str) -> String {
    for (stem, number) in [("libc", 6), ("libm", 6), ("libpthread", 0), ("libdl", 2), ("librt", 1)] {
        if name.strip_prefix(stem).is_some_and(|rest| rest.starts_with("-2.") && rest.ends_with(".so")) {
            return format!("{stem}.so.{number}");
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_a_loader_and_libraries() {
        let own = own().unwrap();
        let targets: Vec<_> = own.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert!(targets.contains(&"/.ingot/ingot") && targets.contains(&"/.ingot/ld.so"), "{targets:?}");
        assert!(targets.iter().any(|target| target.starts_with("/.ingot/libc.so")), "{targets:?}");
        assert_eq!(own.entrypoint.first().map(String::as_str), Some("/.ingot/ld.so"));
    }

    #[test]
    fn older_names_and_static_programs() {
        let program = std::env::current_exe().unwrap();
        let maps = "7f00-7f01 r-xp 0000 fe:00 1     /lib/x/libc-2.31.so\n7f02-7f03 r-xp 0000 fe:00 1  /lib/x/ld-2.31.so\n\
                    7f04-7f05 r--p 0000 fe:00 1 /usr/lib/locale/locale-archive\n7f06-7f07 r-xp 0 00:00 0 [vdso]\n";
        let own = from(&program, maps).unwrap();
        let targets: Vec<_> = own.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/.ingot/ingot", "/.ingot/ld.so", "/.ingot/libc.so.6"]);
        assert_eq!(from(&program, "").unwrap().entrypoint, ["/.ingot/ingot"]);
        assert!(from(Path::new("/no/such (deleted)"), "").is_err());
        assert!(from(&program, "7f00-7f01 r-xp 0000 fe:00 1 /lib/libc.so.6\n").is_err());
    }
}
