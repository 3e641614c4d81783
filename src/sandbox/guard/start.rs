//! Limits of each process, and starting the code under them.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};

use rustix::fs::{Access, MemfdFlags, Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, setrlimit};

use crate::fs;
use crate::process::Running;
use crate::sandbox::order::{Order, Place, Start};

/// Open files of one process.
const OPEN_FILES: u64 = 256;
/// Where a Python is if the image does not say.
const USUAL: [&str; 4] = ["/app/.venv/bin", "/usr/local/bin", "/usr/bin", "/bin"];
/// The releases of Python 3 that are looked for by name.
const RELEASES: std::ops::RangeInclusive<u8> = 6..=30;
/// Under memory pressure the code goes before the guard.
const SACRIFICE: &[u8] = b"1000";

/// The code, running.
pub struct Child {
    /// Keeps its process group.
    pub running: Running,
    /// Its id.
    pub pid: Pid,
    /// What it says.
    pub stdout: ChildStdout,
    /// What it complains.
    pub stderr: ChildStderr,
}

/// What each process is limited to.
pub fn resources(order: &Order) -> Vec<(Resource, u64)> {
    let limits = &order.limits;
    let mut wanted =
        vec![(Resource::Core, 0), (Resource::Nofile, OPEN_FILES), (Resource::Fsize, limits.tmp.max(limits.output))];
    match order.place {
        // The user is this sandbox's own, so its processes are those of the sandbox.
        Place::Container => wanted.push((Resource::Nproc, u64::from(limits.pids))),
        Place::Host => wanted.push((Resource::Data, limits.memory)),
    }
    wanted
}

/// Sets them for the guard, and so for all that it starts.
pub fn fence(order: &Order) {
    for (resource, limit) in resources(order) {
        // What could not be set is seen when it is read back.
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
}

/// Starts the code in a process group of its own, with pipes and with the variables of the order and no others.
pub fn start(order: &Order) -> Result<Child, String> {
    let words = command_line(&order.start)?;
    let (program, first) = words.split_first().ok_or("there is nothing to start")?;
    let mut command = Command::new(program);
    command.args(first).args(&order.args).current_dir(&order.workdir);
    command.env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    command.stdin(input(&order.stdin)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    })?;
    let child = running.child();
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (Some(stdout), Some(stderr), Some(pid)) = (child.stdout.take(), child.stderr.take(), id) else {
        return Err("the program has no pipes".into());
    };
    prefer_as_victim(pid);
    Ok(Child { running, pid, stdout, stderr })
}

fn command_line(start: &Start) -> Result<Vec<String>, String> {
    match start {
        Start::Nothing => Ok(Vec::new()),
        Start::Program { path } => Ok(vec![path.clone()]),
        Start::Python { script, interpreter, search } => {
            let python = match interpreter {
                Some(path) => path.clone(),
                None => find_python(search)
                    .ok_or("the image has no Python that could be found; name it with --interpreter")?,
            };
            // Nothing can be written beside the sources, and what it says shall be seen when it says it.
            Ok(vec![python, "-B".into(), "-u".into(), script.clone()])
        }
    }
}

fn find_python(search: &[String]) -> Option<String> {
    let folders = search.iter().map(String::as_str).chain(USUAL).filter(|folder| folder.starts_with('/'));
    let mut names = vec!["python3".to_string(), "python".into()];
    names.extend(RELEASES.rev().map(|release| format!("python3.{release}")));
    let paths = folders.flat_map(|folder| names.iter().map(move |name| format!("{folder}/{name}")));
    paths
        .into_iter()
        .find(|path| rustix::fs::access(path.as_str(), Access::EXEC_OK).is_ok() && fs::exists(Path::new(path)))
}

/// A file in memory with what the program reads.
fn input(text: &str) -> Result<Stdio, String> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let failed = |error: std::io::Error| format!("its input: {error}");
    let memory = rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = File::from(memory);
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).map_err(failed)?;
    Ok(Stdio::from(OwnedFd::from(file)))
}

fn prefer_as_victim(pid: Pid) {
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    if let Ok(file) = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::io::write(file, SACRIFICE);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sandbox::order::Limits;

    pub fn order() -> Order {
        Order {
            place: Place::Container,
            limits: Limits::default(),
            user: (61200, 61200),
            folders: vec![("/tmp".into(), 65536)],
            mounts: vec!["/code".into(), "/own/ingot".into()],
            own: "/own".into(),
            allow_weak: false,
            start: Start::Nothing,
            args: Vec::new(),
            env: Vec::new(),
            workdir: "/".into(),
            stdin: String::new(),
            grace_ms: 100,
            output: None,
        }
    }

    #[test]
    fn a_python_is_found_where_the_image_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("python3.12");
        std::fs::write(&path, "").unwrap();
        let search = vec!["relative".to_string(), folder.path().to_str().unwrap().to_string()];
        assert_ne!(find_python(&search).as_deref(), path.to_str(), "it is not executable");
        std::os::unix::fs::symlink("/bin/true", folder.path().join("python")).unwrap();
        assert_eq!(find_python(&search).unwrap(), folder.path().join("python").to_str().unwrap());
        let start = Start::Python { script: "/code/main.py".into(), interpreter: Some("/p".into()), search };
        assert_eq!(command_line(&start).unwrap(), ["/p", "-B", "-u", "/code/main.py"]);
    }

    #[test]
    fn a_program_gets_its_variables_and_no_others() {
        let mut order = order();
        order.start = Start::Program { path: "/usr/bin/env".into() };
        order.env = vec![("A".into(), "b=c".into())];
        order.stdin = "x".into();
        let mut child = start(&order).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stdout, &mut said).unwrap();
        assert_eq!(said, "A=b=c\n");
        order.start = Start::Program { path: "/no/such/program".into() };
        let error = start(&order).map(|_| ()).unwrap_err();
        assert!(error.starts_with("could not start `/no/such/program`: No such file"), "{error}");
    }
}
