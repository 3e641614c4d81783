//! ldconfig: the links by which libraries are asked for, and /etc/ld.so.cache, which says where they are.
//!
//! The same folders in the same order as glibc's (elf/ldconfig.c): those of ld.so.conf and what it includes, then the
//! built-in ones, each with the folders below its glibc-hwcaps. What the layers below have is taken from their cache
//! and not read again. Not done: the hardware folders that glibc dropped with 2.37 (`sse2`, `haswell`), which no
//! package of today's distributions uses; and stale links are left as their package has them.

use std::collections::{BTreeMap, BTreeSet};

use super::ldcache_file::{Cache, CacheEntry, Layout, compare_names, order};
use super::site::Site;
use crate::debian::elf::{self, Library, is_library};
use crate::error::Result;
use crate::layer::{BaseKind, BaseView, TreePath};
use crate::text;

/// The largest library that is read, in bytes.
const LIBRARY_LIMIT: u64 = 1 << 30;
/// The largest cache, configuration file or C library, in bytes.
const FILE_LIMIT: u64 = 64 << 20;
/// How many bytes of libraries below are in memory at once.
const BATCH_LIMIT: u64 = 64 << 20;
/// How deep configuration files may include others.
const INCLUDE_LIMIT: usize = 8;
/// How many configuration files are read.
const CONFIGURATION_LIMIT: usize = 1000;
/// How many patterns of included files are looked for.
const PATTERN_LIMIT: usize = 4 * CONFIGURATION_LIMIT;
/// How many folders configuration files may name.
const NAME_LIMIT: usize = 10_000;
const CACHE: &str = "/etc/ld.so.cache";

/// A folder of libraries.
struct Folder {
    /// As it was named; entries of the cache begin with it.
    name: String,
    real: TreePath,
    /// The name below glibc-hwcaps.
    hwcaps: Option<String>,
}

/// What one soname leads to within a folder.
struct Chosen {
    file: String,
    is_link: bool,
    library: Library,
}

/// Makes the links and the cache anew.
pub(super) fn update(site: &mut Site<'_>, architecture: &str) -> Result<()> {
    let folders = folders(site, architecture)?;
    let old = site.root.read(CACHE, FILE_LIMIT)?;
    let below = old.as_deref().and_then(Cache::decode).unwrap_or_default();
    let mut reader = Reader::new(site, &below, architecture);
    reader.prefetch(site, &folders)?;
    let libraries: Vec<_> = folders.iter().map(|folder| reader.libraries(site, folder)).collect::<Result<_>>()?;
    let Some(version) = version(site, architecture, &below)? else { return Ok(()) };

    let mut entries = Vec::new();
    for (folder, libraries) in folders.iter().zip(libraries) {
        for (soname, chosen) in libraries {
            if folder.hwcaps.is_none() && !chosen.is_link && soname != chosen.file {
                link(site, folder, &soname, &chosen.file)?;
            }
            let file = if folder.hwcaps.is_some() { &chosen.file } else { &soname };
            entries.push(CacheEntry {
                path: format!("{}/{file}", folder.name),
                name: soname,
                flags: chosen.library.flags,
                osversion: if version.kernels() { chosen.library.osversion } else { 0 },
                hwcaps: folder.hwcaps.clone(),
            });
        }
    }
    entries.sort_by(order);
    let hwcaps: BTreeSet<String> = folders.iter().filter_map(|folder| folder.hwcaps.clone()).collect();
    let cache = Cache { entries, generator: Some(version.generator.clone()) };
    let bytes = cache.encode(version.layout(), &hwcaps, architecture == "s390x");
    if old.as_ref() != Some(&bytes) {
        site.write(CACHE, bytes, 0o644, 0, 0)?;
    }
    Ok(())
}

