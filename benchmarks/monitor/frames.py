"""``python -m benchmarks.monitor.frames FOLDER``: `compare` over two pandas frames of rows, as in a notebook."""

import json
import resource
import sys
from pathlib import Path

import pandas as pd

# what pandas imports at its first read counts as an import
import pyarrow.parquet  # noqa: F401

from mlops_runtime.monitor.frame_comparison import compare


def main() -> None:
    """Compare; print CPU seconds, peak MB and the number of drifted columns."""
    before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
    folder = Path(sys.argv[1])
    reference, current = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current"))
    found = compare(reference, current)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "rss": peak, "drifted": len(found.drifted)}))


if __name__ == "__main__":
    main()
