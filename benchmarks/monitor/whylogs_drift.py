# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["whylogs[viz]==1.6.4", "numpy<2", "pandas<3", "pyarrow<20", "setuptools<81"]
# ///
"""``whylogs_drift.py FOLDER [windows]``: whylogs profiles and drift scores at its defaults. Profiling fails with numpy 2.

``windows``: prints a line per file of ``FOLDER/windows`` with every feature's score.
"""

import json
import logging
import math
import resource
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import pandas as pd  # noqa: E402 - warnings of imports are not the figures
import whylogs as why  # noqa: E402
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores  # noqa: E402


def windows(folder: Path) -> None:
    """Print a line per window: scores (minus the logarithm of the p-value) and drifted features."""
    reference = why.log(pandas=pd.read_parquet(folder / "reference.parquet")).view()
    for path in sorted((folder / "windows").iterdir()):
        current = why.log(pandas=pd.read_parquet(path)).view()
        found = calculate_drift_scores(target_view=current, reference_view=reference, with_thresholds=True)
        scores = {name: None if one is None else -math.log10(max(one["pvalue"], 1e-300)) for name, one in found.items()}
        drifted = [name for name, one in found.items() if one is not None and one["drift_category"] == "DRIFT"]
        print(json.dumps({"window": path.stem, "scores": scores, "alarms": drifted}))


if sys.argv[2:] == ["windows"]:
    windows(Path(sys.argv[1]))
    sys.exit()

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
folder = Path(sys.argv[1])
reference, current = (
    why.log(pandas=pd.read_parquet(folder / f"{name}.parquet")).view() for name in ("reference", "current")
)
scores = calculate_drift_scores(target_view=current, reference_view=reference, with_thresholds=True)
drifted = sum(score is not None and score["drift_category"] == "DRIFT" for score in scores.values())
used = resource.getrusage(resource.RUSAGE_SELF)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "rss": peak, "drifted": drifted}))