/// The folders that are there, each once.
fn folders(site: &Site<'_>, architecture: &str) -> Result<Vec<Folder>> {
    let mut configuration = Configuration::default();
    configuration.read(site, "/etc/ld.so.conf", INCLUDE_LIMIT)?;
    let mut names = configuration.names;
    if let Some(triplet) = triplet(architecture) {
        names.extend([format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
    }
    names.extend(["/lib".to_string(), "/usr/lib".to_string()]);
    let mut folders: Vec<Folder> = Vec::new();
    for name in names {
        let Some(real) = site.root.resolve(&name) else { continue };
        let is_known = |folders: &[Folder], real: &TreePath| folders.iter().any(|folder| folder.real == *real);
        if !site.is_folder(&name) || is_known(&folders, &real) {
            continue;
        }
        let below = format!("{name}/glibc-hwcaps");
        let hardware: BTreeSet<String> = children(site, &below).into_keys().collect();
        folders.push(Folder { name, real, hwcaps: None });
        for hwcaps in hardware.into_iter().filter(|name| !name.starts_with('.') && !name.contains(':')) {
            let name = format!("{below}/{hwcaps}");
            if let Some(real) =
                site.root.resolve(&name).filter(|real| site.is_folder(&name) && !is_known(&folders, real))
            {
                folders.push(Folder { name, real, hwcaps: Some(hwcaps) });
            }
        }
    }
    Ok(folders)
}

/// What the configuration files say, each of which is read once.
#[derive(Default)]
struct Configuration {
    /// The folders that they name.
    names: Vec<String>,
    files: BTreeSet<TreePath>,
    patterns: usize,
}

impl Configuration {
    /// Adds a file and those that it includes.
    fn read(&mut self, site: &Site<'_>, file: &str, depth: usize) -> Result<()> {
        let Some(real) = site.root.resolve(file) else { return Ok(()) };
        if self.files.len() >= CONFIGURATION_LIMIT || !self.files.insert(real) {
            return Ok(());
        }
        let text = site.text(file)?.unwrap_or_default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(patterns) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
                for pattern in patterns.split_whitespace().filter(|_| depth > 0) {
                    self.patterns += 1;
                    if self.patterns > PATTERN_LIMIT {
                        return Ok(());
                    }
                    for included in matching(site, pattern) {
                        self.read(site, &included, depth - 1)?;
                    }
                }
            } else if line.starts_with('/') && self.names.len() < NAME_LIMIT {
                // `/lib=libc6`: a kind that no library of today needs.
                let name = line.split('=').next().unwrap_or_default().trim_end().trim_end_matches('/');
                self.names.push(name.to_string());
            }
        }
        Ok(())
    }
}

/// The files that a pattern with `*` in its last component names, sorted by bytes.
fn matching(site: &Site<'_>, pattern: &str) -> Vec<String> {
    let Some((folder, pattern)) = pattern.rsplit_once('/') else { return Vec::new() };
    let fits = |name: &str| match pattern.split_once('*') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len()
                && name.starts_with(start)
                && name.ends_with(end)
                && !name.starts_with('.')
        }
        None => name == pattern,
    };
    children(site, folder).into_keys().filter(|name| fits(name)).map(|name| format!("{folder}/{name}")).collect()
}

/// What is directly in a folder.
fn children(site: &Site<'_>, folder: &str) -> BTreeMap<String, BaseKind> {
    let Some(real) = site.root.resolve(folder) else { return BTreeMap::new() };
    let all = site.root.list(folder).into_iter();
    all.filter(|(path, _)| path.parent().as_ref() == Some(&real))
        .map(|(path, entry)| (path.name().to_string(), entry.kind))
        .collect()
}

fn triplet(architecture: &str) -> Option<&'static str> {
    Some(match architecture {
        "amd64" => "x86_64-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        "i386" => "i386-linux-gnu",
        "armhf" => "arm-linux-gnueabihf",
        "armel" => "arm-linux-gnueabi",
        "ppc64el" => "powerpc64le-linux-gnu",
        "s390x" => "s390x-linux-gnu",
        "riscv64" => "riscv64-linux-gnu",
        _ => return None,
    })
}

/// The link by which a library is asked for, unless it is right already. Never one in the place of a file.
fn link(site: &mut Site<'_>, folder: &Folder, soname: &str, file: &str) -> Result<()> {
    let (wanted, link) = (format!("/{}/{file}", folder.real), format!("/{}/{soname}", folder.real));
    let right = site.root.resolve(&link).is_some_and(|real| site.root.resolve(&wanted) == Some(real));
    // Debian's ldconfig keeps away from the dynamic linker's own name.
    if right || soname.starts_with("ld-") || soname.starts_with("ld.so") {
        return Ok(());
    }
    match site.at(&site.path(&link)?).map(|entry| entry.kind) {
        None | Some(BaseKind::Symlink(_)) => site.link(&link, file).map(drop),
        Some(_) => Ok(()),
    }
}

