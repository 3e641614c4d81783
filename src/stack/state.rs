//! What Ingot keeps of a stack between two commands: the pinned file, who runs it, its sandbox service. In the store's
//! folder, closed to others, because the file has passwords in it; sockets are in a short folder of this user's own,
//! because their paths have a limit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::load::Stack;
use super::trouble::Trouble;
use crate::engine::{Kind, ProviderKind};
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
}

impl Place {
    /// Of the stack with this name in this folder.
    pub fn of(stack: &Stack, store: &Store) -> Result<Place> {
        let hex = Digest::of(stack.folder.as_os_str().as_encoded_bytes()).hex();
        let key = format!("{}-{}", stack.name.chars().take(40).collect::<String>(), hex.get(..12).unwrap_or(&hex));
        let stacks = std::path::absolute(store.root().join("stacks"))
            .map_err(fs::failed("find the absolute path of", store.root()))?;
        Ok(Place { folder: stacks.join(&key), key })
    }

    /// Makes the folder, closed to others.
    pub fn prepare(&self) -> Result<()> {
        Ok(fs::create_private_dir(&self.folder)?)
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

    /// Remembers who runs it.
    pub fn remember(&self, running: &Running) -> Result<()> {
        Ok(fs::write_private(&self.folder.join("running.json"), &serde_json::to_vec(running).unwrap_or_default())?)
    }

    /// Forgets it: nothing runs any more.
    pub fn forget(&self) -> Result<()> {
        Ok(fs::remove_file(&self.folder.join("running.json"))?)
    }

    /// The folder for files that containers get: every user may read them, but only who gets past the private folder
    /// around them.
    pub fn files(&self) -> PathBuf {
        runtime_root().join(&self.key).join("files")
    }

    /// Writes a stack's own files, and removes those that it has no more.
    pub fn write_files(&self, files: &BTreeMap<PathBuf, String>) -> Result<()> {
        let folder = self.shared("files")?;
        for path in fs::read_dir(&folder)? {
            if !files.contains_key(&path) {
                fs::remove_file(&path)?;
            }
        }
        for (path, text) in files {
            if fs::read_optional(path, PINNED_LIMIT)?.as_deref() != Some(text.as_bytes()) {
                fs::write_private(path, text.as_bytes())?;
                fs::set_mode(path, 0o444)?;
            }
        }
        Ok(())
    }

    /// Removes what was written for containers.
    pub fn clear_files(&self) -> Result<()> {
        let folder = self.files();
        if !fs::exists(&folder) {
            return Ok(());
        }
        self.write_files(&BTreeMap::new())?;
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
        let root = runtime_root();
        private(&root)?;
        let inner = root.join(&self.key);
        private(&inner)?;
        let folder = inner.join(name);
        fs::create_dir_all(&folder)?;
        fs::set_mode(&folder, 0o755)?;
        Ok(folder)
    }
}

fn private(path: &Path) -> Result<(), Trouble> {
    fs::create_private_dir(path).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Trouble::Runtime { path: path.display().to_string(), why }
    })
}

/// Where this user's sockets are: `$XDG_RUNTIME_DIR/ingot`, `/run/ingot` for root, else `/tmp/ingot-UID`.
#[allow(clippy::disallowed_methods, reason = "where sockets are decides no bytes of an image")]
fn runtime_root() -> PathBuf {
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = rustix::process::geteuid();
    match given.filter(|path| fs::exists(path)) {
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
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        let stack = Stack::load(&request).unwrap();
        let store = Store::open_at(&folder.path().join("cache")).unwrap();
        let place = Place::of(&stack, &store).unwrap();
        (folder, place)
    }

    #[test]
    fn a_stack_is_remembered_in_a_folder_of_its_own() {
        let (_folder, place) = place();
        place.prepare().unwrap();
        place.prepare().unwrap();
        assert_eq!(std::fs::metadata(&place.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(place.folder.file_name().unwrap().to_str().unwrap().starts_with("app-"));
        assert_eq!(place.running().unwrap(), None);
        let running = Running { whole: Some("x".into()), ..Running::new(ProviderKind::DockerPlugin) };
        place.remember(&running).unwrap();
        let found = place.running().unwrap().unwrap();
        assert_eq!((found.engine(), found.provider()), (Some(Kind::Docker), Some(ProviderKind::DockerPlugin)));
        assert_eq!(found, running);
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
}
