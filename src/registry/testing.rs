//! What the tests of this room share.

pub(super) use crate::net::testing::{Act, Seen, Server, quick};

use super::{Options, Registry};
use crate::oci::Reference;

/// A registry client whose only credentials file holds `auths` (the JSON value of that key). The file stays.
pub(super) fn client(auths: &str) -> (Registry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{auths}}}"#)).unwrap();
    let options = Options { plain_http: Vec::new(), auth_file: Some(path) };
    (Registry::new(quick(), options).unwrap(), folder)
}

/// A reference into `server`.
pub(super) fn at(server: &Server, name: &str) -> Reference {
    format!("{}/{name}", server.authority()).parse().unwrap()
}
