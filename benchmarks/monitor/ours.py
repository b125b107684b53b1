"""``python -m benchmarks.monitor.ours FOLDER``: baseline, counts and verdicts of two Parquet files of rows."""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.spec import MonitorSpec

# what pyarrow imports at its first use counts as an import
pa.array([1.0, None]).fill_null(0).to_numpy(zero_copy_only=False)


def columns(path: Path) -> dict[str, object]:
    """Return the engine's input: numbers as arrays, strings as Arrow dictionaries.

    Args:
        path: A Parquet file.
    """
    found: dict[str, object] = {}
    texts = [name for name in pq.read_schema(path).names if name.startswith("c")]
    table = pq.ParquetFile(path, read_dictionary=texts).read()
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            found[name] = Coded(codes, column.dictionary.to_pylist())
        else:
            found[name] = column.to_numpy(zero_copy_only=False)
    return found


def main() -> None:
    """Fit, count, decide; print CPU seconds, peak MB and the number of drifted features."""
    before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
    folder = Path(sys.argv[1])
    reference = columns(folder / "reference.parquet")
    baseline = fit_baseline(
        reference,
        types={name: "category" if name.startswith("c") else "number" for name in reference},
        training_set_id="benchmark",
        created="2026-01-01T00:00:00Z",
    )
    del reference
    counts = count_columns(columns(folder / "current.parquet"), baseline)
    decisions = decide(baseline, counts, MonitorSpec())
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "rss": peak, "drifted": sum(decision.drifted for decision in decisions)}))


if __name__ == "__main__":
    main()
