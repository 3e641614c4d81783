//! What the scripts of the essential packages leave behind when they are first installed: folders, links, and
//! configuration files that are copied or written once and then belong to the administrator.

use super::Scripts;
use super::site::Site;
use crate::error::Result;
use crate::layer::BaseKind;

/// Groups of base-passwd, whose numbers never change.
const MAIL: u32 = 8;
const UTMP: u32 = 43;
const STAFF: u32 = 50;

/// Where packages list their shells.
pub(super) const SHELLS: &str = "/usr/share/debianutils/shells.d";

const NETWORKS: &str = "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n";
const PYTHON_CONFIG: &str =
    "[DEFAULT]\n# how to byte-compile (comma separated: standard, optimize)\nbyte-compile = standard\n";

/// The folders and links of a root into which nothing was unpacked yet, as debootstrap makes them.
pub(super) fn prepare(site: &mut Site<'_>, usr_merge: bool, architecture: &str) -> Result<()> {
    let folders: [(&str, u32); 11] = [
        ("/dev", 0o755),
        ("/etc", 0o755),
        ("/proc", 0o755),
        ("/run", 0o755),
        ("/sys", 0o755),
        ("/tmp", 0o1777),
        ("/usr", 0o755),
        ("/var", 0o755),
        ("/var/tmp", 0o1777),
        ("/root", 0o700),
        ("/var/lib", 0o755),
    ];
    for (folder, mode) in folders {
        site.folder(folder, mode, 0, 0)?;
    }
    if usr_merge {
        // Debian's amd64 needs /lib64 for its loader; the others keep theirs in /lib.
        let wide: &[&str] = if architecture == "amd64" { &["lib64"] } else { &[] };
        for name in ["bin", "lib", "sbin"].iter().chain(wide) {
            site.folder(&format!("/usr/{name}"), 0o755, 0, 0)?;
            site.new_link(&format!("/{name}"), &format!("usr/{name}"))?;
        }
    }
    Ok(())
}

/// What one package leaves behind at its first installation.
pub(super) fn first_installation(site: &mut Site<'_>, package: &Scripts<'_>) -> Result<()> {
    match package.package {
        "base-files" => base_files(site),
        "libc-bin" => site.copy("/usr/share/libc-bin/nsswitch.conf", "/etc/nsswitch.conf").map(drop),
        "netbase" => site.new_file("/etc/networks", NETWORKS).map(drop),
        "readline-common" => site.copy("/usr/share/readline/inputrc", "/etc/inputrc").map(drop),
        "dash" => site.new_link("/bin/sh", "dash").map(drop),
        "bash" => site.new_link("/bin/sh", "bash").map(drop),
        "openssl" if !site.root.exists("/usr/lib/ssl") => site.new_link("/usr/lib/ssl", "/etc/ssl").map(drop),
        "python3" | "python3-minimal" if site.root.exists("/usr/bin/python3") => {
            site.folder("/etc/python3", 0o755, 0, 0)?;
            site.new_file("/etc/python3/debian_config", PYTHON_CONFIG).map(drop)
        }
        "login" => {
            site.folder("/var/log", 0o755, 0, 0)?;
            for file in ["/var/log/faillog", "/etc/subuid", "/etc/subgid"] {
                site.new_file(file, "")?;
            }
            Ok(())
        }
        "libpam-modules" => {
            site.folder("/etc/security", 0o755, 0, 0)?;
            site.new_file_as("/etc/security/opasswd", "", 0o600, 0, 0)?;
            site.new_file("/etc/environment", "").map(drop)
        }
        name => python_folders(site, name),
    }
}

/// `python3.11-minimal` makes the folder below /usr/local that its interpreter looks into.
fn python_folders(site: &mut Site<'_>, package: &str) -> Result<()> {
    let Some(version) = package.strip_suffix("-minimal").filter(|name| name.starts_with("python3.")) else {
        return Ok(());
    };
    local(site, &format!("/usr/local/lib/{version}"))?;
    local(site, &format!("/usr/local/lib/{version}/dist-packages"))
}

