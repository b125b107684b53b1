# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["evidently==0.7.23", "pandas<3", "pyarrow"]
# ///
"""``evidently_drift.py FOLDER [windows]``: Evidently's data drift preset at its defaults. It cannot be imported with pandas 3.

``windows``: prints a line per file of ``FOLDER/windows`` with every feature's score. The preset spends six CPU seconds
per window, most of them on plots, so its tests are called without it; the first window must give the preset's result.
"""

import json
import resource
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import pandas as pd  # noqa: E402 - warnings of imports are not the figures
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.legacy.calculations.stattests import get_stattest  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def preset(reference: pd.DataFrame, current: pd.DataFrame, numbers: list[str]) -> dict[str, float]:
    """Return the preset's score of each feature, and under an empty name the number of drifted features."""
    others = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
    sides = (Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference))
    metrics = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
    return {one["config"].get("column", ""): one["value"] for one in metrics}


def windows(folder: Path) -> None:
    """Print a line per window: scores (larger is further) and drifted features."""
    reference = pd.read_parquet(folder / "reference.parquet")
    numbers = [name for name in reference if pd.api.types.is_numeric_dtype(reference[name])]
    known = {name: reference[name].dropna() for name in reference}
    for number, path in enumerate(sorted((folder / "windows").iterdir())):
        current = pd.read_parquet(path)
        found = {}
        for name, column in known.items():
            kind = ColumnType.Numerical if name in numbers else ColumnType.Categorical
            test = get_stattest(column, current[name].dropna(), kind, None)
            found[name] = test(column, current[name].dropna(), kind, None)
        scores = {name: float(one.drift_score) for name, one in found.items()}
        drifted = [name for name, one in found.items() if one.drifted]
        if number == 0:
            report = preset(reference, current, numbers)
            assert report.pop("")["count"] == len(drifted)
            assert report == scores
        print(json.dumps({"window": path.stem, "scores": scores, "alarms": drifted}))


if sys.argv[2:] == ["windows"]:
    windows(Path(sys.argv[1]))
    sys.exit()

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
folder = Path(sys.argv[1])
frames = [pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current")]
numbers = [name for name in frames[0] if name.startswith("n")]
definition = DataDefinition(
    numerical_columns=numbers, categorical_columns=[name for name in frames[0] if name not in numbers]
)
reference, current = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
result = Report([DataDriftPreset()]).run(current, reference).dict()
drifted = next(m["value"]["count"] for m in result["metrics"] if "DriftedColumnsCount" in m["metric_name"])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "rss": peak, "drifted": drifted}))
