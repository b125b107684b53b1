"""Limits of a job on this machine: disk space and processes. In AWS a job has its own instance; here it shares a laptop."""

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlops_local.sagemaker.api_shapes import Record
from mlops_runtime.jobs.script_process import folder_bytes, sized

DISK = "MLOPS_LOCAL_JOB_GIB"
PROCESSES = "MLOPS_LOCAL_JOB_PROCESSES"
_GIB = 1024**3
_EVERY = 0.5  # real seconds between two measurements of the disk
_SHARE_OF_READING = 20  # a measurement that took a second is not repeated for twenty


@dataclass(slots=True, kw_only=True)
class JobBounds:
    """The limits of one job."""

    root: Path  # its private root, the `/opt/ml` of its container
    volume: int  # bytes of its requested volume
    # bytes that it may write below its root, if its volume is not smaller: 2 GiB, or `MLOPS_LOCAL_JOB_GIB`
    written: int = field(default_factory=lambda: round(float(os.environ.get(DISK, "2")) * _GIB))
    free: int = _GIB  # bytes that must remain free on the disk of the embedded cloud
    # maximum concurrent processes: 512, or `MLOPS_LOCAL_JOB_PROCESSES`
    processes: int = field(default_factory=lambda: int(os.environ.get(PROCESSES, "512")))
    _at_first: int | None = None
    _next: float = 0.0

    @classmethod
    def of(cls, record: Record, root: Path) -> "JobBounds":
        """Return the limits of a training or processing job."""
        resources = record.get("ResourceConfig") or record.get("ProcessingResources", {}).get("ClusterConfig", {})
        return cls(root=root, volume=resources.get("VolumeSizeInGB", 30) * _GIB)

    def problem(self, group: int) -> str | None:
        """Return the exceeded limit with the fix, or ``None``."""
        count = _members(group)
        if count > self.processes:
            return (
                f"the job had {count} processes at once, at most {self.processes} run in the embedded cloud; start fewer, or set "
                f"{PROCESSES} before mlops local up"
            )
        now = time.monotonic()
        if now < self._next:
            return None
        found = self._disk()
        self._next = now + max(_EVERY, _SHARE_OF_READING * (time.monotonic() - now))
        return found

    # claim: a-job-has-its-volume
    def _disk(self) -> str | None:
        size = folder_bytes(self.root)
        if self._at_first is None:
            self._at_first = size  # the job's input
        written = size - self._at_first
        if size > self.volume:
            return (
                f"No space left on device: the job has {sized(size)} below /opt/ml, its volume is {sized(self.volume)}; write "
                "less, or ask for more with volume="
            )
        if written > self.written:
            return (
                f"the job wrote {sized(written)} below /opt/ml, at most {sized(self.written)} are allowed in the embedded cloud; "
                f"write less, or set {DISK} before mlops local up; on AWS its volume of {sized(self.volume)} is the limit"
            )
        disk = shutil.disk_usage(self.root)
        if disk.free < self.free:
            return (
                f"the disk of the embedded cloud has {sized(disk.free)} left, {sized(self.free)} must stay free; make room for "
                f"{self.root}, or write less"
            )
        return None


def _members(group: int) -> int:
    """Return the number of processes in a group; 0 where the kernel does not report it."""
    count = 0
    try:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    count += os.getpgid(int(entry.name)) == group
    except FileNotFoundError:  # macOS has no /proc
        return 0
    return count