fn base_files(site: &mut Site<'_>) -> Result<()> {
    for (from, to) in [
        ("dot.profile", "/root/.profile"),
        ("dot.bashrc", "/root/.bashrc"),
        ("profile", "/etc/profile"),
        ("motd", "/etc/motd"),
        ("nsswitch.conf", "/etc/nsswitch.conf"),
    ] {
        site.copy(&format!("/usr/share/base-files/{from}"), to)?;
    }
    if site.is_folder("/usr/share/info") {
        site.copy("/usr/share/base-files/info.dir", "/usr/share/info/dir")?;
    }
    for folder in ["/mnt", "/srv", "/opt", "/etc/opt", "/var/opt", "/media", "/home"] {
        site.folder(folder, 0o755, 0, 0)?;
    }
    site.folder("/var/mail", 0o2775, 0, MAIL)?;
    site.folder("/var/spool", 0o755, 0, 0)?;
    site.new_link("/var/spool/mail", "../mail")?;
    site.folder("/run/lock", 0o1777, 0, 0)?;
    site.folder_to_link("/var/run", "/run")?;
    site.folder_to_link("/var/lock", "/run/lock")?;
    for folder in ["", "/share", "/share/man", "/bin", "/games", "/lib", "/include", "/sbin", "/src", "/etc"] {
        local(site, &format!("/usr/local{folder}"))?;
    }
    site.new_link("/usr/local/man", "share/man")?;
    site.folder("/var/log", 0o755, 0, 0)?;
    for (file, mode) in [("wtmp", 0o664), ("btmp", 0o660), ("lastlog", 0o664)] {
        site.new_file_as(&format!("/var/log/{file}"), "", mode, 0, UTMP)?;
    }
    for origin in ["debian", "ubuntu"] {
        if site.root.exists(&format!("/etc/dpkg/origins/{origin}")) {
            site.new_link("/etc/dpkg/origins/default", origin)?;
        }
    }
    if site.root.exists("/usr/lib/os-release") {
        site.new_link("/etc/os-release", "../usr/lib/os-release")?;
    }
    Ok(())
}

/// A folder of the administrator's own.
fn local(site: &mut Site<'_>, folder: &str) -> Result<()> {
    let staff = site.root.exists("/etc/staff-group-for-usr-local");
    let (mode, group) = if staff { (0o2775, STAFF) } else { (0o755, 0) };
    site.folder(folder, mode, 0, group).map(drop)
}

/// /etc/shells, as `update-shells` keeps it: its own lines, then what packages list and nobody has removed.
/// A shell is listed by the name that its package gives it and by its real one.
pub(super) fn shells(site: &mut Site<'_>) -> Result<()> {
    const LIST: &str = "/etc/shells";
    const STATE: &str = "/var/lib/shells.state";
    const TEMPLATE: &str = "/usr/share/debianutils/shells";
    let Some(template) = site.text(TEMPLATE)? else { return Ok(()) };
    let mut lists = vec![template.clone()];
    for (path, entry) in site.root.list(SHELLS) {
        if entry.kind == BaseKind::File {
            lists.extend(site.text(&format!("/{path}"))?);
        }
    }
    let shell = |line: &str| line.split('#').next().unwrap_or_default().to_string();
    let mut packaged: Vec<String> = Vec::new();
    for line in lists.iter().flat_map(|list| list.lines()).map(shell).filter(|line| !line.is_empty()) {
        packaged.push(line.clone());
        let real =
            line.rsplit_once('/').and_then(|(folder, name)| Some(format!("/{}/{name}", site.root.resolve(folder)?)));
        packaged.extend(real.filter(|real| *real != line));
    }
    let state: Vec<String> = site.text(STATE)?.unwrap_or_default().lines().map(shell).collect();
    let old = site.text(LIST)?.unwrap_or(template);
    let mut listed: Vec<String> = Vec::new();
    let mut text = String::new();
    for line in old.lines() {
        let name = shell(line);
        let gone = !name.is_empty() && !packaged.contains(&name) && state.contains(&name);
        if !gone && (name.is_empty() || !listed.contains(&name)) {
            text.push_str(&format!("{line}\n"));
            listed.push(name);
        }
    }
    for name in packaged.iter().filter(|name| !listed.contains(name) && !state.contains(name)) {
        text.push_str(&format!("{name}\n"));
    }
    let new_state: String = packaged.iter().map(|name| format!("{name}\n")).collect();
    site.write(LIST, text.into_bytes(), 0o644, 0, 0)?;
    site.write(STATE, new_state.into_bytes(), 0o644, 0, 0)
}

/// tzdata without anybody to ask: UTC.
pub(super) fn time_zone(site: &mut Site<'_>) -> Result<()> {
    let zone = "Etc/UTC";
    if site.root.exists(&format!("/usr/share/zoneinfo/{zone}")) {
        site.new_link("/etc/localtime", &format!("/usr/share/zoneinfo/{zone}"))?;
        site.new_file("/etc/timezone", format!("{zone}\n").as_str())?;
    }
    Ok(())
}
