"""``python -m benchmarks.features [sizes [rounds]]``: training sets and ingests, alternating, medians of the rounds.

Each case runs in a process of its own; Feast has its own environment, locked beside its script. Sizes are keys of ``data.SIZES``
separated by commas; default ``S,deep``. L takes about five minutes a round and 5 GB of memory.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.features.data import SIZES, make
from benchmarks.measure import load

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
FEAST = FOLDER / "feast_duckdb.py"
CASES = {
    "S": (
        "ours",
        "ours, frontier",
        "ours, event_time",
        "duckdb asof",
        "duckdb row_number",
        "feast",
        "feast, event_time",
    ),
    "L": ("ours", "ours, event_time", "duckdb asof", "feast"),
    "deep": ("ours", "duckdb row_number"),
    "long": ("ours, no ttl", "ours"),
    "longer": ("ours, no ttl", "ours"),
    "ingest": ("ingest", "pyiceberg append", "ingest, in order", "pyiceberg append, in order"),
}


def feast_python() -> str:
    """Return the Python of Feast's environment, which is created if missing."""
    subprocess.run(["uv", "sync", "--quiet", "--locked", "--script", str(FEAST)], check=True)
    found = ["uv", "python", "find", "--script", str(FEAST)]
    return subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()


def measured(case: str, data: Path, folder: Path, feast: str) -> dict[str, float]:
    """Run one case and return its output: CPU seconds, peak MB, rows, seconds of hashing."""
    command = [sys.executable, "-m", "benchmarks.features.cases", case, str(data)]
    if case.startswith("feast"):
        semantics = "event_time" if "event_time" in case else "known_at"
        command = [feast, "-W", "ignore", str(FEAST), str(data), str(folder / "feast.parquet"), semantics]
    # Feast writes an online store to the working directory
    where = folder if case.startswith("feast") else ROOT
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=where)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure all cases and print one table."""
    sizes = (sys.argv[1] if len(sys.argv) > 1 else "S,deep").split(",")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    keep = Path(tempfile.gettempdir()) / "mlops-benchmarks-features"
    feast = feast_python() if any(case.startswith("feast") for size in sizes for case in CASES[size]) else ""
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            shape = SIZES[size]
            data = make(shape, keep / f"{shape.entities}-{shape.rows}-{shape.keys}-{shape.days}")
            for _ in range(rounds):
                for case in CASES[size]:
                    found[size, case].append(measured(case, data, Path(name), feast))
    print(f"{load()}, {rounds} rounds")
    print("| size | case | CPU s | peak MB | hash CPU s |\n|---|---|---|---|---|")
    for (size, case), runs in found.items():
        middle = {key: statistics.median(run.get(key, 0.0) for run in runs) for key in ("cpu", "rss", "hash")}
        print(f"| {size} | {case} | {middle['cpu']:.2f} | {middle['rss']:.0f} | {middle['hash']:.2f} |")


if __name__ == "__main__":
    main()
