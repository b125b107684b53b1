"""``python -m benchmarks.monitor [rows [rounds]]``: from two sets of rows to verdicts, alternating with rivals; medians.

``ours`` is the engine on Arrow columns, ``compare`` the same rules in one call on pandas frames.

Each case runs in a process of its own, each rival in its own environment, locked beside its script. Rows are numbers
separated by commas; default ``100000``, three rounds. A million rows take about three minutes a round, most of it
Evidently's.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.measure import load
from benchmarks.monitor.data import make

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
RIVALS = ("evidently", "whylogs", "nannyml")


def python_of(rival: str) -> list[str]:
    """Return the command of a rival's script in its own environment, which is created if missing.

    Args:
        rival: Prefix of the script's name.
    """
    return environment_of(FOLDER / f"{rival}_drift.py")


def environment_of(script: Path) -> list[str]:
    """Return the command of a script in its own environment, which is created if missing."""
    subprocess.run(["uv", "sync", "--quiet", "--locked", "--script", str(script)], check=True)
    found = ["uv", "python", "find", "--script", str(script)]
    python = subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()
    return [python, "-W", "ignore", str(script)]


def measured(command: list[str], data: Path, where: Path) -> dict[str, float]:
    """Run one case and return its output: CPU seconds, peak MB, number of drifted features.

    Args:
        command: Command line without the data folder.
        data: Data folder.
        where: Working folder; rivals write files there.
    """
    done = subprocess.run([*command, str(data)], check=True, capture_output=True, text=True, cwd=where)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def weight(python: str) -> float:
    """Return the MB of packages installed for an interpreter."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def compare_weight() -> float:
    """Return the MB that `compare` needs, in an environment of its own."""
    with tempfile.TemporaryDirectory() as name:
        python = f"{name}/bin/python"
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, name], check=True)
        package = f"{ROOT / 'packages/mlops-runtime'}[compare]"
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, package], check=True)
        return weight(python)


def main() -> None:
    """Measure and print one table."""
    sizes = [int(size) for size in (sys.argv[1] if len(sys.argv) > 1 else "100000").split(",")]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    keep = Path(tempfile.gettempdir()) / "mlops-benchmarks-monitor"
    own = {"ours": "benchmarks.monitor.ours", "compare": "benchmarks.monitor.frames"}
    commands = {case: [sys.executable, "-m", module] for case, module in own.items()}
    commands |= {name: python_of(name) for name in RIVALS}
    found: dict[tuple[int, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            data = make(size, keep / str(size))
            for number in range(rounds):
                cases = list(commands)[number % len(commands) :] + list(commands)[: number % len(commands)]
                for case in cases:
                    where = ROOT if case in own else Path(name)
                    found[size, case].append(measured(commands[case], data, where))
    print(f"{load()}, {rounds} rounds")
    print(
        "| rows of each | case | CPU s | ours is faster by | peak MB | of 30 features drifted |\n|---|---|---|---|---|---|"
    )
    for (size, case), runs in sorted(found.items()):
        cpu, rss, drifted = (statistics.median(run[key] for run in runs) for key in ("cpu", "rss", "drifted"))
        ours = statistics.median(run["cpu"] for run in found[size, "ours"])
        print(f"| {size:,} | {case} | {cpu:.2f} | {cpu / ours:.1f}x | {rss:.0f} | {drifted:.0f} |")
    weights = {"compare": compare_weight(), **{name: weight(commands[name][0]) for name in RIVALS}}
    print("\n| installed | MB |\n|---|---|")
    for case, size in weights.items():
        print(f"| {case} | {size:.0f} |")


if __name__ == "__main__":
    main()
