//! OCI layouts as a source (image-spec image-layout.md): which image of `index.json` is meant, and its blobs.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Error;
use super::frozen::Frozen;
use crate::error::Result;
use crate::fs;
use crate::layer::{BlobReader, BlobSource};
use crate::oci::{DOCUMENT_LIMIT, Descriptor, Document, Index, Reference, json, media_type};

/// The annotation that names an image in a layout.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's (and docker's) annotation with the whole name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The largest `oci-layout` file.
const MARKER_LIMIT: u64 = 4096;

/// A folder with an OCI layout. Its blobs are read in place.
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Opens the layout and finds the image that is meant: the layout and the image's document.
    pub fn open(dir: &Path, tag: Option<&str>) -> Result<(Self, Found)> {
        let (layout, found, marker) = Layout::open_leniently(dir, tag)?;
        match marker {
            Some(reason) => Err(malformed(dir, reason).into()),
            None => Ok((layout, found)),
        }
    }

    /// The same of a layout whose `oci-layout` file is missing or wrong: why that is so is returned.
    pub fn open_leniently(dir: &Path, tag: Option<&str>) -> Result<(Self, Found, Option<String>)> {
        if !fs::exists(dir) {
            return Err(Error::NoLayout { dir: dir.to_path_buf() }.into());
        }
        let marker = match regular(&dir.join("oci-layout"), dir, MARKER_LIMIT) {
            Ok(marker) => check_marker(&marker).err(),
            Err(error) => match error.cause().downcast_ref() {
                Some(Error::Malformed { reason, .. }) => Some(reason.clone()),
                _ => return Err(error),
            },
        };
        let index = regular(&dir.join("index.json"), dir, DOCUMENT_LIMIT)?;
        let found = find(&index, tag, &format!("oci:{}", dir.display()))?;
        Ok((Layout { dir: dir.to_path_buf() }, found, marker))
    }
}

fn malformed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Malformed { path: path.to_path_buf(), what: "OCI layout", reason: reason.into() }
}

fn regular(path: &Path, dir: &Path, limit: u64) -> Result<Vec<u8>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match fs::open_regular(path)? {
        None => Err(malformed(dir, format!("it has no file `{name}`")).into()),
        Some(file) => {
            let mut bytes = Vec::new();
            file.take(limit + 1).read_to_end(&mut bytes).map_err(fs::failed("read", path))?;
            if bytes.len() as u64 > limit {
                return Err(malformed(dir, format!("`{name}` is larger than {limit} bytes")).into());
            }
            Ok(bytes)
        }
    }
}

impl BlobSource for Layout {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let path = self.dir.join("blobs/sha256").join(descriptor.digest.hex());
        let name = format!("oci:{}", self.dir.display());
        let file = match fs::open_regular(&path) {
            Ok(Some(file)) => file,
            Ok(None) => return Err(Error::BlobMissing { name, digest: descriptor.digest }.into()),
            // A link, a folder, a pipe: not one of this layout's blobs.
            Err(fs::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
                let (expected, found) = ("a regular file".into(), source.to_string());
                let found = found.trim_start_matches("it is ").to_string();
                return Err(Error::Blob { name, digest: descriptor.digest, expected, found }.into());
            }
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata().map_err(fs::failed("look at", &path))?.len();
        check_length(&name, descriptor, found)?;
        Ok(Box::new(BlobReader::new(file, descriptor.digest, Some(descriptor.size))))
    }
}

/// A blob of another length cannot be it: no need to read it.
pub(super) fn check_length(name: &str, descriptor: &Descriptor, found: u64) -> Result<(), Error> {
    if found == descriptor.size {
        return Ok(());
    }
    let (expected, found) = (format!("{} bytes", descriptor.size), format!("{found} bytes"));
    Err(Error::Blob { name: name.into(), digest: descriptor.digest, expected, found })
}

/// Checks the `oci-layout` file.
pub(super) fn check_marker(bytes: &[u8]) -> Result<(), String> {
    let value = json::parse(bytes, "`oci-layout`").map_err(|error| error.to_string())?;
    match value.get("imageLayoutVersion").and_then(|version| version.as_str()) {
        Some(version) if version.starts_with("1.") => Ok(()),
        Some(version) => Err(format!("layout version `{}`, expected 1.0.0", version.escape_debug())),
        None => Err("`oci-layout` names no version".into()),
    }
}

/// What a name in a layout leads to.
pub(super) enum Found {
    /// A document among the blobs.
    Blob(Descriptor),
    /// `index.json` itself: it lists one image per platform and names none.
    Whole(Frozen),
}

