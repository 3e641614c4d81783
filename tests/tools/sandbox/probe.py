"""What a program in a sandbox can do and see, as JSON: every line is one assertion of tests/it/sandbox.rs."""
import ctypes, errno, glob, json, os, platform, resource, socket, subprocess, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
# Numbers that differ between architectures; the rest are the common ones.
X86 = platform.machine() == "x86_64"
CALLS = {
    "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268), "ptrace": (101, 117),
    "keyctl": (250, 219), "add_key": (248, 217), "bpf": (321, 280), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "process_vm_readv": (310, 270),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "kexec_load": (246, 104), "syslog": (103, 116),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30), "prlimit64": (302, 261),
    "chroot": (161, 51), "pivot_root": (155, 41),
}


def call(name, *args):
    number = CALLS[name][0 if X86 else 1]
    ctypes.set_errno(0)
    done = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return "done" if done != -1 else errno.errorcode[ctypes.get_errno()]


def attempt(what):
    try:
        return str(what())
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)


def sock(family, kind, protocol=0):
    return attempt(lambda: socket.socket(family, kind, protocol) and "done")


def put(path):
    return attempt(lambda: open(path, "r+" if os.path.exists(path) else "w") and "done")


def look(path):
    return attempt(lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100))


def own_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    said = []
    thread = threading.Thread(target=lambda: said.append(len(os.sched_getaffinity(0)) > 0))
    thread.start()
    thread.join()
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100 and said == [True]


def fill():
    with open("/tmp/fill", "wb") as file:
        while True:
            file.write(b"x" * 100_000)


def program():
    with open("/tmp/program", "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod("/tmp/program", 0o755)
    return subprocess.call(["/tmp/program"])


def bomb():
    count = 0
    try:
        while True:
            if os.fork() == 0:
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(100)"])
            count += 1
            if count > 1000:
                return "no end"
    except OSError as error:
        return "%s after %d" % (errno.errorcode[error.errno], count)


status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
found = {
    "status": {name: status[name] for name in
               ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")},
    "calls": {
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
        "umount2": call("umount2", b"/tmp", 0),
        "unshare": call("unshare", 0x10000000),
        "setns": call("setns", 0, 0),
        "ptrace": call("ptrace", 16, 1, 0, 0),
        "keyctl": call("keyctl", 0, -3, 0, 0, 0),
        "add_key": call("add_key", b"user", b"x", b"y", 1, -3),
        "bpf": call("bpf", 0, 0, 0),
        "io_uring_setup": call("io_uring_setup", 1, ctypes.create_string_buffer(200)),
        "userfaultfd": call("userfaultfd", 0),
        "perf_event_open": call("perf_event_open", ctypes.create_string_buffer(200), 0, -1, -1, 0),
        "process_vm_readv": call("process_vm_readv", 1, 0, 0, 0, 0, 0),
        "open_by_handle_at": call("open_by_handle_at", 0, 0, 0),
        "init_module": call("init_module", 0, 0, 0),
        "kexec_load": call("kexec_load", 0, 0, 0, 0),
        "syslog": call("syslog", 3, ctypes.create_string_buffer(100), 100),
        # Process 1 is the guard, of the same user.
        "setpriority": call("setpriority", 0, 1, 19),
        "sched_setscheduler": call("sched_setscheduler", 1, 3, bytes(8)),
        "sched_setparam": call("sched_setparam", 1, bytes(8)),
        "sched_setattr": call("sched_setattr", 1, b"\x30" + bytes(47), 0),
        "sched_setaffinity": call("sched_setaffinity", 1, 8, b"\x01" + bytes(7)),
        "ioprio_set": call("ioprio_set", 1, 1, 3 << 13 | 7),
        "prlimit64": call("prlimit64", 1, 7, bytes(16), 0),
        "chroot": call("chroot", b"/tmp"),
        "pivot_root": call("pivot_root", b"/tmp", b"/tmp"),
    },
    "sockets": {
        "raw": sock(socket.AF_INET, socket.SOCK_RAW, 1),
        "packet": sock(17, socket.SOCK_RAW, 3),
        "vsock": sock(40, socket.SOCK_STREAM),
        "netlink": sock(16, socket.SOCK_RAW),
        "alg": sock(38, socket.SOCK_SEQPACKET),
    },
    "network": {
        "interfaces": os.listdir("/sys/class/net"),
        "tcp": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
        "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))),
        "dns": attempt(lambda: socket.getaddrinfo("example.com", 80)),
    },
    "write": {path: put(path) for path in (
        "/x", "/usr/x", "/etc/passwd", "/run/x", "/var/tmp/x", "/home/x", "/dev/x", "/code/x", "/code/main.py", *glob.glob("/.ingot-*/ingot"), *(folder + "/x" for folder in glob.glob("/.ingot-*")),
        "/etc/ld.so.preload", "/proc/sys/kernel/hostname", "/proc/1/oom_score_adj", "/proc/sysrq-trigger",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.procs")},
    "hidden": {path: look(path) for path in (
        "/proc/kcore", "/sys/firmware", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/1/environ",
        "/proc/1/mem", "/proc/1/maps", "/proc/1/fd", "/proc/1/fd/1", "/proc/1/root", "/dev/kmsg", "/dev/mem", "/dev/kvm")},
    "sockets of engines": [path for path in (
        "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock",
        "/run/user", "/root/.ssh", "/root/.gnupg", "/root/.docker", "/run/secrets", "/etc/resolv.conf.host")
        if os.path.exists(path)],
    "environ": open("/proc/self/environ").read(),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")
                          if os.path.islink("/proc/self/fd/" + name) and "/proc/" not in os.readlink("/proc/self/fd/" + name)),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "own id": os.getpid(),
    "its own limits and threads": own_limits(),
    "hostname": socket.gethostname(),
    "kill process 1": [attempt(lambda: os.kill(1, number)) for number in (9, 15, 19, 2)],
    "a program in /tmp": attempt(program),
    "a device in /tmp": attempt(lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3))),
    "setuid": attempt(lambda: os.setuid(0)),
    "a full /tmp": attempt(fill),
    "its size": os.path.getsize("/tmp/fill"),
}
os.unlink("/tmp/fill")
found["fork bomb"] = bomb()
print(json.dumps(found))
