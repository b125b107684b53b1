"""Number of worker processes that fit the CPUs and the memory of the machine, or of the container if it is limited."""

import os
from pathlib import Path

# a process with scikit-learn and pandas takes 160 to 200 MB before it loads; pickles and trees take two to three times their files
_EMPTY_BYTES = 256 * 1024**2
_LOADED = 3
_SHARE = 0.8  # of the memory; the rest is for the server and the system


def fitting_workers(
    folder: Path,
    *,
    cgroup: Path = Path("/sys/fs/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
    cpus: int | None = None,
) -> int:
    """Return one worker per CPU, limited by the available memory; at least one.

    Args:
        folder: The model's folder.
        cgroup: Folder with the container's limits. Default: those of this process.
        meminfo: File with the available memory. Default: the machine's.
        cpus: Number of CPUs that this process may run on. Default: as reported by the system.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    room = int(_memory(cgroup, meminfo) * _SHARE / (_EMPTY_BYTES + _LOADED * size))
    return max(1, min(_cpus(cgroup, cpus), room))


def _cpus(cgroup: Path, cpus: int | None) -> int:
    usable = len(os.sched_getaffinity(0)) if cpus is None else cpus
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(usable, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no limit: the file is missing, or contains "max"
        return usable


def _memory(cgroup: Path, meminfo: Path) -> int:
    """Return the available bytes, or the container's limit if that is lower."""
    available = next(
        int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")
    )
    try:
        return min(available, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):
        return available
