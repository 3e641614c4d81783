//! Real .debs, from where this machine's apt has its packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{Ran, tool};

/// Packages in the version that apt would install on a fresh machine; they are downloaded once. Sorted by name.
pub fn downloaded_debs(names: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new("/tmp").join(format!("ingot-it-debs-{}", rustix::process::getuid().as_raw()));
    std::fs::create_dir_all(&folder).unwrap();
    // What this machine has installed is not asked: it may be from elsewhere.
    let options = ["-q", "-o", "Dir::State::status=/dev/null", "-o", "APT::Sandbox::User=root"];
    let apt = tool("apt-get", "apt");
    let mut uris = Command::new(&apt);
    uris.args(options).args(["download", "--print-uris"]).args(names);
    let printed = Ran::of(uris).ok().stdout;
    // 'URI' NAME SIZE SHA256:...
    let files = printed.lines().filter_map(|line| line.split(' ').nth(1));
    let mut files: Vec<PathBuf> = files.map(|name| folder.join(name)).collect();
    assert_eq!(files.len(), names.len(), "{printed}");
    // Another test may download the same at the same time; what is there is not downloaded again.
    let mut command = Command::new(tool("flock", "util-linux"));
    command.arg(folder.join("lock")).arg(apt).args(options).arg("download").args(names).current_dir(&folder);
    if files.iter().any(|file| !file.is_file()) {
        Ran::of(command).ok();
    }
    files.sort();
    files
}