/// Knows what the libraries are, each read at most once.
struct Reader<'a> {
    architecture: &'a str,
    /// What the cache of the layers below says of their files.
    below: BTreeMap<TreePath, Library>,
    /// The folders that cache knows.
    known: BTreeSet<TreePath>,
    read: BTreeMap<TreePath, Option<Library>>,
}

impl<'a> Reader<'a> {
    fn new(site: &Site<'_>, cache: &Cache, architecture: &'a str) -> Reader<'a> {
        let mut below: BTreeMap<TreePath, Library> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for entry in &cache.entries {
            let folder = entry.path.rsplit_once('/').and_then(|(folder, _)| site.root.resolve(folder));
            known.extend(folder);
            let Some(real) = site.root.resolve(&entry.path) else { continue };
            let library = Library { soname: Some(entry.name.clone()), flags: entry.flags, osversion: entry.osversion };
            // The link for compilers (`libz.so`) leads to the same file as its soname (`libz.so.1`).
            let longer = |old: &Library| old.soname.as_ref().is_none_or(|soname| soname.len() < entry.name.len());
            if below.get(&real).is_none_or(longer) {
                below.insert(real, library);
            }
        }
        Reader { architecture, below, known, read: BTreeMap::new() }
    }

    /// What each soname leads to in a folder.
    fn libraries(&mut self, site: &Site<'_>, folder: &Folder) -> Result<BTreeMap<String, Chosen>> {
        let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
        for (file, kind) in children(site, &format!("/{}", folder.real)) {
            if !is_library(&file) {
                continue;
            }
            let Some(real) = site.root.resolve(&format!("/{}/{file}", folder.real)) else { continue };
            let Some(library) = self.library(site, folder, &real)? else { continue };
            let soname = library.soname.clone().unwrap_or_else(|| file.clone());
            // A link with the soname's name, or the one for compilers, is no library of its own.
            let for_compilers = file.ends_with(".so") && soname.starts_with(&file);
            let is_link = matches!(kind, BaseKind::Symlink(_)) && (file == soname || for_compilers);
            let soname = if is_link { file.clone() } else { soname };
            let newer = match chosen.get(&soname) {
                None => true,
                Some(old) if is_link == old.is_link => compare_names(&old.file, &file).is_lt(),
                Some(_) => !is_link,
            };
            if newer {
                chosen.insert(soname, Chosen { file, is_link, library });
            }
        }
        Ok(chosen)
    }

    /// Reads the libraries of the layers below that their cache does not know, a layer's at once.
    fn prefetch(&mut self, site: &Site<'_>, folders: &[Folder]) -> Result<()> {
        let below = site.root.below();
        let mut batch = Vec::new();
        let mut size = 0;
        for folder in folders {
            if self.known.contains(&folder.real) {
                continue;
            }
            for file in children(site, &format!("/{}", folder.real)).into_keys().filter(|file| is_library(file)) {
                let Some(real) = site.root.resolve(&format!("/{}/{file}", folder.real)) else { continue };
                let length = below.size(&real).filter(|length| *length <= BATCH_LIMIT);
                let Some(length) = length.filter(|_| site.root.own(&real).is_none()) else { continue };
                if size + length > BATCH_LIMIT {
                    self.read_batch(site, &std::mem::take(&mut batch))?;
                    size = 0;
                }
                size += length;
                batch.push(real);
            }
        }
        self.read_batch(site, &batch)
    }

    fn read_batch(&mut self, site: &Site<'_>, batch: &[TreePath]) -> Result<()> {
        for (path, bytes) in site.root.below().read_many(batch, BATCH_LIMIT)? {
            self.read.insert(path, elf::read(&bytes, self.architecture));
        }
        Ok(())
    }

    fn library(&mut self, site: &Site<'_>, folder: &Folder, real: &TreePath) -> Result<Option<Library>> {
        let is_below = site.root.own(real).is_none();
        if is_below && self.known.contains(&folder.real) {
            return Ok(self.below.get(real).cloned());
        }
        if let Some(known) = self.read.get(real) {
            return Ok(known.clone());
        }
        let library = match site.root.library(real) {
            Some(known) => known.library(self.architecture),
            None => {
                let bytes = site.root.read(&format!("/{real}"), LIBRARY_LIMIT)?;
                bytes.and_then(|bytes| elf::read(&bytes, self.architecture))
            }
        };
        self.read.insert(real.clone(), library.clone());
        Ok(library)
    }
}