/// Finds the image that is meant in an `index.json`.
pub(super) fn find(bytes: &[u8], tag: Option<&str>, name: &str) -> Result<Found> {
    let Document::Index(index) = Document::parse(bytes, Some(media_type::INDEX))? else {
        let (what, reason) = ("index", "`index.json` is a manifest".into());
        return Err(crate::oci::Error::Malformed { what, reason }.into());
    };
    let named: Vec<String> = index.manifests.iter().filter_map(label).collect();
    let fail = |problem: String| Error::Choice { source_name: name.into(), problem, available: named.clone() };
    let candidates: Vec<&Descriptor> = match tag {
        Some(tag) => candidates(&index, tag),
        None => index.manifests.iter().collect(),
    };
    match (candidates.as_slice(), tag) {
        ([], None) => Err(fail("holds no image".into()).into()),
        ([], Some(tag)) => Err(fail(format!("has no image `{tag}`")).into()),
        ([first, rest @ ..], _) if rest.iter().all(|other| other.digest == first.digest) => {
            Ok(Found::Blob((*first).clone()))
        }
        (_, Some(tag)) => Err(fail(format!("has several images `{tag}`")).into()),
        (all, None) if named.is_empty() && all.iter().all(|one| one.platform.is_some()) => {
            Ok(Found::Whole(Frozen::new(&index.media_type, bytes.to_vec())))
        }
        (all, None) => Err(fail(format!("holds {} images", all.len())).into()),
    }
}

fn label(descriptor: &Descriptor) -> Option<String> {
    let annotations = &descriptor.annotations;
    annotations.get(CONTAINERD_NAME).or_else(|| annotations.get(REF_NAME)).cloned()
}

