//! What Ingot keeps of a stack between two commands: the pinned file, who runs it, its sandbox service. In the store's
//! folder, closed to others, because the file has passwords in it; sockets are in a short folder of this user's own,
//! because their paths have a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::load::Stack;
use super::seal::Seal;
use super::trouble::Trouble;
use crate::engine::{Kind, ProviderKind, Service};
use crate::error::Result;
use crate::fs;
use crate::layer::Store;
use crate::oci::Digest;

/// The most bytes of a note.
const NOTE_LIMIT: u64 = 1 << 20;
/// The longest path of a socket, without the byte that ends it (`sun_path` in unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// The most bytes of a pinned file.
pub const PINNED_LIMIT: u64 = 64 << 20;
/// What this version writes.
const SCHEMA: u32 = 1;
/// The socket in its folder, on this machine and in containers.
pub const SOCKET: &str = "sandbox.sock";

/// Who runs the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    schema: u32,
    engine: String,
    provider: String,
    /// The digest of the pinned file that was started whole; nothing while something is missing.
    pub whole: Option<String>,
    /// By service: the image that was cast last, and what that says of its health check.
    #[serde(default)]
    pub images: BTreeMap<String, (String, Option<Json>)>,
    /// Where what containers hold of this machine is: another session of the same user may have another place for it.
    #[serde(default)]
    runtime: Option<PathBuf>,
}

impl Running {
    /// With this provider.
    pub fn new(provider: ProviderKind) -> Self {
        Running {
            schema: SCHEMA,
            engine: provider.engine().to_string(),
            provider: provider.to_string(),
            whole: None,
            images: BTreeMap::new(),
            runtime: None,
        }
    }

    /// The engine.
    pub fn engine(&self) -> Option<Kind> {
        self.engine.parse().ok()
    }

    /// The provider.
    pub fn provider(&self) -> Option<ProviderKind> {
        self.provider.parse().ok()
    }
}

/// The folders of one stack.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    key: String,
    runtime: PathBuf,
}

impl Place {
    /// Of the stack with this name in this folder. Its own folder is made, closed to others.
    pub fn of(stack: &Stack, store: &Store) -> Result<Place> {
        let hex = Digest::of(stack.folder.as_os_str().as_encoded_bytes()).hex();
        let key = format!("{}-{}", stack.name.chars().take(40).collect::<String>(), hex.get(..12).unwrap_or(&hex));
        let stacks = std::path::absolute(store.root().join("stacks"))
            .map_err(fs::failed("find the absolute path of", store.root()))?;
        let mut place = Place { folder: stacks.join(&key), key, runtime: runtime_root() };
        fs::create_private_dir(&place.folder)?;
        // Its containers hold what is there.
        if let Ok(Some(Running { runtime: Some(root), .. })) = place.running()
            && fs::is_private_dir(&root)
        {
            place.runtime = root;
        }
        Ok(place)
    }

    /// The file that the provider is given.
    pub fn pinned(&self) -> PathBuf {
        self.folder.join("pinned.yaml")
    }

    /// The layout with the images of `ingot stack build`.
    pub fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// The log of the sandbox service.
    pub fn sandbox_log(&self) -> PathBuf {
        self.folder.join("sandbox.log")
    }

    /// The process of the sandbox service.
    pub fn sandbox_process(&self) -> PathBuf {
        self.folder.join("sandbox.json")
    }

    /// Another file of the stack's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Who runs the stack, if somebody has started it.
    pub fn running(&self) -> Result<Option<Running>> {
        let path = self.folder.join("running.json");
        let Some(bytes) = fs::read_optional(&path, NOTE_LIMIT)? else { return Ok(None) };
        match serde_json::from_slice::<Running>(&bytes) {
            Ok(running) if running.schema == SCHEMA && running.engine().is_some() => Ok(Some(running)),
            _ => Err(Trouble::State { path: path.display().to_string() }.into()),
        }
    }

    /// Remembers who runs it, and where.
    pub fn remember(&self, running: &Running) -> Result<()> {
        let running = Running { runtime: Some(self.runtime.clone()), ..running.clone() };
        Ok(fs::write_private(&self.folder.join("running.json"), &serde_json::to_vec(&running).unwrap_or_default())?)
    }

    /// Forgets it: nothing runs any more.
    pub fn forget(&self) -> Result<()> {
        Ok(fs::remove_file(&self.folder.join("running.json"))?)
    }