/// The C library, as far as it decides the cache.
struct Version {
    /// "ldconfig (Debian GLIBC 2.36-9) stable release version 2.36".
    generator: String,
    number: (u32, u32),
}

impl Version {
    fn layout(&self) -> Layout {
        if self.number >= (2, 33) { Layout::Extended } else { Layout::Both }
    }

    /// Whether the cache says on which kernels a library runs.
    fn kernels(&self) -> bool {
        self.number < (2, 36)
    }
}

/// The version as the C library itself says it; that of the old cache if the C library is still the same.
fn version(site: &Site<'_>, architecture: &str, below: &Cache) -> Result<Option<Version>> {
    let library = triplet(architecture)
        .into_iter()
        .flat_map(|triplet| [format!("/lib/{triplet}/libc.so.6"), format!("/usr/lib/{triplet}/libc.so.6")])
        .chain(["/lib64/libc.so.6".to_string(), "/lib/libc.so.6".to_string()])
        .find_map(|path| site.root.resolve(&path));
    let Some(library) = library else { return Ok(None) };
    if site.root.own(&library).is_none()
        && site.root.below().lookup(&library).is_some()
        && let Some(generator) = &below.generator
        && let Some(number) = number(generator)
    {
        return Ok(Some(Version { generator: generator.clone(), number }));
    }
    let bytes = site.root.read(&format!("/{library}"), FILE_LIMIT)?.unwrap_or_default();
    Ok(banner(&bytes))
}

/// `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.` is in every libc.so.6.
fn banner(bytes: &[u8]) -> Option<Version> {
    let start: &[u8] = b"GNU C Library (";
    let at = text::find(bytes, start)?;
    let line = bytes.get(at + start.len() - 1..)?;
    let line = line.get(..line.iter().position(|byte| *byte == b'\n' || *byte == 0)?.min(200))?;
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('.');
    let generator = format!("ldconfig {line}");
    Some(Version { number: number(&generator)?, generator })
}

fn number(generator: &str) -> Option<(u32, u32)> {
    let (major, minor) = generator.rsplit_once("version ")?.1.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::debian::Root;
    use crate::image::Rootfs;
    use crate::layer::Entry;

    /// What is read of `/etc/ld.so.conf`, with `parts` beside it.
    fn read(parts: impl IntoIterator<Item = (String, String)>) -> Configuration {
        let mut root = Root::new(Arc::new(Rootfs::empty()));
        let input: Arc<str> = "test".into();
        for (path, text) in parts {
            root.insert(&TreePath::new(&path).unwrap(), Entry::file(text.as_str(), 0o644, &input)).unwrap();
        }
        let site = Site::new(&mut root, "test");
        let mut configuration = Configuration::default();
        configuration.read(&site, "/etc/ld.so.conf", INCLUDE_LIMIT).unwrap();
        configuration
    }

    #[test]
    fn files_that_include_each_other_are_read_once() {
        let include = "include /etc/ld.so.conf.d/*.conf\n";
        let parts = (0..20).map(|n| (format!("etc/ld.so.conf.d/{n:02}.conf"), format!("/lib/{n:02}\n{include}")));
        let found = read(parts.chain([("etc/ld.so.conf".to_string(), format!("{include}{include}/last/\n"))]));
        assert_eq!(found.files.len(), 21);
        assert_eq!(found.names.len(), 21);
        assert_eq!((found.names[0].as_str(), found.names[20].as_str()), ("/lib/00", "/last"));
    }

    #[test]
    fn configuration_has_limits() {
        let parts = (0..CONFIGURATION_LIMIT + 9).map(|n| (format!("etc/d/{n:04}.conf"), String::new()));
        let main = "include /etc/d/*.conf\n".to_string() + &"/lib\n".repeat(NAME_LIMIT + 9);
        let found = read(parts.chain([("etc/ld.so.conf".to_string(), main)]));
        assert_eq!((found.files.len(), found.names.len()), (CONFIGURATION_LIMIT, NAME_LIMIT));
        let found = read([("etc/ld.so.conf".to_string(), "include /no/*\n".repeat(PATTERN_LIMIT + 9) + "/lib\n")]);
        assert!(found.names.is_empty());
    }
}
