//! Ingot's own filter of system calls, on top of the engine's: what no program needs and what kernels are attacked
//! through. Engines differ here (podman's own profile lets everybody make user namespaces, and neither network
//! namespace knows AF_VSOCK); with this one a sandbox is the same everywhere.
//!
//! A program in the kernel's classic BPF: load, compare, return (seccomp(2)).

use std::io;

use libc::{c_long, sock_filter, sock_fprog};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Where things are in `struct seccomp_data`, on a little-endian machine.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;
const FIRST_ARGUMENT_HIGH_AT: u32 = 20;
const SECOND_ARGUMENT_AT: u32 = 24;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// System calls of the x32 interface have this bit, and other numbers behind it.
const X32: u32 = 0x4000_0000;
/// Every kind of namespace that clone makes.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;
/// The kind of a socket, without its flags.
const SOCKET_KIND: u32 = 0xf;

/// Namespaces, mounts, other processes, keys, tracing, asynchronous I/O behind the filter's back, clocks, modules; and
/// what changes how other processes of the same user are scheduled: the guard is one.
const REFUSED: &[c_long] = &[
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
];

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes `yes` steps further where it holds, else `no`.
fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code, jt: yes, jf: no, k }
}

fn refuse(error: i32) -> sock_filter {
    step(RETURN, libc::SECCOMP_RET_ERRNO | error as u32)
}

fn program() -> Vec<sock_filter> {
    let allow = step(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![
        step(LOAD, ARCHITECTURE_AT),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, NUMBER_AT),
        jump(AT_LEAST, X32, 0, 1),
        refuse(libc::ENOSYS),
    ];
    for number in REFUSED {
        program.extend([jump(EQUAL, *number as u32, 0, 1), refuse(libc::EPERM)]);
    }
    // Limits of one's own, which are of process 0, and of nobody else.
    program.extend([
        jump(EQUAL, libc::SYS_prlimit64 as u32, 0, 6),
        step(LOAD, FIRST_ARGUMENT_AT),
        jump(EQUAL, 0, 0, 2),
        step(LOAD, FIRST_ARGUMENT_HIGH_AT),
        jump(EQUAL, 0, 1, 0),
        refuse(libc::EPERM),
        allow,
    ]);
    // Its flags are in memory, where no filter sees them: C libraries fall back to clone.
    program.extend([jump(EQUAL, libc::SYS_clone3 as u32, 0, 1), refuse(libc::ENOSYS)]);
    program.extend([
        jump(EQUAL, libc::SYS_clone as u32, 0, 4),
        step(LOAD, FIRST_ARGUMENT_AT),
        jump(ANY_BIT, NAMESPACES, 0, 1),
        refuse(libc::EPERM),
        allow,
    ]);
    program.extend([
        jump(EQUAL, libc::SYS_socket as u32, 0, 11),
        step(LOAD, FIRST_ARGUMENT_AT),
        jump(EQUAL, libc::AF_UNIX as u32, 8, 0),
        jump(EQUAL, libc::AF_INET as u32, 2, 0),
        jump(EQUAL, libc::AF_INET6 as u32, 1, 0),
        refuse(libc::EAFNOSUPPORT),
        step(LOAD, SECOND_ARGUMENT_AT),
        step(AND, SOCKET_KIND),
        jump(EQUAL, libc::SOCK_STREAM as u32, 2, 0),
        jump(EQUAL, libc::SOCK_DGRAM as u32, 1, 0),
        refuse(libc::EPERM),
        allow,
    ]);
    program.push(allow);
    program
}

/// Puts this thread, and all that it starts, behind the filter for ever.
pub fn install() -> io::Result<()> {
    let mut steps = program();
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it; both calls only take away from this thread.
    let done = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether it is in force: something that it refuses is refused as it does it.
pub fn is_in_force() -> bool {
    // SAFETY: neither call does anything if it succeeds: there is no address family 0, and no flag is set.
    unsafe {
        let socket = libc::socket(0, libc::SOCK_STREAM, 0);
        let refused = socket < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EAFNOSUPPORT);
        refused && libc::unshare(0) < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_refused_and_the_rest_works() {
        // In a thread: a filter never goes away again.
        let thread = std::thread::spawn(|| {
            assert!(!is_in_force());
            install().unwrap();
            assert!(is_in_force());
            let socket = |family, kind| {
                // SAFETY: a plain system call.
                let fd = unsafe { libc::socket(family, kind, 0) };
                let error = io::Error::last_os_error().raw_os_error();
                if fd >= 0 {
                    // SAFETY: it was made above and is used by nobody else.
                    unsafe { libc::close(fd) };
                    return Ok(());
                }
                Err(error)
            };
            assert_eq!(socket(libc::AF_UNIX, libc::SOCK_STREAM), Ok(()));
            assert_eq!(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC), Ok(()));
            assert_eq!(socket(libc::AF_INET, libc::SOCK_RAW), Err(Some(libc::EPERM)));
            assert_eq!(socket(libc::AF_VSOCK, libc::SOCK_STREAM), Err(Some(libc::EAFNOSUPPORT)));
            assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW), Err(Some(libc::EAFNOSUPPORT)));
            // Nobody touches the limits or the turns of others: not those of the guard, which has the same user.
            let refused = |number: c_long, pid: c_long| {
                // SAFETY: none of them writes to memory, and what they read is nothing.
                let done = unsafe { libc::syscall(number, pid, 0, 0, 0, 0) };
                done < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
            };
            let parent = c_long::from(rustix::process::getpid().as_raw_nonzero().get());
            assert!(!refused(libc::SYS_prlimit64, 0));
            for pid in [1, parent, 1 << 32] {
                assert!(refused(libc::SYS_prlimit64, pid), "{pid}");
            }
            for number in [
                libc::SYS_setpriority,
                libc::SYS_sched_setscheduler,
                libc::SYS_sched_setparam,
                libc::SYS_sched_setattr,
                libc::SYS_sched_setaffinity,
                libc::SYS_ioprio_set,
            ] {
                assert!(refused(number, 0), "{number}");
            }
            assert!(std::thread::available_parallelism().is_ok(), "what is one's own is read as ever");
            // Threads and programs start as ever.
            std::thread::spawn(|| ()).join().unwrap();
            assert!(std::process::Command::new("true").status().unwrap().success());
            assert!(!std::process::Command::new("unshare").args(["-U", "true"]).status().unwrap().success());
        });
        thread.join().unwrap();
    }

    #[test]
    fn no_jump_leaves_the_program() {
        let program = program();
        for (at, step) in program.iter().enumerate() {
            let furthest = at + 1 + usize::from(step.jt.max(step.jf));
            assert!(step.code == RETURN || furthest < program.len(), "{at}");
        }
        assert!(program.len() < 4096);
    }
}