    /// What the names of files are made with ([`Seal`]): random, and the same as long as the stack's folder is there.
    pub fn seal(&self) -> Result<Seal> {
        let path = self.folder.join("seal");
        let known = fs::read_optional(&path, NOTE_LIMIT)?;
        if let Some(seal) = known.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Seal(seal));
        }
        let seal = Seal::random().map_err(fs::failed("get randomness for", &path))?;
        fs::write_private(&path, &seal.0)?;
        Ok(seal)
    }

    /// The folder for files that containers get: every user may read them, but only who gets past the private folder
    /// around them.
    pub fn files(&self) -> PathBuf {
        self.runtime.join(&self.key).join("files")
    }

    /// Writes a stack's own files. Those that it has no more stay: a container may still hold them.
    pub fn write_files(&self, files: &BTreeMap<PathBuf, String>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.shared("files")?;
        for (path, text) in files {
            if fs::read_optional(path, PINNED_LIMIT)?.as_deref() != Some(text.as_bytes()) {
                fs::write_with_mode(path, text.as_bytes(), 0o444)?;
            }
        }
        Ok(())
    }

    /// Removes those of a stack's own files that nobody needs any more: they are neither the stack's as it is now, nor
    /// does a container hold them.
    pub fn tidy_files(&self, files: &BTreeMap<PathBuf, String>, containers: &[Service]) -> Result<()> {
        let folder = self.files();
        if !fs::exists(&folder) {
            return Ok(());
        }
        let held: BTreeSet<PathBuf> =
            containers.iter().flat_map(|one| &one.binds).map(|path| fs::canonical(path.as_ref())).collect();
        for path in fs::read_dir(&folder)? {
            if !files.contains_key(&path) && !held.contains(&fs::canonical(&path)) {
                fs::remove_file(&path)?;
            }
        }
        // The folders go when nothing is in them.
        folder.ancestors().take(2).for_each(fs::remove_empty_dir);
        Ok(())
    }

    /// The folder that containers get of the sandbox service: every user may go in, but only who gets past the private
    /// folder around it.
    pub fn sockets(&self) -> Result<PathBuf> {
        let folder = self.shared("sandbox")?;
        let length = folder.join(SOCKET).as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            let why = format!("the socket's path would have {length} bytes, at most {SOCKET_PATH_LIMIT} are possible");
            return Err(Trouble::Runtime { path: folder.display().to_string(), why }.into());
        }
        Ok(folder)
    }

    fn shared(&self, name: &str) -> Result<PathBuf> {
        private(&self.runtime)?;
        let inner = self.runtime.join(&self.key);
        private(&inner)?;
        let folder = inner.join(name);
        fs::create_shared_dir(&folder)?;
        Ok(folder)
    }
}

fn private(path: &Path) -> Result<(), Trouble> {
    fs::create_private_dir(path).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Trouble::Runtime { path: path.display().to_string(), why }
    })
}

