"""Run a command several times; CPU and wall seconds of the process and its children."""

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians over the runs, in seconds."""

    name: str
    cpu: float
    wall: float
    runs: int

    def row(self) -> str:
        """Return a row of a Markdown table."""
        return f"| {self.name} | {self.cpu:.2f} | {self.wall:.2f} | {self.runs} |"


HEADER = "| command | CPU s | wall s | runs |\n|---|---|---|---|"


def measure(name: str, command: Sequence[str], *, runs: int, environment: Mapping[str, str] | None = None) -> Figure:
    """Run ``command`` once to warm caches and then ``runs`` times; discard its output, raise if it fails."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env.update(environment or {})
    cpu, wall = [], []
    for number in range(runs + 1):
        before, started = os.times(), time.perf_counter()
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        if number:
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
            wall.append(time.perf_counter() - started)
    return Figure(name, statistics.median(cpu), statistics.median(wall), runs)


def load() -> str:
    """Return the machine's load and core count, for the note beside the figures."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
