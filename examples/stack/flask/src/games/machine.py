"""What the container may use: its control group's limits where it has some, else the machine's."""

import os
import shutil


def system():
    """CPUs, memory in bytes, and how full the disk is in percent."""
    total, available = _memory()
    disk = shutil.disk_usage("/")
    return {
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_total": total,
        "memory_available": available,
        "disk_usage": round(100 * disk.used / disk.total, 1),
    }


def _memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        kibibytes = dict(line.split()[:2] for line in file)
    total, available = (int(kibibytes[name]) * 1024 for name in ("MemTotal:", "MemAvailable:"))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, used = _number(limit), _number(used)
        if limit is not None and used is not None and limit < total:
            return limit, min(available, max(0, limit - used))
    return total, available


def _number(name):
    try:
        with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