/// Where this user's sockets are: `$XDG_RUNTIME_DIR/ingot`, `/run/ingot` for root, else `/tmp/ingot-UID`. `sudo` and `su`
/// may leave another user's folder in the variable: whoever owns it could lead the caller elsewhere.
#[allow(clippy::disallowed_methods, reason = "where sockets are decides no bytes of an image")]
fn runtime_root() -> PathBuf {
    chosen_root(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn chosen_root(given: Option<PathBuf>) -> PathBuf {
    let given = given.filter(|path| path.is_absolute()).map(|path| fs::canonical(&path));
    let own = rustix::process::geteuid();
    match given.filter(|path| path.to_str().is_some() && fs::is_private_dir(path)) {
        Some(path) => path.join("ingot"),
        None if own.is_root() => "/run/ingot".into(),
        None => format!("/tmp/ingot-{}", own.as_raw()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::stack::Request;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), "name: app\nservices: {a: {image: i}}").unwrap();
        let place = again(&folder);
        (folder, place)
    }

    /// What the next command finds.
    fn again(folder: &tempfile::TempDir) -> Place {
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        let stack = Stack::load(&request).unwrap();
        let store = Store::open_at(&folder.path().join("cache")).unwrap();
        Place::of(&stack, &store).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_stack_is_remembered_in_a_folder_of_its_own() {
        let (_folder, place) = place();
        assert_eq!(std::fs::metadata(&place.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(place.folder.file_name().unwrap().to_str().unwrap().starts_with("app-"));
        assert_eq!(place.running().unwrap(), None);
        let running = Running { whole: Some("x".into()), ..Running::new(ProviderKind::DockerPlugin) };
        place.remember(&running).unwrap();
        let found = place.running().unwrap().unwrap();
        assert_eq!((found.engine(), found.provider()), (Some(Kind::Docker), Some(ProviderKind::DockerPlugin)));
        assert_eq!(found, Running { runtime: Some(place.runtime.clone()), ..running });
        std::fs::write(place.file("running.json"), "{").unwrap();
        assert!(place.running().unwrap_err().to_string().ends_with("running.json` is not what Ingot writes there"));
        place.forget().unwrap();
        assert_eq!(place.running().unwrap(), None);
    }

    #[test]
    fn folders_that_others_could_have_made_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("private");
        private(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private(&path).unwrap_err().to_string().ends_with("for sockets: others may look into it"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(private(&link).unwrap_err().to_string().ends_with("it is not a folder"));
    }

    #[test]
    fn what_containers_hold_stays_where_it_is_and_goes_when_nobody_needs_it() {
        let (folder, mut place) = place();
        let session = folder.path().join("session");
        std::fs::create_dir(&session).unwrap();
        chmod(&session, 0o700);
        place.runtime = session.join("ingot");
        let file = |name: &str| (place.files().join(name), format!("text of {name}"));
        place.write_files(&BTreeMap::new()).unwrap();
        assert!(!place.files().exists(), "for nothing, nothing is made");
        place.write_files(&BTreeMap::from([file("old"), file("held")])).unwrap();
        place.remember(&Running::new(ProviderKind::PodmanCompose)).unwrap();
        assert_eq!((mode(&place.runtime), mode(&place.files()), mode(&file("old").0)), (0o700, 0o755, 0o444));

        // Another session has another folder: this one is used on.
        let other = again(&folder);
        assert_eq!(other.files(), place.files());
        let now = BTreeMap::from([file("new")]);
        other.write_files(&now).unwrap();
        let names = || {
            let found = std::fs::read_dir(place.files()).into_iter().flatten();
            let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["held", "new", "old"], "a container may hold them");
        let holds = Service { binds: vec![file("held").0.display().to_string()], ..Service::example("web") };
        other.tidy_files(&now, &[holds]).unwrap();
        assert_eq!(names(), ["held", "new"]);
        other.tidy_files(&BTreeMap::new(), &[]).unwrap();
        assert!(!place.files().exists());

        // One that has gone with its session is not made again by hand.
        std::fs::remove_dir_all(&session).unwrap();
        assert_eq!(again(&folder).runtime, runtime_root());
    }

    #[test]
    fn a_seal_is_kept() {
        let (folder, place) = place();
        let seal = place.seal().unwrap();
        assert_eq!(mode(&place.folder.join("seal")), 0o600);
        assert_eq!(again(&folder).seal().unwrap(), seal);
        std::fs::write(place.folder.join("seal"), "short").unwrap();
        assert_ne!(place.seal().unwrap(), seal);
    }

    #[test]
    fn only_a_folder_of_this_users_own_is_for_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let usual = chosen_root(None);
        let own = folder.path().join("own");
        std::fs::create_dir(&own).unwrap();
        chmod(&own, 0o700);
        let chosen = |path: &Path| chosen_root(Some(path.into()));
        assert_eq!(chosen(&own), own.canonicalize().unwrap().join("ingot"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(chosen(&link), chosen(&own), "where it leads to");
        chmod(&own, 0o750);
        assert_eq!(chosen(&own), usual, "others look into it");
        chmod(&own, 0o700);
        chmod(folder.path(), 0o777);
        assert_eq!(chosen(&own), usual, "others could put something in its place");
        chmod(folder.path(), 0o1777);
        assert_ne!(chosen(&own), usual, "in /tmp they cannot");
        assert_eq!(chosen(Path::new("own")), usual);
        assert_eq!(chosen(&folder.path().join("gone")), usual);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&own, Some(1000), None).unwrap();
            assert_eq!(chosen(&own), usual, "it is somebody else's");
            std::os::unix::fs::chown(&own, Some(0), None).unwrap();
            std::os::unix::fs::chown(folder.path(), Some(1000), None).unwrap();
            assert_eq!(chosen(&own), usual, "it is in somebody else's folder");
        }
    }

    #[test]
    fn a_shared_folder_is_no_link() {
        let (folder, mut place) = place();
        place.runtime = folder.path().join("runtime");
        let inner = place.runtime.join(&place.key);
        std::fs::create_dir_all(&inner).unwrap();
        chmod(&place.runtime, 0o700);
        chmod(&inner, 0o700);
        let victim = folder.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        chmod(&victim, 0o700);
        std::os::unix::fs::symlink(&victim, inner.join("sandbox")).unwrap();
        let error = place.sockets().unwrap_err();
        assert!(error.to_string().contains("could not use `"), "{error}");
        assert_eq!(mode(&victim), 0o700);
    }
}
