"""How many processes of a model a machine has CPUs and memory for: those of the container, where it is bounded."""

import os
from pathlib import Path

# a process with scikit-learn and pandas has 160 to 200 MB before it loads; pickles and trees take two to three times their files
_EMPTY_BYTES = 256 * 1024**2
_LOADED = 3
_SHARE = 0.8  # of the memory: the rest is the server's and the system's


def fitting_workers(
    folder: Path,
    *,
    cgroup: Path = Path("/sys/fs/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
    cpus: int | None = None,
) -> int:
    """Return one for each CPU, and no more than memory has room for; at least one.

    Args:
        folder: The model's folder.
        cgroup: Where the container's bounds are read. Default: those of this process.
        meminfo: Where the memory that is available is read. Default: the machine's.
        cpus: CPUs that this process may run on. Default: as the system says.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    room = int(_memory(cgroup, meminfo) * _SHARE / (_EMPTY_BYTES + _LOADED * size))
    return max(1, min(_cpus(cgroup, cpus), room))


def _cpus(cgroup: Path, cpus: int | None) -> int:
    usable = len(os.sched_getaffinity(0)) if cpus is None else cpus
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(usable, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no bound: the file is missing, or says "max"
        return usable


def _memory(cgroup: Path, meminfo: Path) -> int:
    """Return the bytes that are available, or the container's bound if that is less."""
    available = next(
        int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")
    )
    try:
        return min(available, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):
        return available