/// Entries that are called `tag`, exactly, or else as the same reference written in another way.
fn candidates<'a>(index: &'a Index, tag: &str) -> Vec<&'a Descriptor> {
    let names = |descriptor: &'a Descriptor| {
        [REF_NAME, CONTAINERD_NAME].into_iter().filter_map(|key| descriptor.annotations.get(key))
    };
    let exact: Vec<_> = index.manifests.iter().filter(|d| names(d).any(|name| name == tag)).collect();
    let Ok(wanted) = tag.parse::<Reference>() else { return exact };
    if !exact.is_empty() {
        return exact;
    }
    let same = |name: &String| name.parse::<Reference>().is_ok_and(|found| found == wanted);
    index.manifests.iter().filter(|d| names(d).any(same)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::{Value, json};

    use crate::error::Error;
    use crate::image::fixture::Fixture;
    use crate::image::{Artifact, open};
    use crate::oci::Digest;

    /// A layout with one image, after somebody changed its folder.
    fn changed(change: impl FnOnce(&std::path::Path, &str)) -> Result<(), Error> {
        let fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        fixture.write(&Artifact::Image(image.clone()), &fixture.name("oci", "layout:1.0")).unwrap();
        change(&fixture.path("layout"), &image.digest().hex());
        open(&fixture.name("oci", "layout:1.0"), &fixture.access)?.image(None).map(|_| ())
    }

    fn refused(change: impl FnOnce(&std::path::Path, &str), message: &str) {
        let error = changed(change).unwrap_err();
        assert!(error.to_string().contains(message), "expected {message:?}: {error}");
    }

    fn edit(folder: &std::path::Path, change: impl FnOnce(&mut Value)) {
        let path = folder.join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut index);
        std::fs::write(path, index.to_string()).unwrap();
    }

    #[test]
    fn a_damaged_layout_is_refused() {
        changed(|_, _| {}).unwrap();
        let blob = |folder: &std::path::Path, hex: &str| folder.join("blobs/sha256").join(hex);
        let absent = changed(|folder, _| std::fs::remove_dir_all(folder).unwrap()).unwrap_err();
        assert!(absent.to_string().contains("there is no folder `"), "{absent}");
        assert_eq!(absent.class().code(), 2);
        refused(|folder, _| std::fs::remove_file(folder.join("oci-layout")).unwrap(), "no file `oci-layout`");
        refused(|folder, _| std::fs::write(folder.join("oci-layout"), "{}").unwrap(), "names no version");
        refused(|folder, _| std::fs::remove_file(folder.join("index.json")).unwrap(), "no file `index.json`");
        refused(|folder, _| std::fs::write(folder.join("index.json"), "{").unwrap(), "malformed");
        refused(|folder, hex| std::fs::remove_file(blob(folder, hex)).unwrap(), "has no blob sha256:");
        refused(|folder, hex| std::fs::write(blob(folder, hex), "{}").unwrap(), "found 2 bytes");
        let flip = |folder: &std::path::Path, hex: &str| {
            let mut bytes = std::fs::read(blob(folder, hex)).unwrap();
            *bytes.last_mut().unwrap() = b' ';
            std::fs::write(blob(folder, hex), bytes).unwrap();
        };
        refused(flip, "does not verify");
    }

    #[test]
    fn a_blob_is_a_regular_file() {
        let blob = |folder: &std::path::Path, hex: &str| folder.join("blobs/sha256").join(hex);
        let link = |folder: &std::path::Path, hex: &str| {
            std::fs::rename(blob(folder, hex), folder.join("elsewhere")).unwrap();
            symlink("../../elsewhere", blob(folder, hex)).unwrap();
        };
        refused(link, "symbolic link");
        let pipe = |folder: &std::path::Path, hex: &str| {
            std::fs::remove_file(blob(folder, hex)).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(blob(folder, hex)).status().unwrap().success());
        };
        refused(pipe, "not a regular file");
        let directory = |folder: &std::path::Path, hex: &str| {
            std::fs::remove_file(blob(folder, hex)).unwrap();
            std::fs::create_dir(blob(folder, hex)).unwrap();
        };
        refused(directory, "not a regular file");
        refused(
            |folder, _| {
                std::fs::rename(folder.join("index.json"), folder.join("other")).unwrap();
                symlink("other", folder.join("index.json")).unwrap();
            },
            "symbolic link",
        );
    }

    #[test]
    fn descriptors_are_not_believed() {
        for digest in [
            "sha256:../../etc/passwd",
            "sha256:",
            "md5:abc",
            "sha512:00",
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}", "a".repeat(63)),
        ] {
            let error = changed(|folder, _| edit(folder, |index| index["manifests"][0]["digest"] = json!(digest)));
            assert_eq!(error.unwrap_err().class().code(), 4, "{digest}");
        }
        for size in [json!(-1), json!(9_223_372_036_854_775_808_u64), json!(u64::MAX), json!(1), json!(1.5), json!("7")]
        {
            let error = changed(|folder, _| edit(folder, |index| index["manifests"][0]["size"] = size.clone()));
            assert_eq!(error.unwrap_err().class().code(), 4, "{size}");
        }
        refused(|folder, _| edit(folder, |index| index["layers"] = json!([])), "either `manifests`");
    }

    #[test]
    fn the_image_that_is_meant_is_found_or_asked_for() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.two_layers("amd64"), fixture.two_layers("arm64"));
        fixture.write(&Artifact::Image(one.clone()), &fixture.name("oci", "layout:one")).unwrap();
        let digest_of = |rest: &str| -> Result<Digest, Error> {
            Ok(open(&fixture.name("oci", rest), &fixture.access)?.root().descriptor.digest)
        };
        assert_eq!(digest_of("layout").unwrap(), one.digest());
        fixture.write(&Artifact::Image(two.clone()), &fixture.name("oci", "layout:two")).unwrap();
        assert_eq!(digest_of("layout:one").unwrap(), one.digest());
        assert_eq!(digest_of("layout:two").unwrap(), two.digest());
        for (rest, problem) in [("layout", "holds 2 images"), ("layout:three", "has no image `three`")] {
            let error = digest_of(rest).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert_eq!(error.hint().unwrap(), "name one of: one, two");
        }
        let rename = |index: &mut Value| {
            index["manifests"][1]["annotations"] = json!({ super::REF_NAME: "one" });
        };
        edit(&fixture.path("layout"), rename);
        assert!(digest_of("layout:one").unwrap_err().to_string().contains("several images"));
        edit(&fixture.path("layout"), |index| {
            index["manifests"][1]["annotations"] = json!({ super::REF_NAME: "\u{1b}[2Jx" });
        });
        assert_eq!(digest_of("layout").unwrap_err().hint().unwrap(), "name one of: one, [2Jx");
        // Without names but with platforms, `index.json` is the index.
        edit(&fixture.path("layout"), |index| {
            for entry in index["manifests"].as_array_mut().unwrap() {
                entry.as_object_mut().unwrap().remove("annotations");
            }
        });
        let opened = open(&fixture.name("oci", "layout"), &fixture.access).unwrap();
        assert_eq!(opened.platforms().unwrap().len(), 2);
        edit(&fixture.path("layout"), |index| index["manifests"] = json!([]));
        assert!(digest_of("layout").unwrap_err().to_string().contains("holds no image"));
    }

    #[test]
    fn names_of_docker_and_containerd_are_understood() {
        let fixture = Fixture::new();
        let image = fixture.two_layers("amd64");
        fixture.write(&Artifact::Image(image), &fixture.name("oci", "layout")).unwrap();
        edit(&fixture.path("layout"), |index| {
            index["manifests"][0]["annotations"] =
                json!({ super::REF_NAME: "1", super::CONTAINERD_NAME: "docker.io/library/app:1" });
        });
        for tag in ["1", "docker.io/library/app:1", "app:1"] {
            open(&fixture.name("oci", &format!("layout:{tag}")), &fixture.access).unwrap();
        }
        assert!(open(&fixture.name("oci", "layout:app:2"), &fixture.access).is_err());
    }
}
