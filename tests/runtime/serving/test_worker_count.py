"""The number of processes by CPUs and memory, limited by the container."""

from pathlib import Path

import pytest

from mlops_runtime.serving.worker_count import fitting_workers

GIB = 1024**3


@pytest.mark.parametrize(
    ("cpus", "quota", "available", "bound", "model", "expected"),
    [
        (4, None, 16, None, 0, 4),
        (4, "200000 100000", 16, None, 0, 2),
        (4, "50000 100000", 16, None, 0, 1),
        (4, "max 100000", 16, "max", 0, 4),
        (8, None, 16, 2 * GIB, 0, 6),
        (4, None, 16, None, 2, 2),
        (4, None, 8, None, 2, 1),
        (4, None, 1, None, 2, 1),
    ],
)
def test_cpus_and_memory_bound_the_processes(
    tmp_path: Path, cpus: int, quota: str | None, available: int, bound: object, model: int, expected: int
) -> None:
    """A model of 2 GB needs 6 GB per process; at least one runs."""
    (tmp_path / "model").mkdir()
    with (tmp_path / "model" / "weights.bin").open("wb") as file:
        file.truncate(model * GIB)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    if bound is not None:
        (tmp_path / "memory.max").write_text(f"{bound}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       99999999 kB\nMemAvailable:   {available * 1024**2} kB\n")
    assert fitting_workers(tmp_path / "model", cgroup=tmp_path, meminfo=meminfo, cpus=cpus) == expected
