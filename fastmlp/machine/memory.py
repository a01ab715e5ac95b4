"""The memory that the process may still take."""

import os
import pathlib

from .cores import control_groups, numbers_in

try:
    import resource

    # What the system may bound of a process, and what it says of it in /proc/self/status.
    MEMORY_LIMITS = ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:"))
except ImportError:  # Windows
    MEMORY_LIMITS = ()

UNKNOWN = 1 << 30  # bytes where the system does not tell
# The most bytes of a control group, and those in use: of its second version, and of its first one.
GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def free_memory():
    """Bytes that this process may still take: of the machine, of its control groups and of its own limits."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [UNKNOWN]
    available = number_after("MemAvailable:", "/proc/meminfo")
    if available is not None:
        free = [available * 1024]
    for limit, label in MEMORY_LIMITS:
        allowed, taken = resource.getrlimit(limit)[0], number_after(label, "/proc/self/status")
        if allowed != resource.RLIM_INFINITY and taken is not None:
            free.append(allowed - taken * 1024)
    for folder in control_groups("memory"):
        for most, used in GROUP_FILES:
            bounds = numbers_in(folder / most) + numbers_in(folder / used)
            if len(bounds) == 2:  # files that were read count as used, until somebody needs their memory
                kept = number_after("inactive_file", folder / "memory.stat") or 0
                free.append(bounds[0] - bounds[1] + kept)
    return max(0, min(free))


def number_after(label, path):
    """The number behind a label in a file of the system; None where there is none."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf8")
    except OSError:
        return None
    fields = text.partition(label)[2].split()
    return int(fields[0]) if fields and fields[0].isdecimal() else None
