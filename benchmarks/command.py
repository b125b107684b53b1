"""Cost of the command: ``--help``, and starting and stopping the embedded cloud."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import HEADER, load, measure

from mlops_local import cloud


def main() -> None:
    """Print the table."""
    print(HEADER)
    print(measure("mlops --help", [sys.executable, "-m", "mlops_cli", "--help"], runs=5).row())
    seconds = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            running = cloud.up(Path(folder) / "cloud")
            seconds.append(time.perf_counter() - started)
            running.down()
    print(f"| mlops local up | - | {statistics.median(seconds):.2f} | 5 |")
    print(f"\n{load()}")


if __name__ == "__main__":
    main()
