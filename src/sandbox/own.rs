//! Ingot's own program, so that it can run in any image: the file itself, the loader and the libraries that it has
//! mapped now. They are mounted, not copied.
//!
//! Each run has them in a folder that no image can know: a loader looks for libraries below the folder that it is told,
//! too (`glibc-hwcaps`), and what an image had put there would run in the guard.

use std::path::{Path, PathBuf};

use super::Error;
use crate::engine::Mount;
use crate::fs;

/// The most that the kernel says about the mappings of one program.
const MAPS_LIMIT: u64 = 4 << 20;

/// The files, by the names that they have inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    files: Vec<(PathBuf, String)>,
    loader: bool,
}

/// Them in the container of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Their folder, with nothing else in it.
    pub folder: String,
    /// Program, loader, libraries.
    pub mounts: Vec<Mount>,
    /// The first words of the container's command line.
    pub entrypoint: Vec<String>,
}

impl Own {
    /// In a folder of a name that was never there before.
    pub fn place(&self) -> Result<Placed, Error> {
        Ok(self.at(format!("/.ingot-{:016x}", u64::from_le_bytes(random()?))))
    }

    fn at(&self, folder: String) -> Placed {
        let mount =
            |(source, name): &(PathBuf, String)| Mount { source: source.clone(), target: format!("{folder}/{name}") };
        let mounts = self.files.iter().map(mount).collect();
        let inside = format!("{folder}/ingot");
        let entrypoint = match self.loader {
            true => {
                let loader = format!("{folder}/ld.so");
                vec![loader, "--inhibit-cache".into(), "--library-path".into(), folder.clone(), inside]
            }
            false => vec![inside],
        };
        Placed { folder, mounts, entrypoint }
    }
}

/// Bytes that nobody can foresee.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0u8; N];
    let refuse = |reason: String| Error::Own { reason };
    match rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) {
        Ok(count) if count == N => Ok(bytes),
        Ok(_) => Err(refuse("the kernel has too few random bytes".into())),
        Err(error) => Err(refuse(format!("no random bytes: {}", std::io::Error::from(error)))),
    }
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
    let mut files = vec![(program.to_path_buf(), "ingot".to_string())];
    let mut loader = false;
    for library in libraries(maps) {
        let Some(name) = library.file_name().and_then(|name| name.to_str()) else { continue };
        let inside = if is_loader(name) { "ld.so".to_string() } else { soname(name) };
        loader |= is_loader(name);
        files.push((library, inside));
    }
    if !loader && files.len() > 1 {
        return Err(Error::Own { reason: "its loader is not known".into() });
    }
    Ok(Own { files, loader })
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
        let placed = own().unwrap().at("/own".into());
        let targets: Vec<_> = placed.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert!(targets.contains(&"/own/ingot") && targets.contains(&"/own/ld.so"), "{targets:?}");
        assert!(targets.iter().any(|target| target.starts_with("/own/libc.so")), "{targets:?}");
        assert_eq!(placed.entrypoint.first().map(String::as_str), Some("/own/ld.so"));
    }

    #[test]
    fn no_image_knows_the_folder() {
        let own = own().unwrap();
        let (first, second) = (own.place().unwrap(), own.place().unwrap());
        assert_ne!(first.folder, second.folder);
        let name = first.folder.strip_prefix("/.ingot-").unwrap();
        assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        let below = format!("{}/", first.folder);
        assert!(first.mounts.iter().all(|mount| mount.target.starts_with(&below)));
        assert!(first.entrypoint.contains(&first.folder), "libraries come from there: {:?}", first.entrypoint);
    }

    #[test]
    fn older_names_and_static_programs() {
        let program = std::env::current_exe().unwrap();
        let maps = "7f00-7f01 r-xp 0000 fe:00 1     /lib/x/libc-2.31.so\n7f02-7f03 r-xp 0000 fe:00 1  /lib/x/ld-2.31.so\n\
                    7f04-7f05 r--p 0000 fe:00 1 /usr/lib/locale/locale-archive\n7f06-7f07 r-xp 0 00:00 0 [vdso]\n";
        let placed = from(&program, maps).unwrap().at("/own".into());
        let targets: Vec<_> = placed.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/own/ingot", "/own/ld.so", "/own/libc.so.6"]);
        assert_eq!(from(&program, "").unwrap().at("/own".into()).entrypoint, ["/own/ingot"]);
        assert!(from(Path::new("/no/such (deleted)"), "").is_err());
        assert!(from(&program, "7f00-7f01 r-xp 0000 fe:00 1 /lib/libc.so.6\n").is_err());
    }
}
